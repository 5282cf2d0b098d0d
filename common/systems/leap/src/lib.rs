//! LEAP / ClimSim: emulation of climate physics, the 2nd place of the Kaggle competition "LEAP - Atmospheric Physics
//! using AI (ClimSim)". One sample is one atmospheric column at one 20-minute step: 556 inputs, 368 targets.

pub mod augment;
pub mod columns;
pub mod dataset;
pub mod finetune;
pub mod layout;
pub mod losses;
pub mod metric;
pub mod models;
pub mod norm;
pub mod predict;
pub mod prepare;
pub mod simulate;
pub mod submission;
pub mod train;
