//! Everything of a run that is neither weights nor optimizer: `trainer.json` of a checkpoint.

use common::criterion::Criterion;
use std::path::Path;

use common::durable::{self, Written};
use common::scalars::Positions;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::best::Best;
use crate::precision::{GradScaler, Precision};
use crate::schedule::Schedule;

/// Name of the file.
pub const FILE: &str = "trainer.json";

/// Where a run stands. No times of day, so that a resumed run ends with the same bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Seed of the run; dropout of step s draws from a generator seeded with (seed, "dropout", s), rows of epoch e
    /// from (seed, "shuffle", e), so no generator's state has to be kept.
    pub seed: u64,
    /// Epoch that runs, from 0.
    pub epoch: u64,
    /// Steps of it that are done: the position in the data.
    pub step: u64,
    /// Steps done since the start of the run.
    pub global_step: u64,
    /// The evaluation after the last step is still to be done: the run was interrupted in it.
    pub evaluation_pending: bool,
    /// Learning rates and what moves them.
    pub schedule: Schedule,
    /// What keeps gradients of f16 in range; `None` with other formats.
    pub scaler: Option<GradScaler>,
    /// Which scores count as best.
    pub best: Best,
    /// The evaluation whose weights `best` holds.
    pub kept: Option<Evaluated>,
    /// Checkpoints named after their score, best first.
    pub top: Vec<Named>,
    /// Running mean of the training loss since the beginning of the epoch.
    pub loss: Mean,
    /// Smoothed loss of the batches since the beginning of the run.
    #[serde(default)]
    pub smooth: Smooth,
    /// Rows whose gradients wait for more: those of [`Training::accumulate_rows`](super::Training).
    #[serde(default)]
    pub accumulated: u64,
    /// Gradient norm before clipping in the last step.
    #[serde(with = "crate::exact")]
    pub gradient_norm: f64,
    /// Steps left out because of a non-finite loss or gradient, in all and in a row.
    pub skipped: u64,
    /// See `skipped`.
    pub skipped_in_a_row: u64,
    /// All evaluations so far.
    pub history: Vec<Evaluated>,
    /// Length of each metric file when this state was saved.
    pub log: Positions,
    /// Why the run ended; `None` while it runs.
    pub finished: Option<String>,
}

/// One evaluation and where it stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Step of the epoch, from 1.
    pub step: u64,
    /// Steps since the start of the run.
    pub global_step: u64,
    /// What the score is.
    #[serde(default)]
    pub criterion: Criterion,
    /// Score in the sense that lower is better; [`Evaluated::shown`] is for people.
    #[serde(with = "crate::exact")]
    pub score: f64,
    /// Running mean of the training loss since the beginning of the epoch.
    #[serde(with = "crate::exact")]
    pub training_loss: f64,
    /// Exponentially smoothed loss of the batches.
    #[serde(with = "crate::exact", default)]
    pub smooth_loss: f64,
    /// Gradient norm before clipping in the last step.
    #[serde(with = "crate::exact")]
    pub gradient_norm: f64,
    /// Learning rates of the parameter groups in the last step.
    pub rates: Vec<f64>,
    /// Named numbers of the task: validation loss, R2 of groups.
    pub metrics: Vec<Metric>,
    /// What else the task wants to keep with its best model.
    pub detail: Value,
}

impl Evaluated {
    /// The figure that decided, with its own sign.
    pub fn shown(&self) -> f64 {
        self.criterion.better.minimised(self.score)
    }
}

/// A named number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name, as in the log.
    pub name: String,
    /// Value.
    #[serde(with = "crate::exact")]
    pub value: f64,
}

/// A checkpoint named after its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Folder below `checkpoints/`.
    pub name: String,
    /// Steps done when it was evaluated.
    pub global_step: u64,
    /// Score in the sense that lower is better.
    #[serde(with = "crate::exact")]
    pub score: f64,
}

/// Running mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    /// Adds a value that stands for `weight` rows.
    pub fn add(&mut self, value: f64, weight: u64) {
        self.sum += value * weight as f64;
        self.count += weight;
    }

    /// The mean, NaN of nothing.
    pub fn value(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Exponentially smoothed mean, without the bias of its beginning: fastai's `train_loss`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Smooth {
    #[serde(with = "crate::exact")]
    sum: f64,
    #[serde(with = "crate::exact")]
    weight: f64,
}

impl Smooth {
    /// How much of the past a new value leaves.
    const BETA: f64 = 0.98;

    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.sum = self.sum * Self::BETA + value * (1.0 - Self::BETA);
        self.weight = self.weight * Self::BETA + (1.0 - Self::BETA);
    }

    /// The mean, NaN of nothing.
    pub fn value(&self) -> f64 {
        self.sum / self.weight
    }
}

impl State {
    /// The beginning of a run.
    pub fn new(seed: u64, schedule: Schedule, precision: Precision) -> Self {
        Self {
            seed,
            epoch: 0,
            step: 0,
            global_step: 0,
            evaluation_pending: false,
            schedule,
            scaler: (precision == Precision::F16).then(GradScaler::default),
            best: Best::default(),
            kept: None,
            top: vec![],
            loss: Mean::default(),
            smooth: Smooth::default(),
            accumulated: 0,
            gradient_norm: 0.0,
            skipped: 0,
            skipped_in_a_row: 0,
            history: vec![],
            log: Positions::default(),
            finished: None,
        }
    }

    /// Writes `trainer.json` into `folder`.
    pub fn write(&self, folder: &Path) -> Result<Written> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::failed(format!("writing `{FILE}`: {e}")))?;
        durable::write(folder.join(FILE), text.as_bytes())
    }

    /// Reads `trainer.json` of a verified checkpoint.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::opening(&path, e))?;
        serde_json::from_str(&text).map_err(|e| Error::input(&path, format!("not the state of a run: {e}")))
    }
}
