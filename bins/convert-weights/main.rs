//! The program `convert-weights`, which hands its work over to `podium-torch`.

#[path = "mod.rs"]
mod convert_weights;

stages::without_libtorch!();

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> std::process::ExitCode {
    stages::front::light::main(convert_weights::main)
}
