//! IceCube, as the registry lists it.

use common::driver::Entry;
use common::system::System;

use crate::{prepare, simulate};

/// Name in configs, manifests and command lines.
pub const NAME: &str = "icecube";

/// IceCube without networks.
pub static SYSTEM: System = System {
    name: NAME,
    line: "IceCube: parquet files of pulses, one row a pulse",
    truth: &["truth"],
    simulate: Some(Entry::of::<simulate::Simulate>()),
    prepare: Some(Entry::of::<prepare::Prepare>()),
    score: Some(crate::score::SCORE),
    blend: Some(crate::blend::BLEND),
    watts: None,
    density: None,
};
