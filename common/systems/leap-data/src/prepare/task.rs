//! `prepare-data leap`.

use std::path::Path;

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Help, PrepareFlags, Request, Task, path_override};
use common::stage::Stage;

use super::{Options, PrepareConfig, Sources, run};

/// A preparation about to run.
pub struct Prepare {
    config: PrepareConfig,
    options: Options,
    sources: Sources,
}

impl Task for Prepare {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "prepare-data";
    const HELP: Help = Help {
        makes: "normalised f32 arrays, one file a month, a validation set and a test set, for every preprocessing chain of \
                the config",
        raw: "`train/YYYY-MM/E3SM-MMF.{mli,mlo}.*.nc` (or the same below `ClimSim_low-res`) and \
              `kaggle-data/{test,train}.csv`",
        limit: "the first N time steps of each month and of the validation set, and N x 384 rows of csv files",
        examples: "  \
  The published arrays of both chains:
    prepare-data leap configs/leap/adam/prepare.yaml --raw raw_data --out data

  Two months, every 6th step, without the test set:
    prepare-data leap configs/leap/adam/prepare.yaml --raw raw_data \\
      --out small 'train.netcdf.months=[0001-02..0001-03]' \\
      train.netcdf.stride=6 test=null

  In a pipe, from simulated raw data:
    simulate-data leap configs/leap/demo/simulate.yaml --out sim |
      prepare-data leap configs/leap/demo/prepare.yaml --from - --out data",
        ..Help::NONE
    };
    type Flags = PrepareFlags;
    type Config = PrepareConfig;

    fn raw(data: &Path) -> Result<Vec<String>> {
        let low = data.join("ClimSim_low-res");
        let climsim = if low.is_dir() { &low } else { data };
        Ok(vec![path_override("raw.climsim", climsim)?, path_override("raw.kaggle", &data.join("kaggle-data"))?])
    }

    fn plan(request: &Request<PrepareFlags>, config: Resolved<PrepareConfig>) -> Result<Self> {
        let options = Options { threads: request.threads, limit: request.limit, fresh: request.run.force };
        let sources = Sources::find(&config.value, &options)?;
        Ok(Self { config: config.value, options, sources })
    }

    fn describe(&self) -> Vec<String> {
        let chains: Vec<&str> = self.config.chains.iter().map(|c| c.name()).collect();
        let mut lines = vec![format!("chains {}", chains.join(", "))];
        lines.extend(self.sources.describe());
        lines
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let report = run(&self.config, &self.options, &self.sources, stage)?;
        let rows: Vec<String> = report.rows.iter().map(|(kind, rows)| format!("{rows} {kind}")).collect();
        tracing::info!(
            "rows: {}; {} sets kept from an earlier run, {} raw files left out",
            rows.join(", "),
            report.kept,
            report.skipped
        );
        Ok(Ending::Finished)
    }
}
