//! PoLAr-MAE: self-supervised learning on point clouds of liquid-argon time projection chambers (PILArNet-M).
//!
//! Source: arXiv 2502.02558, "Particle Trajectory Representation Learning with Masked Point Modeling". Data and their
//! geometry, which need no tensor, are the crate `polarmae-data`; its modules are found here, too.

pub use polarmae_data::{
    NAME, classes, confusion, energy, geometry, grouping, instances, masking, picture, preparation, prepare, published,
    raw, simulate, transforms,
};

pub mod batch;
pub mod batched;
pub mod dataset;
pub mod export;
pub mod import;
pub mod losses;
pub mod models;
mod networks;
pub mod predict;
pub mod probe;
pub mod svm;
pub mod train;

pub use networks::NETWORKS;
