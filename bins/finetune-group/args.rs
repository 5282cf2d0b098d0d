//! What can be typed.

use std::path::PathBuf;

use clap::Parser;
use common::cli::{Arguments, ConfigArgs, DeviceFlag, FromFlag, HELP_STYLES, RunFlags, Verbosity};
use neural::trainer::Resume;

/// Fine-tune a trained network for each group of targets
///
/// Starts seven times from the same base, trains all weights on one group of targets, and keeps of each network the
/// columns of its group. Writes the seven networks and the merged out-of-fold predictions. A run that was killed
/// continues when the same command is given again.
#[derive(Debug, Parser)]
#[command(name = "finetune-group", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = examples())]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub from: FromFlag,
    /// Arrays: folder of `prepare-data` [default: the base's]
    #[arg(long, value_name = "FOLDER", help_heading = "Input")]
    pub data: Option<String>,
    /// Base weights instead of those of `--from`
    ///
    /// A `.safetensors` file of `convert-weights` or of a checkpoint; needs `--data`.
    #[arg(long, value_name = "FILE", help_heading = "Input", conflicts_with = "from", requires = "data")]
    pub base: Option<PathBuf>,
    /// Groups: all, or numbers as in 0,4
    ///
    /// With some of the groups only those are trained; the stage ends when all are done.
    #[arg(long, value_name = "all|N,..", default_value = "all", help_heading = "Run")]
    pub group: String,
    #[command(flatten)]
    pub run: RunFlags,
    #[command(flatten)]
    pub device: DeviceFlag,
    /// Where to take up: auto or never
    #[arg(long, value_name = "auto|never", default_value = "auto", help_heading = "Run", value_parser = parse_resume)]
    pub resume: Resume,
    /// Smoke run: one epoch of 2 steps of 8 rows a group
    #[arg(long, help_heading = "Run", conflicts_with = "limit")]
    pub fast_dev_run: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

fn parse_resume(text: &str) -> Result<Resume, String> {
    match text {
        "auto" => Ok(Resume::Auto),
        "never" => Ok(Resume::Never),
        _ => Err("expected `auto` or `never`".into()),
    }
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }

    fn schemas() -> Vec<(&'static str, String)> {
        networks::finetune().schemas()
    }
}

const SHORT: &str = "`--help` says more and shows examples.";

fn examples() -> String {
    format!(
        "Examples:\n{}\n\nWith --limit N every epoch ends after N steps, and N validation batches are\nevaluated.",
        networks::finetune().help(|help| help.examples, "\n\n")
    )
}
