//! The kinds of golden cases of IceCube, each with its check.

mod data;

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[
    ("get_val", data::get_val),
    ("preprocess_", data::preprocess),
    ("pulse_selection", data::pulse_selection),
    ("samplers", data::samplers),
    ("sensors_ice", data::sensors_ice),
    ("train_batches", data::train_batches),
];
