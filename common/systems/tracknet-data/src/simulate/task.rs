//! `simulate-data tracknet`.

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
Files of `tracknet`: raw/event*-{hits,particles,truth}.csv, as in TrackML.",
        limit: "the first N events",
        ..Help::NONE
    };
    type Flags = NoFlags;
    type Config = SimulateConfig;

    fn plan(request: &Request<NoFlags>, config: Resolved<SimulateConfig>) -> Result<Self> {
        Ok(Self { config: config.value, limit: request.limit })
    }

    fn describe(&self) -> Vec<String> {
        let events = u64::from(self.config.events);
        let events = self.limit.map_or(events, |n| n.min(events));
        vec![format!("{events} events of {} particles", self.config.particles)]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let report = run(&self.config, self.limit, stage)?;
        tracing::info!("{} events with {} hits", report.events, report.hits);
        Ok(Ending::Finished)
    }
}
