//! PoLAr-MAE, as the registry lists it.

use common::driver::Entry;
use common::system::System;

use crate::{prepare, simulate};

/// Name in configs, manifests and command lines.
pub const NAME: &str = "polarmae";

/// PoLAr-MAE without networks.
pub static SYSTEM: System = System {
    name: NAME,
    line: "PoLAr-MAE: PILArNet-M HDF5 files of point clouds",
    truth: &[],
    simulate: Some(Entry::of::<simulate::Simulate>()),
    prepare: Some(Entry::of::<prepare::Prepare>()),
    score: Some(crate::score::SCORE),
    blend: None,
    watts: None,
    density: None,
};
