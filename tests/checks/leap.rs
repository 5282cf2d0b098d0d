//! The kinds of golden cases of LEAP.

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[];
