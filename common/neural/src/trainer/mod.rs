//! The training loop that all systems share.
//!
//! A system gives a [`Task`] (loss, evaluation) and a [`Plan`] (rows, parameters, where to write); [`train`] does the
//! rest: steps, clipping, schedule, evaluations, best model, early stop, checkpoints, metric log, interruption.
//!
//! A run that is killed at any moment and started again with [`Resume::Auto`] ends with the same bytes as one that was
//! not: the order of rows and every random draw are functions of (seed, step), and everything else stands in the
//! checkpoint. The metric files are cut back to where the checkpoint was taken.
//!
//! Several processes train one network together where [`crate::parallel`] has joined them: each reads its share of a batch
//! ([`crate::loader::Shard`]), gradients are averaged during backward, rank 0 evaluates and writes.

mod adopt;
pub mod best;
pub mod config;
mod files;
mod groups;
mod keep;
mod log;
mod pace;
mod recorded;
mod run;
pub mod state;
mod step;
mod together;

use common::criterion::Criterion;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Error, Result};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::loader::{Order, Shard, Source};
use crate::params::Params;
pub use config::Training;
pub use files::{AVERAGED, BEST, CHECKPOINTS, LAST, MODEL, OPTIMIZER};
pub use pace::Sample;
pub use run::train;
pub use state::{Evaluated, Metric, State};

/// What a system does in training: everything that depends on the model.
pub trait Task {
    /// Mean loss of a batch, a scalar with a gradient. `step` counts optimizer steps from 0.
    fn loss(&mut self, batch: &[Tensor], step: u64) -> Result<Tensor>;

    /// The terms that [`Task::loss`] is the sum of. A mean over something else than rows (points, hits) says over how many,
    /// so that processes whose shares of a batch hold more of it count more; what is drawn at random is drawn by the
    /// place of a row in the whole batch. Default: one mean over the rows.
    fn terms(&mut self, batch: &[Tensor], place: Place) -> Result<Vec<Term>> {
        let rows = batch.first().and_then(|t| t.size().first().copied()).unwrap_or(0);
        Ok(vec![Term { mean: self.loss(batch, place.step)?, count: rows as f64 }])
    }

    /// The sums behind an evaluation over this process's share of it: batches `rank`, `rank + world`, .. of the
    /// validation, dealt out whole. Equally many numbers on every process. Long ones return [`interrupted`] as
    /// [`Task::evaluate`] does. `None`: it cannot be shared out, and rank 0 does all of it.
    fn evaluate_share(&mut self, _share: Shard) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }

    /// The evaluation that the sums of all shares make, in the order of ranks. Asked of rank 0 alone.
    fn evaluation_of(&mut self, _parts: &[Vec<f64>]) -> Result<Evaluation> {
        Err(Error::failed("this evaluation is not shared out"))
    }

    /// Evaluates the present weights. Long evaluations ask [`common::cli::signals::interrupted`] between batches and
    /// return [`interrupted`].
    fn evaluate(&mut self) -> Result<Evaluation>;

    /// Whether [`Task::terms`] of two batches of one shape run the same operations on the device, take nothing but the batch
    /// from the host and read nothing back: such steps can be recorded as a CUDA graph.
    fn steps_alike(&self) -> bool {
        false
    }

    /// Whether [`Task::ahead`] wants to be asked.
    fn looks_ahead(&self) -> bool {
        false
    }

    /// The batch of the step after the one that is about to be trained: what has to be made of it on the host can be
    /// begun beside what a GPU does.
    fn ahead(&mut self, _batch: &[Tensor], _step: u64) -> Result<()> {
        Ok(())
    }

    /// Overrides of the system that make a step need less memory, such as a shorter sequence.
    fn less_memory(&self) -> Vec<String> {
        vec![]
    }

    /// Named numbers of the last batch, asked for when its step is logged.
    fn step_metrics(&mut self) -> Result<Vec<Metric>> {
        Ok(vec![])
    }

    /// The name under which the original logs the number that we call `name` (`valid/loss`), where it has one: such
    /// numbers appear under both names.
    fn published_name(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// What `model.safetensors` of a checkpoint says about itself: enough to use the weights without the config.
    /// `best` is the evaluation whose weights are kept as best so far.
    fn metadata(&self, best: Option<&Evaluated>) -> Value;
}

/// A term of a loss.
#[derive(Debug)]
pub struct Term {
    /// A scalar with a gradient: the mean over the rows at hand.
    pub mean: Tensor,
    /// Of how many things it is the mean, >= 0.
    pub count: f64,
}

impl Term {
    /// The sum of the means: the loss of these rows.
    pub fn sum(terms: &[Self]) -> Result<Tensor> {
        let first = terms.first().ok_or_else(|| Error::failed("a loss without terms"))?;
        Ok(terms[1..].iter().fold(first.mean.shallow_clone(), |sum, term| sum + &term.mean))
    }
}

/// Where the rows of a batch stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Optimizer step, from 0.
    pub step: u64,
    /// Place of the first row in the batch of all processes.
    pub first: u64,
}

impl Place {
    /// The whole batch of a step.
    pub fn of(step: u64) -> Self {
        Self { step, first: 0 }
    }
}

/// Evaluates in this process what could be shared out: [`Task::evaluate`] of tasks that can.
pub fn evaluate_alone(task: &mut dyn Task) -> Result<Evaluation> {
    let part = task.evaluate_share(Shard::WHOLE)?;
    task.evaluation_of(&[part.unwrap_or_default()])
}

