//! What every program promises on its command line: help, configs, results, and what is refused.

mod blending;
mod convert_weights;
mod doctor;
mod finetune_group;
mod hill_climb;
#[path = "../support/leap_raw.rs"]
mod leap_raw;
#[path = "../support/oof.rs"]
mod oof;
mod predict;
mod prepare_data;
mod run_pipeline;
mod score;
mod simulate_data;
#[path = "../support/mod.rs"]
mod support;
mod train_model;
#[path = "../support/training.rs"]
mod training;
