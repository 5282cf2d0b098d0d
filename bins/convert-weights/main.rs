//! The program `convert-weights`.

#[path = "mod.rs"]
mod convert_weights;

fn main() -> std::process::ExitCode {
    convert_weights::main()
}
