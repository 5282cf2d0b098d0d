//! What `predict` does for LEAP, as a config.

use common::config::{Config, Problems};
use neural::precision::Precision;
use neural::stages::ZeroList;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraints::Constraints;

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
    /// Corrections of what no column of air can do; how often each was made stands among the metrics. Published: none.
    #[serde(skip_serializing_if = "Constraints::is_none")]
    pub constraints: Constraints,
    /// Also write `NAME_expected_errors.parquet`, in the units of the training's loss on normalised targets: for networks
    /// with a second output (`model.*.confidence`).
    #[serde(skip_serializing_if = "is_false")]
    pub expected_errors: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(x: &bool) -> bool {
    !*x
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
            constraints: Constraints::default(),
            expected_errors: false,
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
