//! What `simulate-data icecube` makes, as a config.

use common::config::{Config, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that the simulated files depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimulateConfig {
    /// Always `icecube`.
    pub system: String,
    /// Seed of everything.
    pub seed: u64,
    /// Files of `train/`.
    pub train: Vec<Batches>,
    /// Files of `test/`.
    pub test: Vec<Batches>,
    /// What happens in the ice.
    pub physics: Physics,
}

/// Files of equal size, numbered one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batches {
    /// Number of the first file: 655 for `batch_655.parquet`.
    pub first: u32,
    /// Number of files.
    pub files: u32,
    /// Events of a file; published: about 200,000.
    pub events: u32,
}

impl Batches {
    /// Numbers of the files.
    pub fn numbers(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.files
    }
}

/// What happens in the ice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Physics {
    /// Share of tracks; the others are cascades. 0 to 1.
    pub tracks: f64,
    /// Median number of pulses that an event's light leaves.
    pub median_pulses: f64,
    /// Spread of the logarithm of that number: 0 to 2.
    pub spread: f64,
    /// Mean number of noise pulses an event.
    pub noise_pulses: f64,
    /// Standard deviation of the time of a pulse in ns, on top of scattering.
    pub jitter_ns: f64,
}

impl Default for Physics {
    fn default() -> Self {
        // The mean of a real event is about 110 pulses, a few have more than 10,000.
        Self { tracks: 0.5, median_pulses: 60.0, spread: 0.9, noise_pulses: 25.0, jitter_ns: 3.0 }
    }
}

impl Default for SimulateConfig {
    fn default() -> Self {
        Self {
            system: "icecube".into(),
            seed: 2023,
            train: vec![Batches { first: 1, files: 4, events: 2000 }, Batches { first: 655, files: 5, events: 200 }],
            test: vec![Batches { first: 661, files: 1, events: 1000 }],
            physics: Physics::default(),
        }
    }
}

impl Config for SimulateConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "icecube", "system", || format!("is `{}`, expected `icecube`", self.system));
        for (part, batches) in [("train", &self.train), ("test", &self.test)] {
            let mut seen = std::collections::BTreeSet::new();
            for (i, entry) in batches.iter().enumerate() {
                let key = |name: &str| format!("{part}.{i}.{name}");
                problems.demand(entry.files > 0, &key("files"), || "is 0, expected at least 1".into());
                problems.demand((1..=1_000_000).contains(&entry.events), &key("events"), || {
                    format!("is {}, expected 1 to 1000000", entry.events)
                });
                problems.demand(
                    entry.first.checked_add(entry.files).is_some_and(|n| n <= 100_000),
                    &key("first"),
                    || format!("is {}, expected files up to number 99999", entry.first),
                );
                if let Some(twice) = entry.numbers().find(|n| !seen.insert(*n)) {
                    problems.push(key("first"), format!("gives `batch_{twice}.parquet` twice"));
                }
            }
        }
        problems.demand(!self.train.is_empty() || !self.test.is_empty(), "train", || {
            "is empty, and so is `test`: nothing would be simulated".into()
        });
        let physics = &self.physics;
        let mut range = |name: &str, value: f64, low: f64, high: f64| {
            problems.demand((low..=high).contains(&value), &format!("physics.{name}"), || {
                format!("is {value}, expected {low} to {high}")
            });
        };
        range("tracks", physics.tracks, 0.0, 1.0);
        range("median_pulses", physics.median_pulses, 3.0, 10_000.0);
        range("spread", physics.spread, 0.0, 2.0);
        range("noise_pulses", physics.noise_pulses, 0.0, 1000.0);
        range("jitter_ns", physics.jitter_ns, 0.0, 1000.0);
    }
}
