//! The front and every program in one binary without libtorch: the name by which it is started says which. Those with networks
//! hand their work over to `podium-torch`.

#[path = "../convert-weights/mod.rs"]
mod convert_weights;
#[path = "../finetune-group/mod.rs"]
mod finetune_group;
#[path = "../predict/mod.rs"]
mod predict;
#[path = "../train-model/mod.rs"]
mod train_model;

use std::process::ExitCode;

use stages::front::{self, Program, light};

const PROGRAMS: [Program; 10] = [
    ("convert-weights", || light::main(convert_weights::main)),
    ("finetune-group", || light::main(finetune_group::main)),
    ("hill-climb", stages::hill_climb::main),
    ("hit-density", stages::hit_density::main),
    ("predict", || light::main(predict::main)),
    ("prepare-data", stages::prepare_data::main),
    ("run-pipeline", stages::run_pipeline::main),
    ("score", stages::score::main),
    ("simulate-data", stages::simulate_data::main),
    ("train-model", || light::main(train_model::main)),
];

stages::without_libtorch!();

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> ExitCode {
    front::called(&PROGRAMS).unwrap_or_else(front::main)
}
