//! IceCube: the direction of a neutrino from the pulses of one event, the 2nd place of the Kaggle competition
//! "IceCube - Neutrinos in Deep Ice".

pub mod batch;
pub mod dataset;
pub mod losses;
pub mod models;
pub mod nevents;
pub mod predict;
pub mod prepare;
pub mod raw;
pub mod sampler;
pub mod selection;
pub mod sensors;
pub mod simulate;
pub mod train;
