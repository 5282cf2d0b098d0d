//! PoLAr-MAE: self-supervised learning on point clouds of liquid-argon time projection chambers (PILArNet-M).
//!
//! Source: arXiv 2502.02558, "Particle Trajectory Representation Learning with Masked Point Modeling".

pub mod batch;
pub mod dataset;
pub mod energy;
pub mod geometry;
pub mod grouping;
pub mod import;
pub mod losses;
pub mod masking;
pub mod models;
pub mod picture;
pub mod predict;
pub mod prepare;
pub mod probe;
pub mod raw;
pub mod simulate;
pub mod svm;
pub mod train;
pub mod transforms;
