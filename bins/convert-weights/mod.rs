//! `convert-weights`: published checkpoints to safetensors and back, strictly.

mod args;
mod export;
mod run;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
