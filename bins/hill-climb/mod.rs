//! `hill-climb`: search the weights of a blend, and apply weights to submissions. Uses no tensor library.

mod args;
mod blend;
mod directions;
mod judge;
mod measure;
mod members;
mod page;
mod problem;
mod report;
mod search;
mod weights;

use std::process::ExitCode;

/// Runs it with the arguments of this process.
pub fn main() -> ExitCode {
    common::cli::main(args::run)
}
