//! PoLAr-MAE: self-supervised learning on point clouds of liquid-argon time projection chambers (PILArNet-M).
//!
//! Source: arXiv 2502.02558, "Particle Trajectory Representation Learning with Masked Point Modeling".

pub mod energy;
pub mod geometry;
pub mod grouping;
pub mod transforms;
pub mod losses;
pub mod masking;
pub mod models;
pub mod import;
pub mod metrics;
pub mod svm;
pub mod batch;
pub mod dataset;
pub mod prepare;
pub mod probe;
pub mod raw;
pub mod simulate;
pub mod train;
