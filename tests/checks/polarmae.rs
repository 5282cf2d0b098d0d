//! The kinds of golden cases of PoLAr-MAE, each with its check.

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[];
