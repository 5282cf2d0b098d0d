//! `convert-weights`: published checkpoints to safetensors and back, strictly.

mod args;
mod run;

fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
