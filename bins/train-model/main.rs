//! The program `train-model`, which hands its work over to `podium-torch`.

#[path = "mod.rs"]
mod train_model;

stages::without_libtorch!();

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> std::process::ExitCode {
    stages::front::light::main(train_model::main)
}
