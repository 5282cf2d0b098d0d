//! Predicting and scoring a validation set, streamed: memory does not grow with its rows.

use std::sync::Arc;

use common::Result;
use common::cli::signals;
use common::durable::Written;
use common::store::tensors::{Declaration, Dtype, TensorWriter};
use neural::Doing;
use neural::layers::Network;
use neural::loader::{Delivery, Loader, Order, Shard, Shuffle, Source};
use neural::precision::{Precision, with_autocast};
use neural::trainer::interrupted;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::confidence::ConfidenceSums;
use super::config::LossConfig;
use crate::columns::TARGETS;
use crate::layout::expand;
use crate::losses;
use crate::models::{parts, places};
use crate::norm::Constants;
use crate::score::{Rules, Score, Sums};

/// Rows with targets, and how they are predicted and judged.
#[derive(Clone)]
pub struct Evaluator {
    /// Rows with `inputs` and `targets`.
    pub rows: Arc<dyn Source>,
    /// Rules of the score.
    pub rules: Rules,
    /// Rows of a batch.
    pub batch: u64,
    /// Where networks run.
    pub device: Device,
    /// Number format of the forward pass.
    pub precision: Precision,
}

/// What one pass found.
#[derive(Debug, Clone)]
pub struct Found {
    /// R2 of all targets.
    pub score: Score,
    /// Mean of the batch losses, weighted by their rows.
    pub loss: f64,
    /// Mean correlation of expected and made errors, of a network that expects any.
    pub confidence: Option<f64>,
}

/// Predictions of a batch and what they were to be: tensors `[B, 368]`, and the predictions' and targets' values.
struct Judged<'a> {
    predicted: &'a Tensor,
    target: &'a Tensor,
    /// The errors that the network expected, where it does.
    expected: Option<&'a Tensor>,
    predicted_values: &'a [f32],
    target_values: &'a [f32],
}

impl Evaluator {
    /// Sums over one share of the rows of what `predict` makes of them; `loss` (predicted, target, expected errors) is
    /// summed beside it, and what `errors` (predicted, target) were made, where any were expected.
    pub fn sums(
        &self,
        share: Shard,
        predict: impl FnMut(&Tensor) -> Result<Tensor>,
        loss: impl Fn(&Tensor, &Tensor) -> Tensor,
        errors: impl Fn(&Tensor, &Tensor) -> Tensor,
    ) -> Result<Vec<f64>> {
        let mut sums = Sums::new();
        let mut confidence: Option<ConfidenceSums> = None;
        let mut total = 0.0;
        self.each(share, predict, |batch| {
            sums.add(batch.target_values, batch.predicted_values);
            let loss = loss(batch.predicted, batch.target).f_double_value(&[]).doing("reading the validation loss")?;
            total += loss * batch.target.size()[0] as f64;
            if let Some(expected) = batch.expected {
                let made = errors(batch.predicted, batch.target);
                confidence.get_or_insert_with(ConfidenceSums::new).add(&values(expected)?, &values(&made)?);
            }
            Ok(())
        })?;
        let mut numbers = vec![total];
        numbers.extend(sums.numbers());
        numbers.extend(confidence.iter().flat_map(ConfidenceSums::numbers));
        Ok(numbers)
    }

    /// Scores what `predict` makes of all rows; `loss` (predicted, target) is averaged beside it.
    pub fn score(
        &self,
        predict: impl FnMut(&Tensor) -> Result<Tensor>,
        loss: impl Fn(&Tensor, &Tensor) -> Tensor,
    ) -> Result<Found> {
        self.found(&[self.sums(Shard::WHOLE, predict, loss, losses::absolute)?])
    }

    /// What the sums of all shares found.
    pub fn found(&self, parts: &[Vec<f64>]) -> Result<Found> {
        let (mut sums, mut total) = (Sums::new(), 0.0);
        let mut confidence: Option<ConfidenceSums> = None;
        for part in parts {
            let (loss, part) = part.split_first().ok_or_else(|| common::Error::failed("an evaluation without sums"))?;
            let (scores, expected) = part.split_at(Sums::NUMBERS.min(part.len()));
            sums.merge(&Sums::of_numbers(scores)?);
            if !expected.is_empty() {
                confidence.get_or_insert_with(ConfidenceSums::new).merge(&ConfidenceSums::of_numbers(expected)?);
            }
            total += loss;
        }
        let confidence = confidence.map(|sums| sums.mean(&self.rules));
        Ok(Found { score: sums.score(&self.rules), loss: total / sums.rows() as f64, confidence })
    }

