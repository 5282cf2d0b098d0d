//! The programs as modules: each is a binary of its own for development and tests, and all of a kind are one binary when
//! they are handed out, so that what they share is there once. Those without tensors never refer to libtorch, and a binary
//! that holds only those starts without it.

#[path = "convert-weights/mod.rs"]
pub mod convert_weights;
#[path = "finetune-group/mod.rs"]
pub mod finetune_group;
pub mod front;
#[path = "hill-climb/mod.rs"]
pub mod hill_climb;
#[path = "hit-density/mod.rs"]
pub mod hit_density;
#[path = "predict/mod.rs"]
pub mod predict;
#[path = "prepare-data/mod.rs"]
pub mod prepare_data;
#[path = "run-pipeline/mod.rs"]
pub mod run_pipeline;
#[path = "score/mod.rs"]
pub mod score;
#[path = "simulate-data/mod.rs"]
pub mod simulate_data;
#[path = "train-model/mod.rs"]
pub mod train_model;
