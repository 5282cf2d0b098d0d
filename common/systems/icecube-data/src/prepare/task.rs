//! `prepare-data icecube`.

use std::path::Path;

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Help, PrepareFlags, Request, Task, path_override};
use common::stage::Stage;

use super::{Options, PrepareConfig, Sources, run};

/// A preparation about to run.
pub struct Prepare {
    options: Options,
    sources: Sources,
}

impl Task for Prepare {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "prepare-data";
    const HELP: Help = Help {
        makes: "a store of events, one file for each pulse file, and the event counts",
        raw: "`sensor_geometry.csv`, `ice_transparency.txt`, `train/`, `train_meta/`, `test/`",
        limit: "the first N files of each part",
        examples: "  \
  The event store of IceCube, 2 files of each part:
    prepare-data icecube configs/icecube/prepare.yaml --raw data \\
      --out store --limit 2",
        ..Help::NONE
    };
    type Flags = PrepareFlags;
    type Config = PrepareConfig;

    fn raw(data: &Path) -> Result<Vec<String>> {
        Ok(vec![path_override("raw.folder", data)?])
    }

    fn plan(request: &Request<PrepareFlags>, config: Resolved<PrepareConfig>) -> Result<Self> {
        let options = Options { threads: request.threads, limit: request.limit, fresh: request.run.force };
        let sources = Sources::find(&config.value, &options)?;
        Ok(Self { options, sources })
    }

    fn describe(&self) -> Vec<String> {
        self.sources.describe()
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let report = run(&self.options, &self.sources, stage)?;
        tracing::info!(
            "{} training events, {} test events, {} pulses; {} files kept from an earlier run, {} events without a pulse",
            report.train_events,
            report.test_events,
            report.pulses,
            report.kept,
            report.empty
        );
        Ok(Ending::Finished)
    }
}
