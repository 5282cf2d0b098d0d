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

use super::config::LossConfig;
use crate::columns::TARGETS;
use crate::layout::expand;
use crate::losses;
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
}

impl Evaluator {
    /// Sums over one share of the rows of what `predict` makes of them; `loss` (predicted, target) is summed beside it.
    pub fn sums(
        &self,
        share: Shard,
        predict: impl FnMut(&Tensor) -> Result<Tensor>,
        loss: impl Fn(&Tensor, &Tensor) -> Tensor,
    ) -> Result<Vec<f64>> {
        let mut sums = Sums::new();
        let mut total = 0.0;
        self.each(share, predict, |predicted, target, tensors| {
            sums.add(target, predicted);
            let (predicted, target) = tensors;
            total += loss(predicted, target).f_double_value(&[]).doing("reading the validation loss")?
                * target.size()[0] as f64;
            Ok(())
        })?;
        let mut numbers = sums.numbers();
        numbers.push(total);
        Ok(numbers)
    }

    /// Scores what `predict` makes of all rows; `loss` (predicted, target) is averaged beside it.
    pub fn score(
        &self,
        predict: impl FnMut(&Tensor) -> Result<Tensor>,
        loss: impl Fn(&Tensor, &Tensor) -> Tensor,
    ) -> Result<Found> {
        self.found(&[self.sums(Shard::WHOLE, predict, loss)?])
    }

    /// What the sums of all shares found.
    pub fn found(&self, parts: &[Vec<f64>]) -> Result<Found> {
        let (mut sums, mut total) = (Sums::new(), 0.0);
        for part in parts {
            let (loss, part) = part.split_last().ok_or_else(|| common::Error::failed("an evaluation without sums"))?;
            sums.merge(&Sums::of_numbers(part)?);
            total += loss;
        }
        Ok(Found { score: sums.score(&self.rules), loss: total / sums.rows() as f64 })
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
        self.each(Shard::WHOLE, predict, |predicted, target, _| {
            let mut values = predicted.to_vec();
            self.rules.overwrite(&mut values, zero_list);
            sums.add(target, &values);
            writer.append_elements("predictions", &values)
        })?;
        Ok((writer.finish()?, Found { score: sums.score(&self.rules), loss: f64::NAN }))
    }

    /// Runs over the batches of a share in order: predictions and targets as values and as tensors `[B, 368]`.
    fn each(
        &self,
        share: Shard,
        mut predict: impl FnMut(&Tensor) -> Result<Tensor>,
        mut take: impl FnMut(&[f32], &[f32], (&Tensor, &Tensor)) -> Result<()>,
    ) -> Result<()> {
        let order = Arc::new(Order::new(self.rows.rows(), &Shuffle::Sequential, 0)?);
        let mut loader = Loader::dealt(Arc::clone(&self.rows), order, self.batch, share, Delivery::to(self.device))?;
        while let Some(batch) = loader.next_batch()? {
            if signals::interrupted() {
                return Err(interrupted());
            }
            let (inputs, target) = (&batch.tensors[0], &batch.tensors[1]);
            let predicted = tch::no_grad(|| with_autocast(self.precision, self.device, || predict(inputs)))?;
            let predicted = predicted.f_to_kind(Kind::Float).doing("evaluating")?;
            take(&values(&predicted)?, &values(target)?, (&predicted, target))?;
        }
        Ok(())
    }
}

/// The loss that is minimised, `[B, 368]` each.
pub fn training_loss(config: &LossConfig, predicted: &Tensor, target: &Tensor) -> Tensor {
    losses::full(predicted, target, config.beta, config.differences)
}

/// The loss that is reported of the validation rows.
pub fn validation_loss(config: &LossConfig, predicted: &Tensor, target: &Tensor) -> Tensor {
    let differences = if config.differences_in_validation { config.differences } else { 0.0 };
    losses::full(predicted, target, config.beta, differences)
}

/// `[B, 556]` rows through a network in evaluation mode.
pub fn predict(network: &dyn Network, rows: &Tensor) -> Tensor {
    network.forward(&expand(rows), false)
}

/// All values of a tensor, row by row.
pub fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.f_to_device(Device::Cpu).and_then(|t| t.f_contiguous()).doing("reading predictions")?;
    Vec::<f32>::try_from(tensor.flatten(0, -1)).map_err(|e| common::Error::failed(format!("reading predictions: {e}")))
}
