//! `prepare-data polarmae`.

use std::path::Path;

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Help, PrepareFlags, Request, Task, path_override};
use common::stage::Stage;

use super::{Counts, PrepareConfig, find, run};
use crate::raw::find::Found;

/// A preparation about to run.
pub struct Prepare {
    config: PrepareConfig,
    limit: Option<u64>,
    threads: usize,
    found: Vec<(&'static str, Vec<Found>)>,
}

impl Task for Prepare {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "prepare-data";
    const HELP: Help = Help {
        makes: "shards of selected events, and the number of points of every raw event",
        raw: "`train/*.h5`, `val/*.h5`, or other point clouds that `sets` and `layout` describe",
        limit: "the first N events of each set",
        examples: "  \
  PILArNet-M as published:
    prepare-data polarmae configs/polarmae/prepare.yaml --raw PILArNet-M \\
      --out store",
        ..Help::NONE
    };
    type Flags = PrepareFlags;
    type Config = PrepareConfig;

    fn raw(data: &Path) -> Result<Vec<String>> {
        Ok(vec![path_override("raw", data)?])
    }

    fn plan(request: &Request<PrepareFlags>, config: Resolved<PrepareConfig>) -> Result<Self> {
        let found = find(&config.value)?;
        Ok(Self { config: config.value, limit: request.limit, threads: request.threads, found })
    }

    fn describe(&self) -> Vec<String> {
        let line = |(set, files): &(&str, Vec<Found>)| {
            let first = files.first().map(|file| file.path.display().to_string()).unwrap_or_default();
            format!("{set}: {} files, the first is `{first}`", files.len())
        };
        self.found.iter().map(line).collect()
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        for (set, counts) in run(&self.config, self.limit, self.threads, stage)? {
            tell(set, &counts, self.config.selection.min_points);
            stage.metric(&format!("{set}/events"), counts.kept);
            stage.metric(&format!("{set}/points"), counts.points);
            stage.metric(&format!("{set}/too_short"), counts.too_short);
            stage.metric(&format!("{set}/below_minimum"), counts.below_minimum);
            stage.metric(&format!("{set}/left_out/scatters"), counts.tally.scatters);
            stage.metric(&format!("{set}/left_out/weak"), counts.tally.weak);
            for (reason, count) in counts.tally.unusable() {
                stage.metric(&format!("{set}/left_out/{reason}"), count);
            }
        }
        Ok(Ending::Finished)
    }
}

/// What became of a set, and what its user would want to look at.
fn tell(set: &str, counts: &Counts, minimum: u64) {
    let tally = &counts.tally;
    tracing::info!(
        "{set}: {} of {} events kept, {} points; {} have fewer than {minimum} voxels, {} left out because too little remained; \
         {} shards kept from an earlier run",
        counts.kept,
        counts.events,
        counts.points,
        counts.below_minimum,
        counts.too_short,
        counts.shards_kept
    );
    tracing::info!(
        "{set}: {} points of low-energy scatters and {} below the threshold left out",
        tally.scatters,
        tally.weak
    );
    if let Some(file) = &counts.led_by_others {
        tracing::warn!(
            "{set}: the first cluster of {} events is not of low-energy scatters and was left out with its {} points, as the \
             original does; `{file}` is the first such file; `selection.scatters=labelled` leaves out what is labelled so, \
             `selection.remove_low_energy_scatters=false` nothing",
            tally.led_by_others,
            tally.not_scatters
        );
    }
    for (reason, count) in tally.unusable() {
        let what = match reason {
            "unknown_label" => "points with a label that is not known are kept without one",
            "non_finite" => "points with a place or an energy that is no number left out",
            "negative" => "points with a negative energy left out",
            _ => "points outside of the detector left out",
        };
        tracing::warn!("{set}: {count} {what}");
    }
    if counts.unlabelled > 0 {
        tracing::info!("{set}: {} files have no labels: enough for pretraining and embeddings", counts.unlabelled);
    }
}
