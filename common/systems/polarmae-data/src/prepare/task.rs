//! `prepare-data polarmae`.

use std::path::{Path, PathBuf};

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Help, PrepareFlags, Request, Task};
use common::stage::Stage;

use super::{PrepareConfig, find, run};

/// A preparation about to run.
pub struct Prepare {
    config: PrepareConfig,
    limit: Option<u64>,
    found: Vec<(&'static str, Vec<PathBuf>)>,
}

impl Task for Prepare {
    const SYSTEM: &'static str = crate::system::NAME;
    const STAGE: &'static str = "prepare-data";
    const HELP: Help = Help {
        makes: "shards of selected events, and the number of points of every raw event",
        raw: "`train/*.h5`, `val/*.h5`",
        limit: "the first N events of each set",
        examples: "  \
  PILArNet-M as published:
    prepare-data polarmae configs/polarmae/prepare.yaml --raw PILArNet-M \\
      --out store",
        ..Help::NONE
    };
    type Flags = PrepareFlags;
    type Config = PrepareConfig;

    fn raw(data: &Path) -> Vec<String> {
        vec![format!("raw={}", data.display())]
    }

    fn plan(request: &Request<PrepareFlags>, config: Resolved<PrepareConfig>) -> Result<Self> {
        let found = find(&config.value)?;
        Ok(Self { config: config.value, limit: request.limit, found })
    }

    fn describe(&self) -> Vec<String> {
        let line = |(set, files): &(&str, Vec<PathBuf>)| {
            let first = files.first().map(|file| file.display().to_string()).unwrap_or_default();
            format!("{set}: {} files, the first is `{first}`", files.len())
        };
        self.found.iter().map(line).collect()
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        for (set, counts) in run(&self.config, self.limit, stage)? {
            tracing::info!(
                "{set}: {} of {} events kept, {} points; {} left out because too little remained; {} shards kept from an \
                 earlier run",
                counts.kept,
                counts.events,
                counts.points,
                counts.too_short,
                counts.shards_kept
            );
            stage.metric(&format!("{set}/events"), counts.kept);
            stage.metric(&format!("{set}/points"), counts.points);
            stage.metric(&format!("{set}/too_short"), counts.too_short);
        }
        Ok(Ending::Finished)
    }
}
