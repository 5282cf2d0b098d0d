//! `run-pipeline`: runs pipelines, and looks after the machine that they run on. Uses no tensor, so it starts without
//! libtorch.

mod args;
mod choice;
mod content;
mod declare;
mod doctor;
mod graph;
mod pipeline;
mod quiet;
mod rehearse;
mod report;
mod repository;
mod run;
mod show;
mod state;

use args::{Action, RunPipeline};

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run)
}

fn run(arguments: RunPipeline) -> anyhow::Result<()> {
    match arguments.action {
        Some(Action::Doctor(arguments)) => doctor::run(&arguments),
        Some(Action::Report(arguments)) => Ok(report::run(&arguments)?),
        None => pipeline::run(&arguments.pipeline),
    }
}
