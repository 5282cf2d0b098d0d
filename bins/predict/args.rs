//! What can be typed.

use std::path::PathBuf;

use clap::Parser;
use common::cli::{Arguments, DeviceFlag, FromFlag, HELP_STYLES, OptionalConfigArgs, RunFlags, Verbosity};
use neural::precision::Precision;
use neural::stages::{Set, ZeroList};

/// Predict the test rows and write a submission
///
/// Takes the networks of a `train-model` or `finetune-group` stage (the networks of all groups in one pass over the
/// data), or converted weights. The submission is checked against the sample file before it appears.
#[derive(Debug, Parser)]
#[command(name = "predict", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = examples())]
pub struct Args {
    #[command(flatten)]
    pub config: OptionalConfigArgs,
    #[command(flatten)]
    pub from: FromFlag,
    /// Weights instead of `--from`: one file, or one for each network
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Input", conflicts_with = "from", requires = "data",
        long_help = weights())]
    pub weights: Vec<PathBuf>,
    /// Arrays: folder of `prepare-data` [default: the networks']
    #[arg(long, value_name = "FOLDER", help_heading = "Input")]
    pub data: Option<String>,
    /// Set of prepared events [default: the config's]
    #[arg(long, value_enum, value_name = "SET", help_heading = "Input", hide_short_help = true, long_help = set())]
    pub set: Option<Set>,
    /// Event that is drawn, from 0 [default: the config's]
    #[arg(long, value_name = "N", help_heading = "Output", hide_short_help = true, long_help = picture())]
    pub picture: Option<u64>,
    /// Sample submission: its header and ids must agree
    #[arg(long, value_name = "FILE", help_heading = "Input", long_help = sample())]
    pub sample: Option<PathBuf>,
    /// Rows or events of a batch [default: the config's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Run",
        long_help = batch_size())]
    pub batch_size: Option<u64>,
    /// Number format of the forward pass [default: the config's, f32]
    #[arg(long, value_enum, help_heading = "Run", long_help = precision())]
    pub precision: Option<Precision>,
    /// Columns that scored worse than zero become 0 [default: auto]
    #[arg(long, value_enum, help_heading = "Run", hide_short_help = true, long_help = zero_list())]
    pub zero_list: Option<ZeroList>,
    /// Also write the submission as csv
    #[arg(long, help_heading = "Run", long_help = csv())]
    pub csv: bool,
    #[command(flatten)]
    pub run: RunFlags,
    #[command(flatten)]
    pub device: DeviceFlag,
    /// Smoke run: the first rows (no complete submission)
    #[arg(long, help_heading = "Run", conflicts_with = "limit")]
    pub fast_dev_run: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }

    fn schemas() -> Vec<(&'static str, String)> {
        networks::predict().schemas()
    }
}

fn weights() -> String {
    let about = "Weights instead of `--from`: one file, or one for each network\n\nFiles of `convert-weights`, or \
                 published ones where the config says which network they are. Needs `--data`.";
    networks::predict().flag("--weights", about)
}

fn set() -> String {
    networks::predict().flag("--set", "Set of prepared events [default: the config's]")
}

fn picture() -> String {
    networks::predict().flag("--picture", "Event that is drawn, from 0 [default: the config's]")
}

fn sample() -> String {
    networks::predict().flag("--sample", "Sample submission: its header and ids must agree")
}

fn batch_size() -> String {
    networks::predict().flag("--batch-size", "Rows or events of a batch [default: the config's]")
}

fn precision() -> String {
    networks::predict().flag("--precision", "Number format of the forward pass [default: the config's, f32]")
}

fn zero_list() -> String {
    let about =
        "Columns that scored worse than zero become 0 [default: auto]\n\n`auto` does as the network's config says.";
    networks::predict().flag("--zero-list", about)
}

fn csv() -> String {
    networks::predict().flag("--csv", "Also write the submission as csv")
}

const SHORT: &str = "`--help` says more and shows examples.";

fn examples() -> String {
    let systems = networks::predict();
    format!(
        "Examples:\n{}\n\nWith --limit N only a part is predicted: {}.",
        systems.help(|help| help.examples, "\n\n"),
        systems.sentence(|help| help.limit)
    )
}
