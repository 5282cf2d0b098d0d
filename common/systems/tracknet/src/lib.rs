//! TrackNET: building tracks of charged particles from hits, layer by layer (TrackML events).

pub mod batch;
pub mod build;
pub mod checkpoint;
pub mod csv;
pub mod dataset;
pub mod density;
mod density_file;
pub mod event;
pub mod figures;
pub mod files;
pub mod judge;
pub mod losses;
pub mod metrics;
pub mod models;
pub mod normalizer;
pub mod picture;
pub mod predict;
pub mod prepare;
pub mod simulate;
pub mod tracker;
pub mod trackml;
pub mod tracks;
pub mod train;
