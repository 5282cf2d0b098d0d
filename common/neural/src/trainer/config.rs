//! The `training:` section of every config.

use std::collections::BTreeMap;

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ema::EmaConfig;
use crate::loader::Shuffle;
use crate::optim::OptimizerConfig;
use crate::precision::Precision;
use crate::schedule::{ScheduleConfig, evaluation_steps};

/// How a network is trained.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training rows, >= 1.
    pub epochs: u64,
    /// Optimizer steps at most, >= 1; the run then ends with an evaluation, wherever in an epoch it stands. `null`: as many
    /// as the epochs have.
    #[serde(default)]
    pub max_steps: Option<u64>,
    /// Rows of an optimizer step, over all devices, >= 1. The last incomplete batch of an epoch is left out, unless
    /// `keep_last_batch`.
    pub batch_size: u64,
    /// Train on the last incomplete batch of an epoch too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_last_batch: bool,
    /// Order of the rows. Default: blocks of 4096 rows, mixed in windows of 16 blocks.
    #[serde(default)]
    pub shuffle: Shuffle,
    /// Pieces that a batch is cut into to save memory; gradients are summed, so the step stays the same up to rounding.
    #[serde(default = "one")]
    pub accumulation: u64,
    /// Rows after which the weights are updated, where that takes several batches: gradients of batches are summed, each
    /// weighted with its share of these rows, until at least so many rows were seen. The count goes on over the end of an
    /// epoch. The schedule moves with every batch. `null`: an update with every batch.
    #[serde(default)]
    pub accumulate_rows: Option<u64>,
    /// Largest L2 norm of all gradients together; longer ones are scaled down. `null` switches it off.
    #[serde(default)]
    pub max_grad_norm: Option<f64>,
    /// Evaluations in an epoch, at equal distances, the last one at its end, >= 1.
    #[serde(default = "one")]
    pub evaluate_n_times_per_epoch: u64,
    /// Steps between two evaluations, counted over the whole run, instead of evaluations by epoch. `null`: by epoch.
    #[serde(default)]
    pub evaluate_every_steps: Option<u64>,
    /// Of the evaluations in an epoch only so many last ones take place: 8 and here 3 evaluate after 6/8, 7/8 and 8/8.
    /// `null`: all.
    #[serde(default)]
    pub evaluate_only_last: Option<u64>,
    /// Other numbers of evaluations for single epochs, counted from 1: `{7: 5, 8: 5}`.
    #[serde(default)]
    pub evaluate_overrides: BTreeMap<u64, u64>,
    /// Other number of evaluations for the last epochs.
    #[serde(default)]
    pub evaluate_last: Option<EvaluateLast>,
    /// Epochs without a better score that are tolerated before the run stops: 0 stops at the first. `null`: never.
    #[serde(default)]
    pub early_stop_step: Option<u64>,
    /// How much lower a score has to be for its model to be kept, >= 0.
    #[serde(default)]
    pub min_gain: f64,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// Base learning rate, > 0.
    pub learning_rate: f64,
    /// Base learning rates of parameters whose names begin so, instead of `learning_rate`: `{lstm: 8e-4, fc: 1e-3}`.
    #[serde(default)]
    pub group_learning_rates: BTreeMap<String, f64>,
    /// The learning rates belong to another batch and are multiplied for this one. `null`: as they are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_learning_rate: Option<ScaleRate>,
    /// How the learning rate moves.
    #[serde(default = "constant")]
    pub schedule: ScheduleConfig,
    /// Number format of forward and backward; weights and their updates are f32 always.
    #[serde(default)]
    pub precision: Precision,
    /// TensorFloat-32 in the f32 matrix products of a GPU: faster, with 10 bits of mantissa.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tf32: bool,
    /// On a GPU the same seed gives the same bytes every time. `false` lets operations take algorithms that add in another
    /// order every time, some of them faster.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub deterministic: bool,
    /// On a GPU forward and backward of batches of one shape are recorded once, as a CUDA graph, and launched as a whole: faster
    /// where a network has many small operations. Needs one process, one piece a batch, and no f16.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cuda_graphs: bool,
    /// Several processes take the statistics of a batch (batch normalisation, norms over all tokens) over the rows of all
    /// of them instead of their own, so that they train as one process would.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sync_batch_norm: bool,
    /// Moving average of the weights, used for evaluation and prediction. `null` switches it off.
    #[serde(default)]
    pub ema: Option<EmaConfig>,
    /// What to do about a loss or gradient that is no finite number, before it reaches the weights.
    #[serde(default)]
    pub non_finite: NonFinite,
    /// When checkpoints are written besides those at evaluations.
    #[serde(default)]
    pub checkpoint: CheckpointRule,
    /// Steps between two lines of the metric log, >= 1.
    #[serde(default = "hundred")]
    pub print_freq: u64,
    /// Reading ahead.
    #[serde(default)]
    pub loader: LoaderRule,
}

