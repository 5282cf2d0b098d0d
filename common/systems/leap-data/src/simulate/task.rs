//! `simulate-data leap`.

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Help, NoFlags, Request, Task};
use common::stage::Stage;

use super::{Options, SimulateConfig, run, steps};

/// A simulation about to run.
pub struct Simulate {
    config: SimulateConfig,
    options: Options,
    steps: usize,
}

impl Task for Simulate {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "simulate-data";
    const HELP: Help = Help {
        makes: "\
Files of `leap`: raw/train/YYYY-MM/E3SM-MMF.{mli,mlo}.*.nc, raw/kaggle-data/*.csv,
and truth/solution.parquet with the targets of the test rows.",
        limit: "the first N time steps of each month, and at most N x 384 rows of csv files",
        examples: "  \
  What the demo uses:
    simulate-data leap configs/leap/demo/simulate.yaml --out sim

  The whole grid, netCDF-4 files:
    simulate-data leap configs/leap/demo/simulate.yaml --out sim \\
      columns=384 format=netcdf4

  In a pipe:
    simulate-data leap configs/leap/demo/simulate.yaml --out sim |
      prepare-data leap configs/leap/demo/prepare.yaml --from - --out data",
        ..Help::NONE
    };
    type Flags = NoFlags;
    type Config = SimulateConfig;

    fn plan(request: &Request<NoFlags>, config: Resolved<SimulateConfig>) -> Result<Self> {
        let options = Options { threads: request.threads, limit: request.limit };
        let steps = steps(&config.value, &options)?.len();
        Ok(Self { config: config.value, options, steps })
    }

    fn describe(&self) -> Vec<String> {
        vec![format!("{} steps, {} samples", self.steps, self.steps * self.config.columns)]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let report = run(&self.config, &self.options, stage)?;
        tracing::info!("{} pairs of files with {} samples, {} test rows", report.pairs, report.rows, report.test_rows);
        Ok(Ending::Finished)
    }
}
