//! PoLAr-MAE, as the registry lists it.

use common::driver::Entry;
use common::system::System;

use crate::{NAME, prepare, simulate};

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
    places: None,
    density: None,
    levels: None,
};
