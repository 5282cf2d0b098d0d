//! What `train-model` does for IceCube, as a config.

use std::path::PathBuf;

use common::config::{Config, Problems};
use common::stage::Manifest;
use neural::loader::Shuffle;
use neural::trainer::Training;
use neural::weights::Choice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dataset::{InputConfig, Lengths, published_validation};
use crate::losses::{LossKind, Normalisation};
use crate::models::{ModelConfig, Targets};
use crate::sampler::SamplerConfig;

/// Everything that a trained network depends on, beside the prepared events.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Always `icecube`.
    pub system: String,
    /// Name of the network in the ensemble: `b64`.
    pub member: String,
    /// Seed of initial weights, order of events and choice of pulses.
    pub seed: u64,
    /// The network and its sizes.
    pub model: ModelConfig,
    /// Weights to begin with: a weights file, or the folder of a `train-model` stage, whose network must be this one.
    /// `null`: drawn from the seed.
    #[serde(default)]
    pub weights: Option<PathBuf>,
    /// Takes from `weights` only the tensors whose names begin so: `[graph]` for the graph encoder of another network.
    /// All others are drawn. Empty: all tensors, which then must agree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights_only: Vec<String>,
    /// Which part of the file `weights`, where it holds several networks or tensors that are not wanted.
    #[serde(default, skip_serializing_if = "Choice::is_empty")]
    pub weights_part: Choice,
    /// How an event becomes a sequence (`L` of the published config).
    #[serde(default)]
    pub input: InputConfig,
    /// Pulses of a sequence at most in validation (`L_VALID`).
    #[serde(default = "valid_length")]
    pub valid_length: usize,
    /// Which events are trained and validated on (`SELECTION`).
    #[serde(default)]
    pub lengths: Lengths,
    /// Files that are held back for validation. Default: the five published ones, `batch_655.parquet` to `batch_659.parquet`.
    #[serde(default = "published_validation")]
    pub validation: Vec<String>,
    /// First and last number of the files `batch_<number>` that are trained on. `null`: all but those for validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<[u64; 2]>,
    /// Which events an epoch visits, in which batches.
    #[serde(default)]
    pub sampler: SamplerConfig,
    /// What is minimised.
    pub loss: LossKind,
    /// The normalisation of the likelihood: `exact`, or `switched` as the published networks had it.
    #[serde(default)]
    pub normalisation: Normalisation,
    /// Heads beside the direction, with the weights of their losses: energy, vertex, track against cascade. The truth of
    /// the events must know them.
    #[serde(default, skip_serializing_if = "Targets::is_none")]
    pub targets: Targets,
    /// Leaves out training events that an earlier network was unsure of.
    #[serde(default)]
    pub kappa_filter: Option<KappaFilter>,
    /// Events of a batch of the validation, >= 1 (`BS_VALID`).
    #[serde(default = "val_batch_size")]
    pub val_batch_size: u64,
    /// Which weights count as the result.
    #[serde(default)]
    pub select: Select,
    /// Parameters that stay as they are, by the beginnings of their names: `[local_root]` for a frozen graph encoder.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// What the run repeats of the experiment log: `score --table` shows it beside the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
    /// How it is trained.
    pub training: Training,
}

/// An experiment of the published log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name in the log: `24_FT`.
    pub id: String,
    /// Its published mean opening angle in rad on the authors' validation set. `null`: the log gives no number.
    #[serde(default)]
    pub published: Option<f64>,
    /// What the log says where it gives no number, or besides: `NaN`, `no good`.
    #[serde(default)]
    pub remark: String,
    /// What it shows.
    pub description: String,
    /// The training events of the log: `files 1 to 100`.
    pub training_set: String,
    /// The config file that repeats it.
    pub config: String,
}

/// Training on the events whose prediction by an earlier network has at least some kappa.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KappaFilter {
    /// Predictions of the training events: a table of `predict`.
    pub predictions: PathBuf,
    /// The smallest kappa that is kept. Published experiment: 0.5.
    pub least: f64,
}

/// Which weights of a run count as its result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// Those with the best score in validation; with averaging the averaged ones, which the score belongs to.
    #[default]
    Best,
    /// As published: those of the last sub-epoch; with averaging the averaged ones.
    Last,
    /// As published runs continued: the raw ones of the last sub-epoch, whatever the validation looked at.
    LastRaw,
}

fn valid_length() -> usize {
    192
}

fn val_batch_size() -> u64 {
    32
}

impl TrainConfig {
    /// Names of the files that are not trained on: those for validation, and those outside of `files`.
    pub fn held_back(&self, prepared: &Manifest) -> Vec<String> {
        let mut names = self.validation.clone();
        if let Some([first, last]) = self.files {
            let number = |name: &str| name.strip_prefix("batch_").and_then(|n| n.parse::<u64>().ok());
            let outside = |name: &&str| number(name).is_none_or(|n| !(first..=last).contains(&n));
            let all = prepared.outputs.keys().filter_map(|name| name.strip_prefix("train/"));
            names.extend(all.filter(outside).map(str::to_owned));
        }
        names
    }
}

impl Config for TrainConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "icecube", "system", || format!("is `{}`, expected `icecube`", self.system));
        problems.demand(!self.member.is_empty(), "member", || "is empty, expected a name such as `b64`".into());
        self.model.validate("model", problems);
        self.targets.validate("targets", problems);
        problems.demand(self.input.length > 0, "input.length", || "is 0, expected at least 1".into());
        problems.demand(self.valid_length > 0, "valid_length", || "is 0, expected at least 1".into());
        problems.demand(!self.validation.is_empty(), "validation", || "is empty, expected at least one file".into());
        problems.demand(self.sampler.sub_epochs > 0, "sampler.sub_epochs", || "is 0, expected at least 1".into());
        problems.demand(self.val_batch_size > 0, "val_batch_size", || "is 0, expected at least 1".into());
        if let Some([first, last]) = self.files {
            problems
                .demand(first <= last, "files", || format!("is [{first}, {last}], expected the lower number first"));
        }
        problems.demand(self.weights_part.is_empty() || self.weights.is_some(), "weights_part", || {
            "is given without `weights`".into()
        });
        problems.demand(self.weights_only.is_empty() || self.weights.is_some(), "weights_only", || {
            "names tensors, but `weights` names no file to take them from".into()
        });
        if let Some(limit) = self.model.limit() {
            for (key, length) in [("input.length", self.input.length), ("valid_length", self.valid_length)] {
                problems.demand(length as i64 <= limit, key, || {
                    format!("is {length}, more than `model.encoder.max_length` = {limit}")
                });
            }
        }
        problems.demand(self.training.shuffle == Shuffle::default(), "training.shuffle", || {
            "is set, but events come in the order of `sampler`".into()
        });
        if let Some(filter) = &self.kappa_filter {
            problems.demand(filter.least.is_finite(), "kappa_filter.least", || "is not a finite number".into());
        }
        self.training.validate("training", problems);
    }
}
