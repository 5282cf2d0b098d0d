//! TrackNET: building tracks of charged particles from hits, layer by layer (TrackML events).
//!
//! The networks and what uses them; what needs no tensor is in the crate `tracknet-data` and is found here, too.

pub mod batch;
mod boxes;
pub mod build;
pub mod checkpoint;
pub mod dataset;
pub mod export;
pub mod import;
pub mod losses;
pub mod metrics;
pub mod models;
mod networks;
pub mod predict;
pub mod tracker;
pub mod train;

pub use networks::NETWORKS;

pub use tracknet_data::{
    NAME, cuts, figures, judge, measured, normalizer, picture, prepare, simulate, submission, trackml, tracks,
};
pub use tracknet_data::{csv, density, event, files};