    /// Writes the out-of-fold file: what `predict` makes of the rows, with skipped columns and those of `zero_list`
    /// overwritten by "0 in physical units", and the constants that lead back to those units.
    pub fn write_oof(
        &self,
        path: &std::path::Path,
        constants: &Constants,
        metadata: &Value,
        zero_list: &[usize],
        predict: impl FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<(Written, Found)> {
        let rows = self.rows.rows() as usize;
        let tensors = [
            Declaration::new("predictions", Dtype::F32, &[rows, TARGETS]),
            Declaration::new("mean", Dtype::F64, &[TARGETS]),
            Declaration::new("std", Dtype::F64, &[TARGETS]),
        ];
        let mut writer = TensorWriter::create(path, &tensors, Some(metadata))?;
        writer.append_elements("mean", &constants.target_mean)?;
        writer.append_elements("std", &constants.target_std)?;
        let mut sums = Sums::new();
        let mut confidence: Option<ConfidenceSums> = None;
        self.each(Shard::WHOLE, predict, |batch| {
            let mut predicted = batch.predicted_values.to_vec();
            self.rules.overwrite(&mut predicted, zero_list);
            sums.add(batch.target_values, &predicted);
            if let Some(expected) = batch.expected {
                let made = losses::absolute(batch.predicted, batch.target);
                confidence.get_or_insert_with(ConfidenceSums::new).add(&values(expected)?, &values(&made)?);
            }
            writer.append_elements("predictions", &predicted)
        })?;
        let confidence = confidence.map(|sums| sums.mean(&self.rules));
        Ok((writer.finish()?, Found { score: sums.score(&self.rules), loss: f64::NAN, confidence }))
    }

    /// Runs over the batches of a share in order.
    fn each(
        &self,
        share: Shard,
        mut predict: impl FnMut(&Tensor) -> Result<Tensor>,
        mut take: impl FnMut(&Judged<'_>) -> Result<()>,
    ) -> Result<()> {
        let order = Arc::new(Order::new(self.rows.rows(), &Shuffle::Sequential, 0)?);
        let mut loader = Loader::dealt(Arc::clone(&self.rows), order, self.batch, share, Delivery::to(self.device))?;
        while let Some(batch) = loader.next_batch()? {
            if signals::interrupted() {
                return Err(interrupted());
            }
            let (inputs, target) = (&batch.tensors[0], &batch.tensors[1]);
            let output = tch::no_grad(|| with_autocast(self.precision, self.device, || predict(inputs)))?;
            let output = output.f_to_kind(Kind::Float).doing("evaluating")?;
            let (predicted, expected) = parts(&output);
            take(&Judged {
                predicted: &predicted,
                target,
                expected: expected.as_ref(),
                predicted_values: &values(&predicted)?,
                target_values: &values(target)?,
            })?;
        }
        Ok(())
    }
}

/// The loss that is minimised, of a network's whole output `[B, 368]` or `[B, 736]`.
pub fn training_loss(config: &LossConfig, output: &Tensor, target: &Tensor) -> Tensor {
    let (predicted, expected) = parts(output);
    // Behind the targets stands where and when the rows are, where a network learns that.
    let there = places(target);
    let target = &target.narrow(1, 0, TARGETS as i64);
    let mut loss = losses::full(&predicted, target, config.criterion(), config.differences);
    if let Some(expected) = expected.filter(|_| config.confidence > 0.0) {
        // Each target's own error is what is to be expected; no gradient runs through it.
        let made = errors(config, &predicted, target).detach();
        loss = &loss + config.criterion().mean(&expected, &made) * config.confidence;
    }
    if let (Some(predicted), Some(there)) = (places(output), there) {
        loss = &loss + losses::mse(&predicted, &there) * config.places;
    }
    loss
}

/// The error of every target of every row, as the loss counts it.
pub fn errors(config: &LossConfig, predicted: &Tensor, target: &Tensor) -> Tensor {
    config.criterion().each(predicted, target)
}

/// The loss that is reported of the validation rows.
pub fn validation_loss(config: &LossConfig, predicted: &Tensor, target: &Tensor) -> Tensor {
    let differences = if config.differences_in_validation { config.differences } else { 0.0 };
    losses::full(predicted, target, config.criterion(), differences)
}

/// `[B, 556]` rows through a network in evaluation mode: `[B, 368]`, and the errors that it expects of itself where it has
/// an output for them.
pub fn predict(network: &dyn Network, rows: &Tensor) -> Tensor {
    network.forward(&expand(rows), false)
}

/// All values of a tensor, row by row.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.f_to_device(Device::Cpu).and_then(|t| t.f_contiguous()).doing("reading predictions")?;
    Vec::<f32>::try_from(tensor.flatten(0, -1)).map_err(|e| common::Error::failed(format!("reading predictions: {e}")))
}
