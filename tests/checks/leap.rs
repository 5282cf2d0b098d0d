//! The kinds of golden cases of LEAP, each with its check.

mod numbers;

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[
    ("norm", numbers::constants),
    ("fdzm-layout", numbers::layout),
    ("fdzm-losses", numbers::losses),
    ("fdzm-metric", numbers::metric_of_chain_b),
    ("metric", numbers::metric_of_both_chains),
];
