//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::cli::{Arguments, HELP_STYLES, Verbosity};
use neural::precision::Precision;
use neural::weights::Choice;

/// What IN becomes where the ending of OUT does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// A module that Python, C++ and Fortran load without Podium
    Torchscript,
}

/// Convert published checkpoints to safetensors, and back
///
/// Reads `.pth`, `.pt`, `.ckpt` and `.safetensors` without running anything in them, compares every name and shape with
/// the network of a config, and writes what OUT's ending says. Tensors keep their bits, those in half precision are
/// widened; what training scripts put before names is stripped, and weights that are not finite are refused.
///
/// With `--to torchscript` IN is a trained network, and OUT the whole way from raw inputs to results, for `torch.jit.load` in
/// Python, C++ and Fortran; it is compared with `predict` before it is written.
#[derive(Debug, Parser)]
#[command(name = "convert-weights", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = examples())]
pub struct Args {
    /// Weights to read: .pth, .pt, .ckpt or .safetensors
    ///
    /// With `--to torchscript` the folder of a finished `train-model`, `finetune-group`, `predict` or blend, or a
    /// `.safetensors` file of Podium.
    #[arg(value_name = "IN", help_heading = "Input")]
    pub input: PathBuf,
    /// File to write: .safetensors, .pt or .ckpt
    ///
    /// A `.ckpt` is laid out as PyTorch Lightning's: the tensors are its `state_dict`.
    #[arg(value_name = "OUT", help_heading = "Output")]
    pub output: PathBuf,
    /// Write a module instead of weights
    #[arg(long, value_name = "FORM", value_enum, help_heading = "Output")]
    pub to: Option<To>,
    /// Number format of the module's matrix products
    #[arg(long, value_name = "FORMAT", value_enum, requires = "to", help_heading = "Output")]
    pub precision: Option<Precision>,
    /// Config of `train-model` that says which network it is
    ///
    /// A `.safetensors` file written by Podium says it itself, and so do the original's checkpoints of some systems.
    #[arg(short, long, value_name = "CONFIG", help_heading = "Input")]
    pub config: Option<PathBuf>,
    /// Overrides of the config: `model.max022.hidden_state=64`
    #[arg(value_name = "KEY=VALUE", requires = "config", help_heading = "Input")]
    pub overrides: Vec<String>,
    /// What stands before the network's names in IN: `net.`, `state_dict_ema.`
    ///
    /// Not needed where one part of IN alone fits the network: `module.`, `_orig_mod.`, `model.`, the entry `state_dict` and
    /// the like are found, and said. Of a network and its averages the network is taken.
    #[arg(long, value_name = "PREFIX", help_heading = "Input")]
    pub prefix: Option<String>,
    /// Tensor to leave out; NAME* means all that begin so
    #[arg(long, value_name = "NAME", help_heading = "Input")]
    pub drop: Vec<String>,
    /// Replace OUT where it exists
    #[arg(short, long, help_heading = "Output")]
    pub force: bool,
    /// Compare and say what would be written, write nothing
    #[arg(long, help_heading = "Run")]
    pub dry_run: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

impl Args {
    /// What was said about IN.
    pub fn choice(&self) -> Choice {
        Choice { prefix: self.prefix.clone(), drop: self.drop.clone() }
    }
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }
}

const SHORT: &str = "`--help` says more and shows examples.";

fn examples() -> String {
    let systems = networks::import();
    let examples: Vec<&str> = systems.iter().map(|import| import.examples).filter(|text| !text.is_empty()).collect();
    format!("Examples:\n{}", examples.join("\n\n"))
}
