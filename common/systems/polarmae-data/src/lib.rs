//! PoLAr-MAE without tensors: PILArNet-M files, prepared events, their transforms and groups of points, pictures.
//!
//! What makes, prepares and judges data needs this crate alone and starts without libtorch. The networks are in `polarmae`.

pub mod classes;
pub mod confusion;
pub mod dataset;
pub mod energy;
pub mod geometry;
pub mod grouping;
pub mod instances;
pub mod labels;
pub mod masking;
mod page;
pub mod picture;
pub mod preparation;
pub mod prepare;
pub mod published;
pub mod raw;
pub mod score;
pub mod simulate;
mod system;
pub mod transforms;

pub use system::SYSTEM;

/// Name in configs, manifests and command lines.
pub const NAME: &str = "polarmae";
