//! What `predict` does for PoLAr-MAE, as a config.

use common::config::{Config, Problems};
use neural::precision::Precision;
use neural::stages::Set;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::train::{ModelConfig, TrainConfig};
use crate::transforms::Transform;

/// Everything that a prediction depends on, beside weights and events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PredictConfig {
    /// Always `polarmae`.
    pub system: String,
    /// Seed that the manifest names. `null`: that of the training. Nothing is drawn.
    pub seed: Option<u64>,
    /// Which prepared events.
    pub set: Set,
    /// Events that are predicted together, >= 1. With the published norm the events of a batch change one another's
    /// classes: 1 keeps them apart.
    pub batch_size: u64,
    /// Number format of the forward pass.
    pub precision: Precision,
    /// Number of the event that is drawn, from 0.
    pub picture: u64,
    /// Which network it is, where the weights do not say it: a published checkpoint.
    pub network: Option<NetworkConfig>,
}

/// A network, and what happens to its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Its name.
    pub member: String,
    /// Its kind and sizes.
    pub model: ModelConfig,
    /// What happens to events.
    pub transforms: Vec<Transform>,
}

impl NetworkConfig {
    /// That of a config of `train-model`.
    pub fn of(config: &TrainConfig) -> Self {
        let transforms = config.data.val_transforms.clone();
        Self { member: config.member.clone(), model: config.model.clone(), transforms }
    }
}

impl Default for PredictConfig {
    fn default() -> Self {
        Self {
            system: crate::NAME.into(),
            seed: None,
            set: Set::Valid,
            batch_size: 1,
            precision: Precision::default(),
            picture: 0,
            network: None,
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
