//! `simulate-data icecube`.

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Help, NoFlags, Request, Task};
use common::stage::Stage;

use super::{Options, SimulateConfig, events, run};

/// A simulation about to run.
pub struct Simulate {
    config: SimulateConfig,
    options: Options,
}

impl Task for Simulate {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "simulate-data";
    const HELP: Help = Help {
        makes: "\
Files of `icecube`: those of the competition below raw, and
truth/events.parquet with what happened in every event.",
        limit: "the first N events of each file",
        examples: "  \
  Tracks alone, without noise:
    simulate-data icecube configs/icecube/demo/simulate.yaml --out sim \\
      physics.tracks=1 physics.noise_pulses=0",
        ..Help::NONE
    };
    type Flags = NoFlags;
    type Config = SimulateConfig;

    fn plan(request: &Request<NoFlags>, config: Resolved<SimulateConfig>) -> Result<Self> {
        let options = Options { threads: request.threads, limit: request.limit };
        Ok(Self { config: config.value, options })
    }

    fn describe(&self) -> Vec<String> {
        vec![format!("{} events", events(&self.config, &self.options))]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let report = run(&self.config, &self.options, stage)?;
        tracing::info!(
            "{} training events, {} test events, {} pulses",
            report.train_events,
            report.test_events,
            report.pulses
        );
        Ok(Ending::Finished)
    }
}
