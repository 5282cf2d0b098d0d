//! The front and every program without tensors in one binary: the name by which it is started says which.

use std::process::ExitCode;

use stages::front::{self, Program};

const PROGRAMS: [Program; 6] = [
    ("hill-climb", stages::hill_climb::main),
    ("hit-density", stages::hit_density::main),
    ("prepare-data", stages::prepare_data::main),
    ("run-pipeline", stages::run_pipeline::main),
    ("score", stages::score::main),
    ("simulate-data", stages::simulate_data::main),
];

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> ExitCode {
    front::called(&PROGRAMS).unwrap_or_else(front::main)
}
