//! The programs without tensors as modules: each is a binary of its own for development and tests, and all of them are one
//! binary when they are handed out, so that what they share is there once.
//!
//! Those with networks stay outside: what they bring along would be linked into each of these, and ask for libtorch. Their
//! programs are linked without it and hand over to one that has it ([`front::light`]).

pub mod front;
#[path = "hill-climb/mod.rs"]
pub mod hill_climb;
#[path = "hit-density/mod.rs"]
pub mod hit_density;
#[path = "prepare-data/mod.rs"]
pub mod prepare_data;
#[path = "run-pipeline/mod.rs"]
pub mod run_pipeline;
#[path = "score/mod.rs"]
pub mod score;
#[path = "simulate-data/mod.rs"]
pub mod simulate_data;
