//! The kinds of golden cases of TrackNET, each with its check.

use super::Kind;

/// Beginnings of case paths, and their checks.
pub const KINDS: &[Kind] = &[];
