//! The program `predict`.

#[path = "mod.rs"]
mod predict;

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> std::process::ExitCode {
    predict::main()
}
