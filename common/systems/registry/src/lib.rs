//! The systems, as stages without tensors know them. A new system is one line here, and one in the crate `networks` for its
//! stages with networks; no other place names it.

use common::driver::{Choice, NoFlags, PrepareFlags};
use common::system::System;

/// All systems, in the order in which help lists them.
pub static SYSTEMS: &[&System] =
    &[&icecube_data::SYSTEM, &leap_data::SYSTEM, &polarmae_data::SYSTEM, &tracknet_data::SYSTEM];

/// Those of `simulate-data`.
pub fn simulate() -> Choice<NoFlags> {
    Choice::new(SYSTEMS.iter().map(|system| system.simulate.as_ref()))
}

/// Those of `prepare-data`.
pub fn prepare() -> Choice<PrepareFlags> {
    Choice::new(SYSTEMS.iter().map(|system| system.prepare.as_ref()))
}
