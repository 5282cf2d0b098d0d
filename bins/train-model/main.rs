//! The program `train-model`.

#[path = "mod.rs"]
mod train_model;

fn main() -> std::process::ExitCode {
    train_model::main()
}
