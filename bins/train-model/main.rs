//! The program `train-model`.

#[path = "mod.rs"]
mod train_model;

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> std::process::ExitCode {
    train_model::main()
}
