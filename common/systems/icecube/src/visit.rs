//! Rows of an epoch: the number of an event that also says how often the run has come by, because the random choice of pulses
//! differs from visit to visit.

/// Bits of the event.
const SHIFT: u32 = 40;

/// The row of an event at a visit.
pub fn row(event: u64, visit: u64) -> u64 {
    event | (visit << SHIFT)
}

/// Event and visit of a row.
pub fn split(row: u64) -> (u64, u64) {
    (row & ((1 << SHIFT) - 1), row >> SHIFT)
}
