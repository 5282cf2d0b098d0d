//! `predict`: a submission from trained networks, checked before it is written.

mod args;
mod icecube;
mod leap;
mod polarmae;
mod run;
mod tracknet;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
