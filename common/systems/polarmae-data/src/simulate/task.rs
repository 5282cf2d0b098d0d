//! `simulate-data polarmae`.

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Help, NoFlags, Request, Task};
use common::stage::Stage;

use super::{SimulateConfig, run};

/// A simulation about to run.
pub struct Simulate {
    config: SimulateConfig,
    limit: Option<u64>,
}

impl Task for Simulate {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "simulate-data";
    const HELP: Help = Help {
        makes: "\
Files of `polarmae`: raw/{train,val}/generic_v2_*.h5, with the cluster of
low-energy scatters first in every event, as in PILArNet-M.",
        limit: "the first N events of each set",
        ..Help::NONE
    };
    type Flags = NoFlags;
    type Config = SimulateConfig;

    fn plan(request: &Request<NoFlags>, config: Resolved<SimulateConfig>) -> Result<Self> {
        Ok(Self { config: config.value, limit: request.limit })
    }

    fn describe(&self) -> Vec<String> {
        let cut = |events: u64| self.limit.map_or(events, |limit| events.min(limit));
        let (train, valid) = (cut(self.config.train_events), cut(self.config.valid_events));
        vec![format!("{train} training and {valid} validation events")]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let done = run(&self.config, self.limit, stage)?;
        tracing::info!("{} files with {} events, {} voxels", done.files, done.events, done.voxels);
        stage.metric("events", done.events);
        stage.metric("voxels", done.voxels);
        Ok(Ending::Finished)
    }
}
