//! The program `simulate-data`.

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> std::process::ExitCode {
    stages::simulate_data::main()
}
