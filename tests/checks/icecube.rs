//! The kinds of golden cases of IceCube, each with its check.

mod networks;

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[
    ("deepice_", networks::forward),
    ("gnn_", networks::forward),
    ("graph_ops", networks::graph_ops),
    ("losses", networks::loss_values),
    ("get_val", networks::decoding),
    ("parameters", networks::parameters),
];
