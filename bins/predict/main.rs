//! The program `predict`.

#[path = "mod.rs"]
mod predict;

fn main() -> std::process::ExitCode {
    predict::main()
}
