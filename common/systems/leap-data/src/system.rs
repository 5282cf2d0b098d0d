//! LEAP, as the registry lists it.

use common::driver::Entry;
use common::system::System;

use crate::{NAME, levels, prepare, simulate};

/// LEAP without networks.
pub static SYSTEM: System = System {
    name: NAME,
    line: "LEAP / ClimSim: mli/mlo netCDF files, Kaggle csv files",
    truth: &["valid", "b/valid", "a/valid"],
    simulate: Some(Entry::of::<simulate::Simulate>()),
    prepare: Some(Entry::of::<prepare::Prepare>()),
    score: None,
    blend: None,
    watts: Some(crate::energy::watts),
    places: Some(prepare::places::of_truth),
    density: None,
    levels: Some(levels::of_group),
};
