//! `predict`: a submission from trained networks, checked before it is written.

mod args;
mod run;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
