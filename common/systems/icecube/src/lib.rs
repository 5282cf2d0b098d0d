//! IceCube: the direction of a neutrino from the pulses of one event, the 2nd place of the Kaggle competition
//! "IceCube - Neutrinos in Deep Ice".

pub mod batch;
pub mod dataset;
pub mod export;
pub mod import;
pub mod losses;
pub mod models;
mod networks;
pub mod predict;
pub mod sampler;
pub mod train;
pub mod visit;

pub use networks::NETWORKS;

pub use icecube_data::{
    NAME, angles, detector, directions, geometry, graphnet, nevents, picture, prepare, published, raw, score,
    selection, sensors, simulate, submission, targets,
};
