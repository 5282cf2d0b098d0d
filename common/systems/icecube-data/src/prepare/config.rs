//! What `prepare-data icecube` makes, as a config.

use std::path::PathBuf;

use common::config::{Config, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::detector::DetectorConfig;
use crate::graphnet::GraphnetConfig;

/// Everything that the prepared files depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrepareConfig {
    /// Always `icecube`.
    pub system: String,
    /// Seed that later stages inherit; preparation draws nothing.
    pub seed: u64,
    /// Where the raw data lie.
    pub raw: RawConfig,
    /// Which layout the raw files have.
    pub layout: Layout,
    /// Which detector they are of.
    pub detector: DetectorConfig,
    /// Training files; `null`: none.
    pub train: Option<Files>,
    /// Test files; `null`: none.
    pub test: Option<Files>,
}

/// Where the raw data lie.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// The competition's data folder (upstream: `PATH`); `--raw` and `--from` win over it.
    pub folder: Option<PathBuf>,
}

/// Layouts of raw files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(clippy::large_enum_variant, reason = "one value, read once")]
pub enum Layout {
    /// The competition's: `train/`, `train_meta.parquet`, `test/`.
    #[default]
    Competition,
    /// Tables of GraphNeT's converters: pulses and truth by event number. Files named under `test` are left out of
    /// `train: all`.
    Graphnet(GraphnetConfig),
}

/// Which files of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Files {
    /// All that are there.
    #[default]
    All,
    /// These, by name: `[batch_1.parquet, batch_655.parquet]`.
    Named(Vec<String>),
}

impl Default for PrepareConfig {
    fn default() -> Self {
        Self {
            system: "icecube".into(),
            seed: 2023,
            raw: RawConfig::default(),
            layout: Layout::Competition,
            detector: DetectorConfig::default(),
            train: Some(Files::All),
            test: Some(Files::All),
        }
    }
}

impl Config for PrepareConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "icecube", "system", || format!("is `{}`, expected `icecube`", self.system));
        problems.demand(self.train.is_some() || self.test.is_some(), "train", || {
            "is null, and so is `test`: nothing would be prepared".into()
        });
        self.detector.validate("detector", problems);
        if matches!(self.layout, Layout::Graphnet(_)) {
            problems.demand(self.test != Some(Files::All), "test", || {
                "is `all`, but this layout has no folder of test files: name them (`{named: [..]}`), or set null".into()
            });
        }
        for (key, files) in [("train", &self.train), ("test", &self.test)] {
            if let Some(Files::Named(names)) = files {
                let key = format!("{key}.named");
                problems.demand(!names.is_empty(), &key, || "is empty, expected at least one file".into());
                if let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
                    problems.push(key, format!("names `{}` twice", twice.1));
                }
            }
        }
    }
}
