//! What can be typed.

use std::path::PathBuf;

use clap::Parser;
use common::cli::{Arguments, ConfigArgs, DeviceFlag, FromFlag, HELP_STYLES, RunFlags, Verbosity};
use neural::trainer::Resume;

/// Train one network from a config
///
/// Reads the arrays of a `prepare-data` stage, trains, keeps the best and the last checkpoint, and writes the
/// out-of-fold predictions of the best evaluation. A run that was killed continues when the same command is given
/// again, and ends with the same bytes as one that was not.
#[derive(Debug, Parser)]
#[command(name = "train-model", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = examples())]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub from: FromFlag,
    #[command(flatten)]
    pub run: RunFlags,
    #[command(flatten)]
    pub device: DeviceFlag,
    /// Where to take up: auto, never, or a checkpoint folder
    ///
    /// `auto` takes the newest checkpoint in the output folder that verifies, or starts anew. `never` removes the
    /// checkpoints there first. A folder of another run is taken over with its best weights; the same command given again
    /// continues what was trained since.
    #[arg(long, value_name = "auto|never|PATH", default_value = "auto", help_heading = "Run")]
    pub resume: Resume,
    /// Begin with these weights: a file, or a training's folder
    #[arg(long, value_name = "PATH", help_heading = "Input", hide_short_help = true, long_help = init())]
    pub init: Option<PathBuf>,
    /// What stands before the network's names in the file of `--init`
    ///
    /// Not needed where one part of the file alone fits the network: see `docs/weights.md`.
    #[arg(long, value_name = "PREFIX", help_heading = "Input", hide_short_help = true)]
    pub prefix: Option<String>,
    /// Tensor of `--init` to leave out; NAME* means all that begin so
    #[arg(long, value_name = "NAME", help_heading = "Input", hide_short_help = true)]
    pub drop: Vec<String>,
    /// Smoke run: one epoch of 2 steps of 8 rows
    #[arg(long, help_heading = "Run", conflicts_with = "limit")]
    pub fast_dev_run: bool,
    /// Train with N processes on this machine, each with its share of every batch
    ///
    /// `torchrun --no-python`, `srun` and `mpirun` start processes by themselves: without this flag.
    #[arg(long, value_name = "N", help_heading = "Run", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub nproc: Option<u64>,
    /// Seconds that a process waits for the others at the start
    #[arg(long, value_name = "SECONDS", default_value_t = 300, help_heading = "Run", hide_short_help = true)]
    pub rank_timeout: u64,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }

    fn schemas() -> Vec<(&'static str, String)> {
        networks::train().schemas()
    }
}

const SHORT: &str = "`--help` says more and shows examples.";

fn init() -> String {
    networks::train().flag(
        "--init",
        "Begin with these weights: a file, or a training's folder\n\nA `.safetensors` or `.pt` file with the network's \
         tensors, or the folder of a finished `train-model` stage, whose best weights are taken.",
    )
}

fn examples() -> String {
    format!(
        "Examples:\n{}\n\nWith --limit N every epoch ends after N steps, and N validation batches are\nevaluated.",
        networks::train().help(|help| help.examples, "\n\n")
    )
}
