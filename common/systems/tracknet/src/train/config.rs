//! What `train-model` does for TrackNET, as a config.

use std::path::PathBuf;

use common::Result;
use common::config::hydra::Translated;
use common::config::{Config, Problems};
use neural::trainer::Training;
use neural::weights::Choice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::models::ModelConfig;
use crate::tracker::train::TrackerConfig;

/// Which network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// The published one: a sphere for the next hit.
    #[default]
    StepAhead,
    /// Residuals from a helix: `tracknet/tracker`.
    Tracker,
}

/// Everything that a trained network depends on, beside the tracks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Always `tracknet`.
    pub system: String,
    /// Name of the network.
    pub member: String,
    /// Seed of initial weights and order of tracks. Published: 42.
    pub seed: u64,
    /// Which network.
    #[serde(default)]
    pub network: NetworkKind,
    /// What the tracker's network has beside the published one; without meaning for that.
    #[serde(default)]
    pub tracker: TrackerConfig,
    /// Sizes of the network.
    #[serde(default)]
    pub model: ModelConfig,
    /// Weight of the distance in the loss, 0 to 1; that of the size is 1 - alpha. Published: 0.0008.
    pub loss_alpha: f64,
    /// Map of `hit-density` for the density metric. `null`, or a file that is not there: no such metric.
    #[serde(default)]
    pub hit_density_stats_path: Option<PathBuf>,
    /// Most training batches of an epoch. `null`: all. Published: 1000.
    #[serde(default)]
    pub limit_train_batches: Option<u64>,
    /// Tracks of a validation batch, >= 1. The loss is a mean over batches, so it depends on them.
    #[serde(default = "val_batch_size")]
    pub val_batch_size: u64,
    /// Weights to begin with: a file, or the folder of a training. `null`: drawn ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<PathBuf>,
    /// Which part of their file, where it holds several networks or tensors that are not wanted.
    #[serde(default, skip_serializing_if = "Choice::is_empty")]
    pub pretrained_part: Choice,
    /// How it is trained.
    pub training: Training,
}

fn val_batch_size() -> u64 {
    32
}

impl Config for TrainConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "tracknet", "system", || format!("is `{}`, expected `tracknet`", self.system));
        problems.demand(!self.member.is_empty(), "member", || "is empty, expected a name".into());
        self.model.validate("model", problems);
        problems.demand(self.model.input_features == 3, "model.input_features", || {
            format!("is {}, but prepared tracks have 3 values a hit", self.model.input_features)
        });
        problems.demand(self.model.output_features == 3, "model.output_features", || {
            format!("is {}, but prepared tracks have 3 coordinates", self.model.output_features)
        });
        problems.demand((0.0..=1.0).contains(&self.loss_alpha), "loss_alpha", || {
            format!("is {}, expected 0 to 1", self.loss_alpha)
        });
        for (key, value) in [("gaps", self.tracker.gaps), ("noise", self.tracker.noise)] {
            problems.demand((0.0..1.0).contains(&value), &format!("tracker.{key}"), || {
                format!("is {value}, expected 0 <= {key} < 1")
            });
        }
        self.tracker.conditions.validate("tracker.conditions", problems);
        problems.demand(self.val_batch_size > 0, "val_batch_size", || "is 0, expected at least 1".into());
        problems
            .demand(self.limit_train_batches != Some(0), "limit_train_batches", || "is 0, expected at least 1".into());
        self.training.validate("training", problems);
    }

    fn from_hydra(tree: &Value) -> Option<Result<Translated>> {
        Some(tracknet_data::published::train(tree))
    }
}
