//! Checkpoints of other code with these networks.

mod names;

pub use names::{about_of, allow, warn_of_pulse_count};