/// How learning rates follow the size of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRate {
    /// Rows of an update, over all devices, that the written rates belong to, >= 1. Published for `PoLAr-MAE`: 128.
    pub reference_batch: u64,
    /// How they follow.
    #[serde(default)]
    pub rule: RateRule,
}

/// What the ratio of batches does to learning rates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateRule {
    /// Times its square root.
    #[default]
    SquareRoot,
    /// Times the ratio itself.
    Linear,
}

/// More evaluations towards the end.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateLast {
    /// Number of last epochs, >= 1.
    pub epochs: u64,
    /// Evaluations in each of them, >= 1.
    pub times: u64,
}

/// What to do about a loss or gradient norm that is NaN or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NonFinite {
    /// End the run with an error; the weights are those before the step.
    #[default]
    Stop,
    /// Leave the batch out. A hundred in a row end the run all the same.
    Skip,
}

/// When checkpoints are written besides those at evaluations, and how many are kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointRule {
    /// Steps between two writings of `last`. `null`: by time only.
    #[serde(default)]
    pub every_steps: Option<u64>,
    /// Seconds between two writings of `last`. `null`: by steps only.
    #[serde(default = "ten_minutes")]
    pub every_seconds: Option<u64>,
    /// How many of the best evaluations keep a checkpoint of their own, named after epoch and score, besides `best`.
    #[serde(default)]
    pub top_k: usize,
}

impl Default for CheckpointRule {
    fn default() -> Self {
        Self { every_steps: None, every_seconds: ten_minutes(), top_k: 0 }
    }
}

/// Reading ahead.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoaderRule {
    /// Threads that gather rows; 0 reads in the training thread. The order of the rows does not depend on it.
    pub workers: usize,
    /// Batches read ahead at most.
    pub ahead: usize,
}

impl Default for LoaderRule {
    fn default() -> Self {
        Self { workers: 1, ahead: 4 }
    }
}

