//! `hit-density`: how many hits an event has where, as a voxel map. Uses no tensor library.

mod args;
mod run;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
