//! What can be typed.

use clap::Parser;
use common::cli::{Arguments, ConfigArgs, HELP_STYLES, RunFlags, Verbosity};
use common::system::System;

/// Make raw competition files with learnable content, for demos and tests
///
/// The files have the exact layout of the real ones, so `prepare-data` reads both alike. They are physically plausible
/// and the targets can be learned from the inputs, but they are no climate simulation. The same seed gives the same
/// bytes.
#[derive(Debug, Parser)]
#[command(name = "simulate-data", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = EXAMPLES)]
pub struct Args {
    /// System whose raw data to make
    #[arg(value_enum, value_name = "SYSTEM", help_heading = "Input")]
    pub system: System,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub run: RunFlags,
    /// Smoke run: 2 steps of each month, 2 events of each file (as `--limit 2`)
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
            ("icecube", common::config::schema::<icecube_data::simulate::SimulateConfig>()),
            ("leap", common::config::schema::<leap_data::simulate::SimulateConfig>()),
            ("polarmae", common::config::schema::<polarmae_data::simulate::SimulateConfig>()),
            ("tracknet", common::config::schema::<::tracknet_data::simulate::SimulateConfig>()),
        ]
    }
}

const SHORT: &str = "`--help` says more and shows examples.";

const EXAMPLES: &str = "\
Examples:
  What the demo uses:
    simulate-data leap configs/leap/demo/simulate.yaml --out sim

  The whole grid, netCDF-4 files:
    simulate-data leap configs/leap/demo/simulate.yaml --out sim \\
      columns=384 format=netcdf4

  In a pipe:
    simulate-data leap configs/leap/demo/simulate.yaml --out sim |
      prepare-data leap configs/leap/demo/prepare.yaml --from - --out data

  Tracks alone, without noise:
    simulate-data icecube configs/icecube/demo/simulate.yaml --out sim \\
      physics.tracks=1 physics.noise_pulses=0

Files of `leap`: raw/train/YYYY-MM/E3SM-MMF.{mli,mlo}.*.nc, raw/kaggle-data/*.csv, and
truth/solution.parquet with the targets of the test rows.
Files of `polarmae`: raw/{train,val}/generic_v2_*.h5, with the cluster of
low-energy scatters first in every event, as in PILArNet-M.
Files of `icecube`: those of the competition below raw, and
truth/events.parquet with what happened in every event.
With --limit N the first N time steps of each month are made, and at most
N x 384 rows of csv files; or the first N events of each file (`icecube`) or set
(`polarmae`).";
