//! What `train-model leap` does, as a config.

use std::path::PathBuf;

use common::config::{Config, Problems};
use neural::trainer::Training;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::augment::Augmentation;
use crate::dataset::Selection;
use crate::losses::{Criterion, Distance};
use crate::models::ModelConfig;
use crate::models::representations::RepresentationFiles;
use crate::norm::Chain;
use crate::raw::month::Months;

/// Everything that a trained network depends on, beside the arrays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Always `leap`.
    pub system: String,
    /// Name of the network in the blend: `exp195`.
    pub member: String,
    /// Seed of initial weights, order of rows and dropout.
    pub seed: u64,
    /// The network and its sizes.
    pub model: ModelConfig,
    /// Arrays of which preprocessing: `a` for ADAM's networks, `b` for all others. `null`: what the published network used.
    #[serde(default)]
    pub chain: Option<Chain>,
    /// Which rows are trained on.
    #[serde(default)]
    pub rows: RowsConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// Begin with the weights that `--init` names. `null`: with drawn ones.
    #[serde(default)]
    pub initial: Option<InitialConfig>,
    /// The benchmark's files for networks with `features.representations`. `null`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub representations: Option<RepresentationFiles>,
    /// Changes of the training rows. `null`: none.
    #[serde(default)]
    pub augmentation: Option<Augmentation>,
    /// Rows of a batch of the evaluation, >= 1. It changes speed and memory, and no result.
    #[serde(default = "val_batch_size")]
    pub val_batch_size: u64,
    /// Whether columns that are better predicted as zero become zero in the submission. ADAM's submissions do not apply
    /// their list, although it was meant to be: `false` reproduces them.
    #[serde(default = "yes")]
    pub apply_zero_list: bool,
    /// Also write the out-of-fold predictions as `oof.npy`, as published.
    #[serde(default)]
    pub oof_npy: bool,
    /// How it is trained.
    pub training: Training,
}

/// Which rows are trained on: all months by default.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RowsConfig {
    /// Months and ranges of months, as far as they are prepared: `[0004-01..0008-06]` for ADAM's fourth data version.
    /// `null`: all.
    pub months: Option<Months>,
    /// Only the rows of the sampling index, in its order: ADAM's third data version.
    pub index: bool,
    /// Further folders of `prepare-data` and the share that each has in a training; the arrays of `--from` have the rest. An epoch
    /// is as long as it takes to see every row: rows of sources with more than their part come again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceConfig>,
}

/// A further source of training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A folder of `prepare-data`, normalised with the same constants.
    pub data: PathBuf,
    /// Part of the rows of an epoch, 0..1; all sources together stay below 1.
    pub share: f64,
    /// Months and ranges of months. `null`: all.
    #[serde(default)]
    pub months: Option<Months>,
}

impl RowsConfig {
    fn validate(&self, problems: &mut Problems) {
        for (i, source) in self.sources.iter().enumerate() {
            let share = source.share;
            problems.demand(share > 0.0 && share < 1.0, &format!("rows.sources.{i}.share"), || {
                format!("is {share}, expected more than 0 and less than 1")
            });
            if let Some(Err(problem)) = source.months.as_ref().map(|months| months.resolve("rows.sources.months")) {
                problems.push(format!("rows.sources.{i}.months"), problem.to_string());
            }
        }
        let together: f64 = self.sources.iter().map(|source| source.share).sum();
        problems.demand(together < 1.0, "rows.sources", || {
            format!("have {together} of the rows together, expected less than 1: the rest is that of `--from`")
        });
    }

    /// The same for [`crate::dataset::Dataset::train`].
    pub fn selection(&self) -> Selection {
        Selection { months: self.months.clone(), indexed: self.index, ..Selection::default() }
    }
}

/// Smooth L1, or another distance, over the targets, and over the differences between neighbouring levels of the six
/// profiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// What the error of a target counts. Published: `smooth_l1` (second place), `mae` (first place), `huber` (the
    /// benchmark).
    #[serde(skip_serializing_if = "Distance::is_smooth_l1")]
    pub distance: Distance,
    /// Where the square turns into a line, > 0. Published: 1 (ADAM, `ForcewithMe`), 0.5 (Max2020).
    pub beta: f64,
    /// Weight of the mean of the six difference terms, >= 0. Published: 1.
    pub differences: f64,
    /// Whether the reported validation loss has the difference terms too: ADAM's has not. It decides nothing.
    pub differences_in_validation: bool,
    /// Weight of the expected errors, >= 0, for networks with a second output (`model.*.confidence`): how far they are
    /// from the errors that were made. Published: 1 (first place, the benchmark).
    #[serde(skip_serializing_if = "is_zero")]
    pub confidence: f64,
    /// Weight of the mean squared error of where and when a row is, >= 0, for networks with outputs for that
    /// (`model.squeezeformer.places`): sine and cosine of latitude, longitude, time of the year and hour by the sun.
    #[serde(skip_serializing_if = "is_zero")]
    pub places: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

