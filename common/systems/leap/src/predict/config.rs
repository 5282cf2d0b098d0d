//! What `predict` does for LEAP, as a config.

use common::config::{Config, Problems};
use neural::precision::Precision;
use neural::stages::ZeroList;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that a prediction depends on, beside networks and rows.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PredictConfig {
    /// Always `leap`.
    pub system: String,
    /// Seed that the manifest names. `null`: that of the networks. Nothing is drawn.
    pub seed: Option<u64>,
    /// Rows of a batch, >= 1.
    pub batch_size: u64,
    /// Number format of the forward pass.
    pub precision: Precision,
    /// Whether columns that scored worse than zero become 0. ADAM's published files do not apply the list.
    pub zero_list: ZeroList,
    /// Also write the submission as csv.
    pub csv: bool,
}

impl Default for PredictConfig {
    fn default() -> Self {
        Self {
            system: crate::NAME.into(),
            seed: None,
            batch_size: 4096,
            precision: Precision::default(),
            zero_list: ZeroList::default(),
            csv: false,
        }
    }
}

impl Config for PredictConfig {
    fn validate(&self, problems: &mut Problems) {
        let ours = self.system == crate::NAME;
        problems.demand(ours, "system", || format!("is `{}`, expected `{}`", self.system, crate::NAME));
        problems.demand(self.batch_size > 0, "batch_size", || "is 0, expected at least 1".into());
    }
}
