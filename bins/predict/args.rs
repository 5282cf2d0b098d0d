//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::cli::{Arguments, DeviceFlag, FromFlag, HELP_STYLES, OptionalConfigArgs, RunFlags, Verbosity};

/// Predict the test rows and write a submission
///
/// Takes the networks of a `train-model` or `finetune-group` stage (the seven networks of the groups in one pass over
/// the data), or converted weights. The submission is checked against the sample file before it appears.
#[derive(Debug, Parser)]
#[command(name = "predict", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub config: OptionalConfigArgs,
    #[command(flatten)]
    pub from: FromFlag,
    /// Weights instead of `--from`: one file, or seven
    ///
    /// `.safetensors` files of `convert-weights`: one network, or those of the groups 0 to 6 in order. Needs `--data`.
    /// IceCube: the folder in which the config's weights lie, or one file.
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Input", conflicts_with = "from", requires = "data")]
    pub weights: Vec<PathBuf>,
    /// Arrays: folder of `prepare-data` [default: the networks']
    #[arg(long, value_name = "FOLDER", help_heading = "Input")]
    pub data: Option<String>,
    /// Set of prepared events (polarmae): train, valid, test
    ///
    /// IceCube: `train` predicts the training and validation files, which a filter by kappa asks for; else the test files.
    #[arg(long, value_name = "SET", default_value = "valid", help_heading = "Input", hide_short_help = true)]
    pub set: String,
    /// Event that is drawn (polarmae), from 0 [default: 0]
    #[arg(long, value_name = "N", help_heading = "Output", hide_short_help = true)]
    pub picture: Option<u64>,
    /// Sample submission: its header and ids must agree
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub sample: Option<PathBuf>,
    /// Rows or events of a batch [default: leap 4096, icecube 32, polarmae 1]
    ///
    /// With the published norm of PoLAr-MAE the events of a batch change one another's classes: 1 keeps them apart.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Run")]
    pub batch_size: Option<u64>,
    /// Number format of the forward pass
    #[arg(long, value_enum, default_value = "f32", help_heading = "Run")]
    pub precision: Format,
    /// Columns that scored worse than zero become 0
    ///
    /// `auto` does as the network's config says; ADAM's published files do not apply the list.
    #[arg(long, value_enum, default_value = "auto", help_heading = "Run", hide_short_help = true)]
    pub zero_list: ZeroList,
    /// Also write the submission as csv
    #[arg(long, help_heading = "Run")]
    pub csv: bool,
    #[command(flatten)]
    pub run: RunFlags,
    #[command(flatten)]
    pub device: DeviceFlag,
    /// Smoke run: the first 8 rows (no complete submission)
    #[arg(long, help_heading = "Run", conflicts_with = "limit")]
    pub fast_dev_run: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Number formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// 32-bit float
    F32,
    /// Brain float, for GPUs
    Bf16,
    /// IEEE half, for GPUs
    F16,
}

/// Whether the zero list is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ZeroList {
    /// As the network's config says
    Auto,
    /// Always
    Apply,
    /// Never
    Ignore,
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }

    fn schemas() -> Vec<(&'static str, String)> {
        vec![
            ("icecube", common::config::schema::<icecube::predict::PredictConfig>()),
            ("tracknet", common::config::schema::<::tracknet::predict::PredictConfig>()),
        ]
    }
}

const SHORT: &str = "`--help` says more and shows examples.";

const EXAMPLES: &str = "\
Examples:
  A submission of one network, with the test rows it was prepared with:
    predict --from runs/exp195 --sample raw/kaggle-data/sample_submission.csv \\
      --out submissions/exp195

  The seven networks of a fine-tuning, behind a pipe:
    finetune-group configs/leap/demo/max022_gf.yaml --from runs/max022 --out runs/max022_gf |
      predict --from - --out submissions/max022_gf

  A published checkpoint:
    convert-weights adam_195.pt adam_195.safetensors --config configs/leap/adam/exp195.yaml
    predict --weights adam_195.safetensors --data data --out submissions/adam_195

  The five published IceCube networks, and one that was trained:
    predict configs/icecube/ensemble.yaml --weights ice-cube-final-models \\
      --data data --sample raw/sample_submission.parquet --out submission
    predict --from runs/b64 --out submissions/b64

  Classes of all points of the validation events, and of a published network:
    predict --from runs/polarmae_fft --out classes
    predict configs/polarmae/segment/polarmae_fft.yaml --data store \\
      --weights polarmae_fft_segsem_10k.ckpt --out classes

With --limit N only the first N test rows or events are predicted.";
