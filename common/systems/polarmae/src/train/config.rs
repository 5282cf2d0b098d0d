//! What `train-model` does for this system, as a config.

use std::path::PathBuf;

use common::config::{Config, Problems};
use neural::trainer::Training;
use neural::weights::Choice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dataset::Target;
use crate::losses::SegLoss;
use crate::models::mae::MaeConfig;
use crate::models::segmentation::{SegmentationConfig, published_weights};
use crate::preparation::Expected;
use crate::probe::ProbeConfig;
use crate::transforms::Transform;

/// Everything that a trained network depends on, beside the events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Always `polarmae`.
    pub system: String,
    /// Name of the network: `polarmae`, `mae_peft`.
    pub member: String,
    /// Seed of initial weights, order of events, rotations, masks and dropout. Published: 0.
    pub seed: u64,
    /// The network, and with it what is trained.
    pub model: ModelConfig,
    /// Which events, and what happens to them.
    #[serde(default)]
    pub data: DataConfig,
    /// How it is trained.
    pub training: Training,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelConfig {
    /// Pretraining without labels: Point-MAE or `PoLAr-MAE`.
    Mae(Pretraining),
    /// A class for every point.
    Segmentation(SegmentationTask),
}

/// A pretraining.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pretraining {
    /// The network.
    pub network: MaeConfig,
    /// The probe that runs at every evaluation. `null`: none.
    #[serde(default)]
    pub svm: Option<ProbeConfig>,
    /// Weights of a pretraining to begin with: a file, or the folder of a training. `null`: drawn ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<PathBuf>,
    /// Which part of their file, where it holds several networks or tensors that are not wanted.
    #[serde(default, skip_serializing_if = "Choice::is_empty")]
    pub pretrained_part: Choice,
}

/// A segmentation, from a pretrained encoder or from nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentationTask {
    /// The network.
    pub network: SegmentationConfig,
    /// Pretrained weights to begin with: a published `.ckpt`, safetensors, or the folder of a training. `null`: those of the pretraining among the
    /// stages that `--from` leads to; where there is none, drawn ones.
    #[serde(default)]
    pub pretrained: Option<PathBuf>,
    /// Which part of their file, where it holds several networks or tensors that are not wanted.
    #[serde(default, skip_serializing_if = "Choice::is_empty")]
    pub pretrained_part: Choice,
    /// Whether the encoder learns.
    #[serde(default)]
    pub encoder: EncoderMode,
    /// What is minimised.
    #[serde(default)]
    pub loss: SegLoss,
    /// Weights of the classes in the loss. `null`: the published ones, all points over those of the class.
    #[serde(default)]
    pub class_weights: Option<Vec<f32>>,
}

impl SegmentationTask {
    /// The weights of the classes.
    pub fn weights(&self) -> Vec<f32> {
        self.class_weights.clone().unwrap_or_else(|| published_weights(self.network.num_classes))
    }
}

/// What a pretrained encoder does in a fine-tuning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncoderMode {
    /// Full fine-tuning: everything learns.
    #[default]
    Learns,
    /// Linear probing: no gradients, and the encoder behaves as in evaluation.
    Frozen,
    /// Linear probing as published: no gradients, but dropout, skipped blocks and running statistics as in training.
    FrozenAsPublished,
}

/// Which events are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Training events at most, the first ones. `null`: all. Published fine-tunings: 10000.
    pub max_events: Option<u64>,
    /// Validation events at most, the first ones. `null`: all.
    pub max_valid_events: Option<u64>,
    /// What points are classified as.
    pub target: Target,
    /// Events that are evaluated together. With the published norm results depend on it: 1 judges events alone, as
    /// `predict` does; published logs used 32.
    pub val_batch_size: u64,
    /// Where a GPU trains, the CPU makes the groups of the next batch meanwhile. `false`: the GPU makes them, before each
    /// step. Both make the same.
    pub group_ahead: bool,
    /// Where events were prepared with another scale of energies than those of the pretraining: brings them onto its scale.
    /// `false`: such events are refused.
    pub adapt_energies: bool,
    /// How the events should have been prepared, for configs of the original, which select while they train. What differs
    /// is told; nothing is selected here.
    pub expected: Option<Expected>,
    /// What happens to training events, in this order.
    pub train_transforms: Vec<Transform>,
    /// What happens to validation events.
    pub val_transforms: Vec<Transform>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            max_events: None,
            max_valid_events: None,
            target: Target::Semantic,
            val_batch_size: 1,
            group_ahead: true,
            adapt_energies: false,
            expected: None,
            train_transforms: Transform::published_training(),
            val_transforms: Transform::published_validation(),
        }
    }
}

impl TrainConfig {
    /// Factor from voxels to the coordinates of the networks.
    pub fn scale(&self) -> f64 {
        Transform::scale_of(&self.data.val_transforms)
    }
}

impl Config for TrainConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "polarmae", "system", || format!("is `{}`, expected `polarmae`", self.system));
        problems.demand(!self.member.is_empty(), "member", || "is empty, expected a name".into());
        match &self.model {
            ModelConfig::Mae(task) => {
                task.network.validate("model.mae.network", problems);
                if let Some(svm) = &task.svm {
                    svm.validate("model.mae.svm", problems);
                }
            }
            ModelConfig::Segmentation(task) => {
                task.network.validate("model.segmentation.network", problems);
                let (weights, classes) = (task.weights(), task.network.num_classes);
                let published = self.data.target == Target::Semantic || task.class_weights.is_some();
                problems.demand(published, "model.segmentation.class_weights", || {
                    "is null, expected a number for each kind of particle: the published ones are of semantic types"
                        .into()
                });
                let good = weights.len() == classes && weights.iter().all(|w| *w >= 0.0 && w.is_finite());
                problems.demand(good, "model.segmentation.class_weights", || {
                    format!("is {weights:?}, expected {classes} numbers >= 0")
                });
            }
        }
        for (key, chain) in
            [("train_transforms", &self.data.train_transforms), ("val_transforms", &self.data.val_transforms)]
        {
            for problem in chain.iter().filter_map(Transform::problem) {
                problems.push(format!("data.{key}"), problem);
            }
        }
        for (key, value) in [
            ("data.val_batch_size", Some(self.data.val_batch_size)),
            ("data.max_events", self.data.max_events),
            ("data.max_valid_events", self.data.max_valid_events),
        ] {
            problems.demand(value != Some(0), key, || "is 0, expected at least 1".into());
        }
        self.training.validate("training", problems);
    }
}
