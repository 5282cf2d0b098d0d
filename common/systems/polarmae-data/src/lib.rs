//! PoLAr-MAE without tensors: PILArNet-M files, prepared events, their transforms and groups of points, pictures.
//!
//! What makes, prepares and judges data needs this crate alone and starts without libtorch. The networks are in `polarmae`.

pub mod classes;
pub mod dataset;
pub mod energy;
pub mod geometry;
pub mod grouping;
pub mod masking;
pub mod picture;
pub mod prepare;
pub mod raw;
pub mod simulate;
mod system;
pub mod transforms;

pub use system::{NAME, SYSTEM};
