//! `prepare-data tracknet`.

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Help, PrepareFlags, Request, Task};
use common::stage::{Manifest, Stage};

use super::{PrepareConfig, Sources, run};
use crate::simulate::RAW;

/// A preparation about to run.
pub struct Prepare {
    config: PrepareConfig,
    sources: Sources,
    upstream: Option<Manifest>,
}

impl Task for Prepare {
    const SYSTEM: &'static str = crate::system::NAME;
    const STAGE: &'static str = "prepare-data";
    const HELP: Help = Help {
        makes: "the tracks of every event, split into training and validating ones",
        raw: "`event*-{hits,particles,truth}.csv`, also gzipped",
        limit: "the first N events",
        examples: "  \
  A folder of TrackML, with the blacklists of its detector:
    prepare-data tracknet configs/tracknet/published/prepare.yaml \\
      --raw train_1 --out tracks",
    };
    // Two events: one to train on, one to validate on.
    const SMOKE: &'static [&'static str] = &["validation_split=0.5"];
    type Flags = PrepareFlags;
    type Config = PrepareConfig;

    fn overrides(request: &Request<PrepareFlags>) -> Result<Vec<String>> {
        let raw = request.flags.raw_folder(request.before()?, RAW)?;
        Ok(raw.map(|raw| format!("data_dirs=[{:?}]", raw.to_string_lossy())).into_iter().collect())
    }

    fn plan(request: &Request<PrepareFlags>, config: Resolved<PrepareConfig>) -> Result<Self> {
        let sources = Sources::find(&config.value, request.limit)?;
        Ok(Self { config: config.value, sources, upstream: request.before()?.cloned() })
    }

    fn describe(&self) -> Vec<String> {
        let (train, valid) = (self.sources.train.len(), self.sources.valid.len());
        vec![format!("{train} training and {valid} validating events")]
    }

    fn seed(&self) -> u64 {
        self.config.seed
    }

    fn upstream(&self) -> Vec<&Manifest> {
        self.upstream.iter().collect()
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let report = run(&self.config, &self.sources, stage)?;
        tracing::info!("{} training tracks, {} validating tracks", report.train, report.valid);
        Ok(Ending::Finished)
    }
}
