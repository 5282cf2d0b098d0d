//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use common::cli::{Arguments, ConfigArgs, FromFlag, HELP_STYLES, RunFlags, Verbosity};
use leap::prepare::PrepareConfig;

/// Turn raw competition files into the arrays that networks read
///
/// Reads each raw file once and writes normalised f32 arrays (safetensors), one file a month, a validation set and a
/// test set, for every preprocessing chain of the config. Memory does not grow with the data. A run that was killed
/// goes on where it stopped when the same command is given again.
#[derive(Debug, Parser)]
#[command(name = "prepare-data", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = EXAMPLES)]
pub struct Args {
    /// System whose data it is
    #[arg(value_enum, value_name = "SYSTEM", help_heading = "Input")]
    pub system: System,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Folder of raw data, wins over the config's `raw`
    ///
    /// Expected below it: `train/YYYY-MM/E3SM-MMF.{mli,mlo}.*.nc` (or the same below `ClimSim_low-res`) and
    /// `kaggle-data/{test,train}.csv`, as far as the config asks for them.
    #[arg(long, value_name = "FOLDER", help_heading = "Input", conflicts_with = "from")]
    pub raw: Option<PathBuf>,
    #[command(flatten)]
    pub from: FromFlag,
    #[command(flatten)]
    pub run: RunFlags,
    /// Smoke run: the first 2 steps of each set (as `--limit 2`)
    #[arg(long, help_heading = "Run", conflicts_with = "limit")]
    pub fast_dev_run: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Systems whose raw data can be prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// LEAP / ClimSim: mli/mlo netCDF files, Kaggle csv files
    Leap,
    /// TrackNET: TrackML csv events
    Tracknet,
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }

    fn schemas() -> Vec<(&'static str, String)> {
        vec![
            ("leap", common::config::schema::<PrepareConfig>()),
            ("tracknet", common::config::schema::<::tracknet::prepare::PrepareConfig>()),
        ]
    }
}

const SHORT: &str = "`--help` says more and shows examples.";

const EXAMPLES: &str = "\
Examples:
  The published arrays of both chains:
    prepare-data leap configs/leap/adam/prepare.yaml --raw raw_data --out data

  Two months, every 6th step, without the test set:
    prepare-data leap configs/leap/adam/prepare.yaml --raw raw_data \\
      --out small 'train.netcdf.months=[0001-02..0001-03]' \\
      train.netcdf.stride=6 test=null

  In a pipe, from simulated raw data:
    simulate-data leap configs/leap/demo/simulate.yaml --out sim |
      prepare-data leap configs/leap/demo/prepare.yaml --from - --out data

With --limit N the first N time steps of each month and of the validation
set are taken, and N x 384 rows of csv files.";
