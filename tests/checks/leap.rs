//! The kinds of golden cases of LEAP, each with its check.

mod data;
mod numbers;

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[
    ("norm", numbers::constants),
    ("prep_", data::arrays),
    ("infer_", data::test_tensors),
    ("fdzm-layout", numbers::layout),
    ("fdzm-losses", numbers::losses),
    ("fdzm-metric", numbers::metric_of_chain_b),
    ("metric", numbers::metric_of_both_chains),
];
