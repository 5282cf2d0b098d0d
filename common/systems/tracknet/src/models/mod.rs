//! The networks, one file each.

pub mod step_ahead;

pub use step_ahead::{ModelConfig, Outputs, StepAhead};
