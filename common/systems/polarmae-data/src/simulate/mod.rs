//! Raw data with the layout of PILArNet-M and content that can be learned: tracks, showers, Michel electrons, delta
//! rays and low-energy scatters on the 768^3 grid. Plausible, but no detector simulation.

mod particles;
mod task;

use common::Result;
use common::cli::{progress, signals};
use common::config::{Config, Problems};
use common::durable::Written;
use common::seed::rng_for;
use common::stage::Stage;
use common::store::hdf5::ListWriter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use particles::{Cluster, Rates, event};

use crate::raw::POINT_WIDTH;

pub use task::Simulate;

/// How much is simulated.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateConfig {
    /// Always `polarmae`.
    pub system: String,
    /// Seed of everything; an event depends on it, its set and its number only.
    pub seed: u64,
    /// Training events.
    pub train_events: u64,
    /// Validation events.
    pub valid_events: u64,
    /// Events of a file, >= 1.
    #[serde(default = "per_file")]
    pub events_per_file: u64,
    /// Columns of a row of `cluster`: 5 as in the first release, 6 as in later ones.
    #[serde(default = "five")]
    pub cluster_columns: usize,
    /// What an event holds.
    #[serde(default)]
    pub rates: Rates,
}

fn per_file() -> u64 {
    500
}

fn five() -> usize {
    5
}

impl Config for SimulateConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "polarmae", "system", || format!("is `{}`, expected `polarmae`", self.system));
        for (key, value) in [
            ("train_events", self.train_events),
            ("valid_events", self.valid_events),
            ("events_per_file", self.events_per_file),
        ] {
            problems.demand(value >= 1, key, || "is 0, expected at least 1".into());
        }
        problems.demand([5, 6].contains(&self.cluster_columns), "cluster_columns", || {
            format!("is {}, expected 5 or 6", self.cluster_columns)
        });
        self.rates.validate("rates", problems);
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simulated {
    /// Files.
    pub files: u64,
    /// Events.
    pub events: u64,
    /// Voxels.
    pub voxels: u64,
}

/// Folder of the data below the stage's.
pub use common::driver::RAW;

/// Simulates both sets; `limit` events of each at most.
pub fn run(config: &SimulateConfig, limit: Option<u64>, stage: &mut Stage) -> Result<Simulated> {
    let raw = stage.folder().join(RAW);
    // Files of an unfinished run with another config would look like data.
    if raw.exists() {
        std::fs::remove_dir_all(&raw).map_err(|e| common::Error::io("removing", &raw, e))?;
    }
    let mut done = Simulated::default();
    let sets = [("train", config.train_events), ("val", config.valid_events)];
    let cut = |events: u64| limit.map_or(events, |limit| events.min(limit));
    let bar = progress::Bar::new("simulate", sets.iter().map(|(_, n)| cut(*n)).sum());
    for (set, events) in sets {
        let events = cut(events);
        for (number, start) in (0..events).step_by(config.events_per_file as usize).enumerate() {
            let end = (start + config.events_per_file).min(events);
            // As published: the number of events stands in the name.
            let name = format!("generic_v2_{}_v{}.h5", end - start, number + 1);
            let path = stage.folder().join(RAW).join(set).join(&name);
            let written = file(config, set, start..end, &path, &mut done, &bar)?;
            stage.output(&format!("{set}/{name}"), &written);
        }
    }
    bar.finish();
    Ok(done)
}

fn file(
    config: &SimulateConfig,
    set: &str,
    events: std::ops::Range<u64>,
    path: &std::path::Path,
    done: &mut Simulated,
    bar: &progress::Bar,
) -> Result<Written> {
    let six = config.cluster_columns == 6;
    let floats: &[&str] = if six { &["point", "cluster_extra"] } else { &["point"] };
    let mut writer = ListWriter::create(path, floats, &["cluster"])?;
    for number in events {
        signals::check("nothing is kept; the same command simulates anew")?;
        let clusters = event(&config.rates, &mut rng_for(config.seed, &format!("event of {set}"), number));
        let (mut points, mut rows, mut extra) = (vec![], vec![], vec![]);
        for (fragment, cluster) in clusters.iter().enumerate() {
            for (place, energy) in cluster.voxels.iter().zip(&cluster.energies) {
                let [x, y, z] = place.map(|c| c as f32);
                let row: [f32; POINT_WIDTH] = [x, y, z, *energy, *energy, 0.0, energy * 25_000.0, 0.3];
                points.extend(row);
            }
            rows.extend([
                cluster.voxels.len() as i32,
                fragment as i32,
                cluster.group,
                cluster.interaction,
                cluster.semantic,
            ]);
            if six {
                rows.push(cluster.particle);
                let momentum: f32 = cluster.energies.iter().sum();
                let vertex = cluster.voxels.first().copied().unwrap_or_default().map(|c| c as f32);
                extra.extend([0.0, momentum, vertex[0], vertex[1], vertex[2]]);
            }
        }
        writer.append_floats("point", &points)?;
        writer.append_integers("cluster", &rows)?;
        if six {
            writer.append_floats("cluster_extra", &extra)?;
        }
        done.events += 1;
        done.voxels += (points.len() / POINT_WIDTH) as u64;
        bar.tick(1);
    }
    done.files += 1;
    writer.finish()
}
