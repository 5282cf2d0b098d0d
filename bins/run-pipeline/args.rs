//! What can be typed behind `run-pipeline`.

use clap::{Args, Parser, Subcommand};
use common::cli::{Arguments, HELP_STYLES, Verbosity};

use crate::run_pipeline::pipeline::PipelineArgs;

const EXAMPLES: &str = "\
Examples:
  run-pipeline pipelines/blend               run what is not up to date
  run-pipeline pipelines/blend -n            what would run, and why
  run-pipeline pipelines/blend -j 2 --until train
  run-pipeline report runs/a runs/b          one page that compares runs
  run-pipeline doctor                        what this machine offers";

/// Run the stages of a pipeline that are not up to date
///
/// A pipeline is a folder with a `dvc.yaml` in DVC's own format; `dvc` works on the same files. A stage runs when its
/// command, a dep, a parameter or an out changed since the run that `dvc.lock` holds.
#[derive(Debug, Parser)]
#[command(name = "run-pipeline", version, styles = HELP_STYLES, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunPipeline {
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

/// What is done beside running a pipeline.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Check versions, libtorch, devices, memory, threads and disk
    Doctor(DoctorArgs),
    /// Compare runs, and show what pipelines did, on one page
    ///
    /// Curves overlaid, figures side by side, the keys in which configs differ; of pipelines the stages of their last run
    /// over time, with memory and what was up to date.
    Report(ReportArgs),
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folders of finished stages, and of pipelines that ran here
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<std::path::PathBuf>,
    /// The page that is written
    #[arg(long, value_name = "PAGE", default_value = "report.html")]
    pub out: std::path::PathBuf,
    /// Replace a file that is no such page
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    verbosity: Verbosity,
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
            Some(Action::Doctor(arguments)) => &arguments.verbosity,
            Some(Action::Report(arguments)) => &arguments.verbosity,
            None => &self.pipeline.verbosity,
        }
    }
}
