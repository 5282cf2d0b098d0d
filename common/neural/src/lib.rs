//! What every Podium model shares: parameters with published names, initialisation, strict weight loading, fused
//! optimizers with saveable state, schedules, and the small C++ shim for what `tch` does not expose.
//!
//! `tch` methods without `f_` panic on any error. Here the `f_` form is used wherever data, files or memory decide
//! the outcome, and [`Doing`] turns the failure into a [`common::Error`] of the right kind.

pub mod clip;
pub mod device;
pub mod exact;
pub mod init;
pub mod layers;
pub mod memory;
pub mod optim;
pub mod params;
pub mod schedule;
pub mod shim;

mod errors;

pub use errors::Doing;
pub use params::{Params, Path};
