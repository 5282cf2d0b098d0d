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
#[command(name = "train-model", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = EXAMPLES)]
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
    ///
    /// A `.safetensors` or `.pt` file with the network's tensors, or the folder of a finished `train-model` stage, whose
    /// best weights are taken. The config says which tensors may differ (`initial.drop`).
    #[arg(long, value_name = "PATH", help_heading = "Input", hide_short_help = true)]
    pub init: Option<PathBuf>,
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
        vec![
            ("icecube", common::config::schema::<icecube::train::TrainConfig>()),
            ("leap", common::config::schema::<leap::train::TrainConfig>()),
            ("polarmae", common::config::schema::<polarmae::train::TrainConfig>()),
            ("tracknet", common::config::schema::<::tracknet::train::TrainConfig>()),
        ]
    }
}

const SHORT: &str = "`--help` says more and shows examples.";

const EXAMPLES: &str = "\
Examples:
  The published recipe, on the arrays in `data`:
    train-model configs/leap/adam/exp195.yaml --from data --out runs/exp195

  The same with another batch size and a schedule of fewer epochs:
    train-model configs/leap/adam/exp195.yaml --from data --out runs/small \\
      training.batch_size=256 training.epochs=3

  IceCube: the next stage of a network from the weights of the one before,
  and a published config as it is:
    train-model configs/icecube/b64/stage2.yaml --from data \\
      --out runs/b64-2 weights=runs/b64-1
    train-model config.json LR_MAX 1e-5 MODEL_KWARGS.dim 768 --from data

  Pretraining of PoLAr-MAE, then linear probing from it:
    train-model configs/polarmae/pretrain/polarmae.yaml --from store --out mae
    train-model configs/polarmae/segment/polarmae_peft.yaml --from mae \\
      --out peft

  A second stage that begins with the first one's weights:
    train-model configs/leap/forcewithme/lstmmamba_stage2.yaml --from data \\
      --init runs/lstmmamba_stage1 --out runs/lstmmamba

  In a pipe, and a look at what would be done:
    prepare-data leap configs/leap/demo/prepare.yaml --raw raw --out data |
      train-model configs/leap/demo/exp195.yaml --from - --out runs/demo
    train-model configs/leap/demo/exp195.yaml --from data --dry-run

With --limit N every epoch ends after N steps, and N validation batches are
evaluated.";
