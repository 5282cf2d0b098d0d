//! IceCube: the direction of a neutrino from the pulses of one event, the 2nd place of the Kaggle competition
//! "IceCube - Neutrinos in Deep Ice".

pub mod dataset;
pub mod nevents;
pub mod prepare;
pub mod raw;
pub mod sampler;
pub mod selection;
pub mod sensors;
pub mod simulate;
