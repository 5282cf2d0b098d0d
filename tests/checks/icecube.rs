//! The kinds of golden cases of IceCube, each with its check.

mod data;
mod networks;
mod predict;
mod train;

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[
    ("config_overrides", predict::config_overrides),
    ("deepice_", networks::forward),
    ("e2e", predict::end_to_end),
    ("get_val", |case| data::get_val(case).and_then(|()| networks::decoding(case))),
    ("gnn_", networks::forward),
    ("graph_ops", networks::graph_ops),
    ("losses", networks::loss_values),
    ("parameters", networks::parameters),
    ("preprocess_", data::preprocess),
    ("pulse_selection", data::pulse_selection),
    ("samplers", data::samplers),
    ("schedule", train::schedule),
    ("sensors_ice", data::sensors_ice),
    ("train_accum_ema", train::steps),
    ("train_batches", data::train_batches),
    ("train_gnn_steps", train::steps),
    ("train_steps", train::steps),
    ("validate", predict::validation),
];