impl LossConfig {
    /// The distance with its turning point.
    pub fn criterion(&self) -> Criterion {
        Criterion { distance: self.distance, beta: self.beta }
    }
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            distance: Distance::SmoothL1,
            beta: 1.0,
            differences: 1.0,
            differences_in_validation: false,
            confidence: 0.0,
            places: 0.0,
        }
    }
}

/// How the weights of another run are taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InitialConfig {
    /// Tensors that are left out and drawn anew, because the network is another one there: `[fc.0.weight]`. All others
    /// must agree.
    pub drop: Vec<String>,
    /// What stands before the network's names in the file. `null`: found, where there is no doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

fn val_batch_size() -> u64 {
    4096
}

fn yes() -> bool {
    true
}

impl TrainConfig {
    /// The preprocessing whose arrays are read.
    pub fn chain(&self) -> Chain {
        self.chain.unwrap_or_else(|| self.model.chain())
    }
}

impl Config for TrainConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "leap", "system", || format!("is `{}`, expected `leap`", self.system));
        problems.demand(!self.member.is_empty(), "member", || "is empty, expected a name such as `exp195`".into());
        self.model.validate("model", problems);
        if let Some(Err(problem)) = self.rows.months.as_ref().map(|months| months.resolve("rows.months")) {
            problems.push("rows.months", problem.to_string());
        }
        let loss = &self.loss;
        problems.demand(loss.beta > 0.0 && loss.beta.is_finite(), "loss.beta", || {
            format!("is {}, expected > 0", loss.beta)
        });
        problems.demand(loss.differences >= 0.0 && loss.differences.is_finite(), "loss.differences", || {
            format!("is {}, expected >= 0", loss.differences)
        });
        problems.demand(loss.confidence >= 0.0 && loss.confidence.is_finite(), "loss.confidence", || {
            format!("is {}, expected >= 0", loss.confidence)
        });
        let name = self.model.name();
        match (self.model.confidence(), loss.confidence > 0.0) {
            (true, false) => problems.push(
                "loss.confidence",
                format!("is 0, but `model.{name}.confidence` asks for expected errors: expected a weight such as 1"),
            ),
            (false, true) => problems.push(
                "loss.confidence",
                format!("is {}, but the network expects no errors: set `model.{name}.confidence`", loss.confidence),
            ),
            _ => {}
        }
        problems.demand(loss.places >= 0.0 && loss.places.is_finite(), "loss.places", || {
            format!("is {}, expected >= 0", loss.places)
        });
        match (self.model.places(), loss.places > 0.0) {
            (true, false) => problems.push(
                "loss.places",
                format!("is 0, but `model.{name}.places` asks for places: expected a weight such as 0.1"),
            ),
            (false, true) => problems.push(
                "loss.places",
                format!(
                    "is {}, but the network has no outputs for places: set `model.squeezeformer.places`",
                    loss.places
                ),
            ),
            _ => {}
        }
        let asked = self.model.features().is_some_and(|features| features.representations);
        match (asked, self.representations.is_some()) {
            (true, false) => problems.push(
                "representations",
                format!(
                    "is missing, but `model.{name}.features.representations` asks for it: expected the benchmark's files \
                     (`level_sub`, `level_div`, `level_min`, `column_sub`, `column_div`)"
                ),
            ),
            (false, true) => problems.push(
                "representations",
                format!("names files that the network does not read: set `model.{name}.features.representations=true`"),
            ),
            _ => {}
        }
        self.rows.validate(problems);
        if let Some(augmentation) = &self.augmentation {
            augmentation.validate("augmentation", problems);
        }
        problems.demand(self.val_batch_size > 0, "val_batch_size", || "is 0, expected at least 1".into());
        let index_of_b = self.rows.index && self.chain() == Chain::B;
        problems.demand(!index_of_b, "rows.index", || "is set, but only chain `a` has a sampling index".into());
        self.training.validate("training", problems);
    }
}
