//! `train-model`: trains one network from a config.

mod args;
mod icecube;
mod leap;
mod polarmae;
mod processes;
mod run;
mod shared;
mod tracknet;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
