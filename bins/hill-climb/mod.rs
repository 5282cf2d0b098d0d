//! `hill-climb`: search the weights of a blend, and apply weights to submissions. Uses no tensor library.

mod args;
mod blend;
mod bootstrap;
mod command;
mod curve;
mod doubts;
mod facts;
mod fast;
mod folds;
mod judge;
mod labels;
mod members;
mod ordered;
mod page;
mod parts;
mod problem;
mod profiles;
mod report;
mod samples;
mod search;
mod solve;

use std::process::ExitCode;

use args::{HillClimb, Mode};

/// Runs it with the arguments of this process.
pub fn main() -> ExitCode {
    common::cli::main(run)
}

fn run(args: HillClimb) -> anyhow::Result<()> {
    match args.mode {
        Mode::Search(args) => Ok(search::run(&args)?),
        Mode::Blend(args) => Ok(blend::run(&args)?),
    }
}
