//! IceCube, as the registry lists it.

use common::driver::Entry;
use common::system::System;

use crate::{NAME, prepare, simulate};

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
    places: None,
    density: None,
    levels: None,
};
