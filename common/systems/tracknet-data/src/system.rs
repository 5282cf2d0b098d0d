//! TrackNET, as the registry lists it.

use common::driver::Entry;
use common::system::System;

use crate::{NAME, prepare, simulate};

/// TrackNET without networks.
pub static SYSTEM: System = System {
    name: NAME,
    line: "TrackNET: TrackML csv events",
    truth: &[],
    simulate: Some(Entry::of::<simulate::Simulate>()),
    prepare: Some(Entry::of::<prepare::Prepare>()),
    score: Some(crate::score::SCORE),
    blend: None,
    watts: None,
    places: None,
    density: Some(crate::raw::DENSITY),
    levels: None,
};
