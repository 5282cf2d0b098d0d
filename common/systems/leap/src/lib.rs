//! LEAP / ClimSim: emulation of climate physics, the 2nd place of the Kaggle competition "LEAP - Atmospheric Physics
//! using AI (ClimSim)". One sample is one atmospheric column at one 20-minute step: 556 inputs, 368 targets.

pub mod augment;
pub mod constants;
pub mod dataset;
pub mod export;
pub mod finetune;
pub mod import;
pub mod layout;
pub mod losses;
pub mod models;
mod networks;
pub mod predict;
pub mod train;

pub use networks::NETWORKS;

pub use leap_data::{NAME, climsim, columns, constraints, norm, prepare, raw, score, simulate, submission};
