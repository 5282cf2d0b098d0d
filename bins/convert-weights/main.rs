//! The program `convert-weights`.

#[path = "mod.rs"]
mod convert_weights;

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> std::process::ExitCode {
    convert_weights::main()
}
