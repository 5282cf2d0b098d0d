//! What can be typed.

use std::path::PathBuf;

use clap::Parser;
use common::cli::{Arguments, ConfigArgs, FromFlag, HELP_STYLES, RunFlags, Verbosity};
use common::system::System;

/// Turn raw competition files into the arrays that networks read
///
/// Reads raw files once and writes what networks read as safetensors, to be mapped into memory. `leap`: normalised f32
/// arrays, one file a month, a validation set and a test set, for every preprocessing chain of the config. `icecube`: a
/// store of events, one file for each pulse file, and the event counts. `polarmae`: shards of selected events, and the
/// number of points of every raw event. Memory does not grow with the data. A run that
/// was killed goes on where it stopped when the same command is given again.
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
    /// Expected below it, as far as the config asks for them; `leap`: `train/YYYY-MM/E3SM-MMF.{mli,mlo}.*.nc` (or the
    /// same below `ClimSim_low-res`) and `kaggle-data/{test,train}.csv`; `icecube`: `sensor_geometry.csv`,
    /// `ice_transparency.txt`, `train/`, `train_meta/`, `test/`; `polarmae`: `train/*.h5`, `val/*.h5`.
    #[arg(long, value_name = "FOLDER", help_heading = "Input", conflicts_with = "from")]
    pub raw: Option<PathBuf>,
    #[command(flatten)]
    pub from: FromFlag,
    #[command(flatten)]
    pub run: RunFlags,
    /// Smoke run: the first 2 steps or files of each set (as `--limit 2`)
    #[arg(long, help_heading = "Run", conflicts_with = "limit")]
    pub fast_dev_run: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

impl Args {
    /// The first units of work that are asked for.
    pub fn limit(&self) -> Option<u64> {
        if self.fast_dev_run { Some(2) } else { self.run.limit }
    }
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }

    fn schemas() -> Vec<(&'static str, String)> {
        vec![
            ("icecube", common::config::schema::<icecube_data::prepare::PrepareConfig>()),
            ("leap", common::config::schema::<leap_data::prepare::PrepareConfig>()),
            ("polarmae", common::config::schema::<polarmae_data::prepare::PrepareConfig>()),
            ("tracknet", common::config::schema::<::tracknet_data::prepare::PrepareConfig>()),
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

  The event store of IceCube, 2 files of each part:
    prepare-data icecube configs/icecube/prepare.yaml --raw data \\
      --out store --limit 2

  PILArNet-M as published:
    prepare-data polarmae configs/polarmae/prepare.yaml --raw PILArNet-M \\
      --out store

With --limit N: `leap` takes the first N time steps of each month and of the
validation set, and N x 384 rows of csv files; `icecube` the first N files;
`polarmae` the first N events of each set.";
