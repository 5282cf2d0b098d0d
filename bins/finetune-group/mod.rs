//! `finetune-group`: fine-tunes a trained network for each group of targets.

mod args;
mod run;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