fn constant() -> ScheduleConfig {
    ScheduleConfig::Constant
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

fn hundred() -> u64 {
    100
}

#[allow(clippy::unnecessary_wraps)]
fn ten_minutes() -> Option<u64> {
    Some(600)
}

impl Training {
    /// Evaluations of `epoch` (from 0).
    pub fn evaluations(&self, epoch: u64) -> u64 {
        if let Some(&times) = self.evaluate_overrides.get(&(epoch + 1)) {
            return times;
        }
        match &self.evaluate_last {
            Some(last) if epoch + last.epochs >= self.epochs => last.times,
            _ => self.evaluate_n_times_per_epoch,
        }
    }

    /// The steps (from 1) of `epoch` after which is evaluated, of `steps` steps.
    pub fn evaluation_steps(&self, epoch: u64, steps: u64) -> Vec<usize> {
        let mut all = evaluation_steps(steps as usize, self.evaluations(epoch) as usize);
        if let Some(last) = self.evaluate_only_last {
            all.drain(..all.len().saturating_sub(last as usize));
        }
        all
    }

    /// Rows that make an update of the weights, over all devices.
    fn update_rows(&self) -> u64 {
        self.batch_size.max(self.accumulate_rows.unwrap_or(0))
    }

    /// What the written learning rates are multiplied by.
    pub fn rate_factor(&self) -> f64 {
        let Some(scale) = self.scale_learning_rate else { return 1.0 };
        let ratio = self.update_rows() as f64 / scale.reference_batch.max(1) as f64;
        match scale.rule {
            RateRule::SquareRoot => ratio.sqrt(),
            RateRule::Linear => ratio,
        }
    }

    /// A sentence about what was done to the learning rate, if anything is asked for.
    pub fn rate_told(&self) -> Option<String> {
        let scale = self.scale_learning_rate?;
        let (rows, reference) = (self.update_rows(), scale.reference_batch);
        let (before, after) = (self.learning_rate, self.learning_rate * self.rate_factor());
        let how = match scale.rule {
            RateRule::SquareRoot => format!("sqrt({rows} / {reference})"),
            RateRule::Linear => format!("{rows} / {reference}"),
        };
        Some(format!(
            "learning rate {before:e} belongs to batches of {reference}; with {rows} it is {after:e}, times {how}"
        ))
    }

    /// Overrides that make a run need less memory, the mildest first.
    pub fn less_memory(&self) -> Vec<String> {
        let mut remedies = vec![
            format!("training.accumulation={}  # the same step in smaller pieces", self.accumulation * 2),
            format!("training.batch_size={}", (self.batch_size / 2).max(1)),
        ];
        if self.precision == Precision::F32 {
            remedies.push("training.precision=bf16".into());
        }
        remedies.push("--device cpu  # where the machine has more memory than its GPU".into());
        remedies
    }

    /// Checks ranges; `at` is the path of the section in the config.
    pub fn validate(&self, at: &str, problems: &mut Problems) {
        let mut at_least_one = |key: &str, value: u64| {
            if value == 0 {
                problems.push(format!("{at}.{key}"), "is 0, expected at least 1");
            }
        };
        at_least_one("epochs", self.epochs);
        at_least_one("batch_size", self.batch_size);
        at_least_one("accumulation", self.accumulation);
        at_least_one("accumulate_rows", self.accumulate_rows.unwrap_or(1));
        at_least_one("evaluate_n_times_per_epoch", self.evaluate_n_times_per_epoch);
        at_least_one("print_freq", self.print_freq);
        if let Some(last) = &self.evaluate_last {
            at_least_one("evaluate_last.epochs", last.epochs);
            at_least_one("evaluate_last.times", last.times);
        }
        at_least_one("scale_learning_rate.reference_batch", self.scale_learning_rate.map_or(1, |s| s.reference_batch));
        if let Some(steps) = self.max_steps {
            at_least_one("max_steps", steps);
        }
        if let Some(steps) = self.evaluate_every_steps {
            at_least_one("evaluate_every_steps", steps);
        }
        if let Some(last) = self.evaluate_only_last {
            at_least_one("evaluate_only_last", last);
        }
        if let Some(steps) = self.checkpoint.every_steps {
            at_least_one("checkpoint.every_steps", steps);
        }
        at_least_one("loader.ahead", self.loader.ahead as u64);
        if let Shuffle::Block { rows, window } = &self.shuffle {
            at_least_one("shuffle.block.rows", *rows);
            at_least_one("shuffle.block.window", *window);
        }
        for (epoch, times) in &self.evaluate_overrides {
            if *times == 0 || *epoch == 0 {
                problems.push(
                    format!("{at}.evaluate_overrides"),
                    format!("is {times} for epoch {epoch}, expected at least 1; epochs count from 1"),
                );
            }
        }
        if self.accumulation > self.batch_size {
            problems
                .push(format!("{at}.accumulation"), format!("is {}, more than the batch has rows", self.accumulation));
        }
        if self.cuda_graphs {
            let unfit = [
                (self.accumulation > 1, "a batch is cut into pieces (`accumulation`)"),
                (self.accumulate_rows.is_some(), "gradients of several batches are summed (`accumulate_rows`)"),
                (self.precision == Precision::F16, "the loss is scaled (`precision` f16; bf16 needs no scaling)"),
            ];
            for (_, why) in unfit.iter().filter(|(unfit, _)| *unfit) {
                problems.push(format!("{at}.cuda_graphs"), format!("is true, but {why}"));
            }
        }
        if !(self.min_gain >= 0.0 && self.min_gain.is_finite()) {
            problems.push(format!("{at}.min_gain"), format!("is {}, expected a finite number >= 0", self.min_gain));
        }
        if self.max_grad_norm.is_some_and(|norm| norm.is_nan() || norm <= 0.0) {
            problems.push(format!("{at}.max_grad_norm"), "is not above 0; `null` switches clipping off");
        }
        let groups =
            self.group_learning_rates.iter().map(|(prefix, rate)| (format!("group_learning_rates.{prefix}"), *rate));
        for (key, rate) in groups.chain([("learning_rate".to_string(), self.learning_rate)]) {
            if !(rate > 0.0 && rate.is_finite()) {
                problems.push(format!("{at}.{key}"), format!("is {rate}, expected a finite number above 0"));
            }
        }
        for (key, problem) in self.optimizer.problems() {
            problems.push(format!("{at}.optimizer.{key}"), problem);
        }
        for (key, problem) in self.ema.iter().flat_map(EmaConfig::problems) {
            problems.push(format!("{at}.ema.{key}"), problem);
        }
        for (key, problem) in self.schedule.problems() {
            problems.push(format!("{at}.schedule.{key}"), problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(more: &str) -> Training {
        let text = format!(
            "{{\"epochs\": 1, \"batch_size\": 32, \"optimizer\": {{\"adam_w\": {{}}}}, \"learning_rate\": 0.002{more}}}"
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn rates_follow_the_batch_by_the_rule_of_the_config_and_it_is_told() {
        let plain = training("");
        assert_eq!((plain.rate_factor(), plain.rate_told()), (1.0, None));
        let root = training(r#", "scale_learning_rate": {"reference_batch": 128}"#);
        assert_eq!(root.rate_factor(), 0.5);
        let told = "learning rate 2e-3 belongs to batches of 128; with 32 it is 1e-3, times sqrt(32 / 128)";
        assert_eq!(root.rate_told().as_deref(), Some(told));
        let linear = training(r#", "scale_learning_rate": {"reference_batch": 128, "rule": "linear"}"#);
        assert_eq!(linear.rate_factor(), 0.25);
        // Gradients of several batches make one update.
        let summed = training(r#", "accumulate_rows": 512, "scale_learning_rate": {"reference_batch": 128}"#);
        assert_eq!(summed.rate_factor(), 2.0);
    }
}
