//! What every Podium model shares: parameters with published names, initialisation, strict weight loading, fused
//! optimizers with saveable state, schedules, the trainer with its checkpoints and loader, and the small C++ shim for
//! what `tch` does not expose.
//!
//! `tch` methods without `f_` panic on any error. Here the `f_` form is used wherever data, files or memory decide
//! the outcome, and [`Doing`] turns the failure into a [`common::Error`] of the right kind.

pub mod checkpoint;
pub mod clip;
pub mod device;
pub mod ema;
pub mod exact;
pub mod export;
pub mod init;
pub mod layers;
pub mod loader;
pub mod memory;
pub mod optim;
pub mod parallel;
pub mod params;
pub mod precision;
pub mod replay;
pub mod schedule;
pub mod shim;
pub mod stages;
pub mod summary;
pub mod trainer;
pub mod weights;

mod errors;

pub use errors::Doing;
pub use params::{Params, Path};
