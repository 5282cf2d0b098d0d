//! The program `hit-density`.

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> std::process::ExitCode {
    stages::hit_density::main()
}
