//! `hill-climb`: search the weights of a blend, and apply weights to submissions. Uses no tensor library.

mod args;
mod blend;
mod command;
mod curve;
mod directions;
mod fast;
mod folds;
mod judge;
mod labels;
mod measure;
mod members;
mod page;
mod problem;
mod ranks;
mod report;
mod samples;
mod search;
mod solve;
mod space;
mod weights;

use std::process::ExitCode;

/// Runs it with the arguments of this process.
pub fn main() -> ExitCode {
    common::cli::main(args::run)
}
