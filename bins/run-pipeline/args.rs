//! What can be typed behind `run-pipeline`.

use clap::{Args, Parser, Subcommand};
use common::cli::{Arguments, HELP_STYLES, Verbosity};

use crate::doctor;

const EXAMPLES: &str = "\
Examples:
  run-pipeline doctor             what this machine offers, and what is missing
  run-pipeline doctor --json      the same for scripts; exit code 1 when something is missing";

/// Look after pipelines and the machine that they run on
#[derive(Debug, Parser)]
#[command(name = "run-pipeline", version, styles = HELP_STYLES, after_help = EXAMPLES)]
pub struct RunPipeline {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check versions, libtorch, devices, memory, threads and disk
    Doctor(DoctorArgs),
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object instead of a list
    #[arg(long)]
    pub json: bool,
    /// Folder that runs will write to; its disk is looked at
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub out: std::path::PathBuf,
    #[command(flatten)]
    verbosity: Verbosity,
}

impl Arguments for RunPipeline {
    fn verbosity(&self) -> &Verbosity {
        match &self.action {
            Action::Doctor(arguments) => &arguments.verbosity,
        }
    }
}

/// Does what was asked for.
pub fn run(arguments: RunPipeline) -> anyhow::Result<()> {
    match arguments.action {
        Action::Doctor(arguments) => doctor::run(&arguments),
    }
}
