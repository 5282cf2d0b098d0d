//! `train-model`: trains one network from a config.

mod args;
mod processes;
mod run;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
