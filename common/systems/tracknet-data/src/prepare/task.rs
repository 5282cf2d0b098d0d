//! `prepare-data tracknet`.

use std::path::Path;

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Flags, Help, PrepareFlags, Request, Task, path_value};
use common::stage::Stage;

use super::{PrepareConfig, Sources, run};

/// A preparation about to run.
pub struct Prepare {
    config: PrepareConfig,
    sources: Sources,
    threads: usize,
}

impl Task for Prepare {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "prepare-data";
    const HELP: Help = Help {
        makes: "the tracks of every event, split into training and validating ones",
        raw: "`event*-{hits,particles,truth}.csv`, also gzipped or in a zip archive, or events of ACTS",
        limit: "the first N events",
        examples: "  \
  A folder of TrackML, with the blacklists of its detector:
    prepare-data tracknet configs/tracknet/published/prepare.yaml \\
      --raw train_1 --out tracks",
        ..Help::NONE
    };
    // Two events: one to train on, one to validate on.
    const SMOKE: &'static [&'static str] = &["validation_split=0.5"];
    type Flags = PrepareFlags;
    type Config = PrepareConfig;

    fn raw(data: &Path) -> Result<Vec<String>> {
        Ok(vec![format!("data_dirs=[{}]", path_value(data)?)])
    }

    fn overrides(request: &Request<PrepareFlags>) -> Result<Vec<String>> {
        let raw = match &request.flags.raw {
            // A zip archive is read as it is; any other file is named by the reader of events.
            Some(file) if file.is_file() => Some(file.clone()),
            _ => PrepareFlags::raw(request)?,
        };
        raw.map_or(Ok(Vec::new()), |raw| Self::raw(&raw))
    }

    fn plan(request: &Request<PrepareFlags>, config: Resolved<PrepareConfig>) -> Result<Self> {
        let sources = Sources::find(&config.value, request.limit)?;
        Ok(Self { config: config.value, sources, threads: request.threads })
    }

    fn describe(&self) -> Vec<String> {
        let (train, valid) = (self.sources.train.len(), self.sources.valid.len());
        vec![format!("{train} training and {valid} validating events")]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let report = run(&self.config, &self.sources, self.threads, stage)?;
        tracing::info!("{} training tracks, {} validating tracks", report.train, report.valid);
        Ok(Ending::Finished)
    }
}