/// Result of [`Task::evaluate`].
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// What `score` is, for people.
    pub criterion: Criterion,
    /// What decides which model is kept, in the sense that lower is better; shown as the criterion has it.
    pub score: f64,
    /// Named numbers for the log, in order.
    pub metrics: Vec<Metric>,
    /// What else is to be kept with the best model, such as a zero list.
    pub detail: Value,
}

impl Evaluation {
    /// An evaluation that is judged by the figure `value` of a criterion.
    pub fn by(criterion: Criterion, value: f64, metrics: Vec<Metric>, detail: Value) -> Self {
        let score = criterion.better.minimised(value);
        Self { criterion, score, metrics, detail }
    }
}

/// Where a run takes up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Resume {
    /// From the newest checkpoint that verifies; from the start if there is none.
    Auto,
    /// From the start.
    #[default]
    Never,
    /// From this checkpoint folder.
    From(PathBuf),
}

impl std::str::FromStr for Resume {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "never" => Self::Never,
            path => Self::From(path.into()),
        })
    }
}

/// What is trained on what, and where it goes.
pub struct Plan<'a> {
    /// The `training:` section.
    pub training: &'a Training,
    /// Identity of the run: hash of the whole config, and of the data (`Manifest::identity`). A checkpoint of another run
    /// is refused.
    pub config_hash: String,
    /// Seed of the run.
    pub seed: u64,
    /// Where batches go.
    pub device: Device,
    /// Run folder: `checkpoints/` and the metric files appear in it. Its lock must be held.
    pub folder: PathBuf,
    /// Training rows.
    pub source: Arc<dyn Source>,
    /// Their order.
    pub order: Arc<Order>,
    /// Everything that a checkpoint of the model holds: parameters and buffers.
    pub state: Vec<(String, Tensor)>,
    /// The parameters that are trained.
    pub trainable: Vec<(String, Tensor)>,
    /// Where to take up.
    pub resume: Resume,
    /// Ends every epoch after so many steps (smoke runs).
    pub max_steps: Option<u64>,
    /// Is told of every step and evaluation.
    pub observer: Option<&'a mut dyn FnMut(Event)>,
    /// Name in front of the progress line: `train`, `group 3`.
    pub label: String,
}

impl<'a> Plan<'a> {
    /// The run that the command line's `options` ask for: all parameters of `params` that are trainable, on `rows` (source
    /// and order), under the identity `hash`.
    pub fn new(
        options: Options<'a>,
        training: &'a Training,
        (hash, seed): (&str, u64),
        (source, order): (Arc<dyn Source>, Arc<Order>),
        params: &Params,
        label: &str,
    ) -> Self {
        Self {
            training,
            config_hash: hash.to_string(),
            seed,
            device: options.device,
            folder: options.folder,
            source,
            order,
            state: params.state(),
            trainable: params.trainable(),
            resume: options.resume,
            max_steps: options.max_steps,
            observer: options.observer,
            label: label.to_string(),
        }
    }
}

/// What does not change the result of a run, and what makes a smoke run of it: the part of a [`Plan`] that the command line
/// gives.
pub struct Options<'a> {
    /// Run folder; its lock is held.
    pub folder: PathBuf,
    /// Where the network runs.
    pub device: Device,
    /// Where to take up.
    pub resume: Resume,
    /// Ends every epoch after so many steps.
    pub max_steps: Option<u64>,
    /// Weights to begin with instead of drawn ones, where a system takes them from outside of its config.
    pub initial: Option<&'a Path>,
    /// Is told of every step and evaluation.
    pub observer: Option<&'a mut dyn FnMut(Event)>,
}

/// What an observer is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// An optimizer step was done (or skipped).
    Step {
        /// Epoch, from 0.
        epoch: u64,
        /// Step of the epoch, from 1.
        step: u64,
        /// Loss of the batch.
        loss: f64,
        /// Gradient norm before clipping.
        gradient_norm: f64,
        /// Learning rates that the step used.
        rates: Vec<f64>,
        /// Beta1 that the step used, where the schedule moves it.
        beta1: Option<f64>,
        /// Whether the weights were updated.
        applied: bool,
    },
    /// An evaluation was done; `kept` says whether its weights are the best so far.
    Evaluation {
        /// The evaluation.
        evaluated: Evaluated,
        /// Whether its weights were kept as best.
        kept: bool,
    },
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The final state.
    pub state: State,
    /// Folder of the best checkpoint; the last one where no score was ever finite.
    pub best: PathBuf,
    /// Rows trained on per second, without evaluations, in this process; 0 when nothing was left to do.
    pub rows_per_s: f64,
    /// Share of that time spent waiting for data.
    pub data_wait: f64,
    /// Speed and memory along the steps that this process did.
    pub pace: Vec<Sample>,
    /// What the written learning rates were multiplied by for the size of the batch (`training.scale_learning_rate`).
    pub rate_factor: f64,
    /// Most memory of the GPU that the run held at once, in bytes; none on the CPU.
    pub gpu_peak: Option<u64>,
}

impl Outcome {
    /// The weights of the best checkpoint to predict with: the averaged ones where there are such.
    pub fn weights(&self) -> PathBuf {
        best_weights(&self.best)
    }
}

/// The weights of a checkpoint to predict with: the averaged ones where there are such.
pub fn best_weights(checkpoint: &Path) -> PathBuf {
    let averaged = checkpoint.join(AVERAGED);
    if averaged.is_file() { averaged } else { checkpoint.join(MODEL) }
}

/// The error of a run that was asked to stop.
pub fn interrupted() -> Error {
    Error::Interrupted {
        saved: "all training done so far is saved; the same command with `--resume auto` continues".into(),
    }
}

#[cfg(test)]
mod tests;
