//! Pretraining: hide tokens, reconstruct them, probe the encoder.

use std::sync::Arc;

use common::cli::signals;
use common::{Error, Result};
use neural::Doing;
use neural::loader::Shard;
use neural::precision::{Precision, with_autocast};
use neural::trainer::{Evaluated, Evaluation, Place, Task, Term, evaluate_alone, interrupted};
use serde_json::{Value, json};
use tch::{Device, Tensor};

use super::config::{DataConfig, Pretraining};
use super::{metric, read};
use crate::batch::{Batch, Draw};
use crate::dataset::{Events, Numbers};
use crate::masking::{Mask, random_mask};
use crate::models::mae::Mae;
use crate::probe::{Embedding, Probed, judge};

/// A pretraining in progress.
pub struct Pretrain {
    /// The network; its parameters are the trainer's.
    pub network: Mae,
    /// What is trained.
    pub config: Pretraining,
    /// Which events, and what happens to them.
    pub data: DataConfig,
    /// Training events.
    pub train: Arc<Events>,
    /// Validation events.
    pub valid: Arc<Events>,
    /// Seed of the run.
    pub seed: u64,
    /// Where it runs.
    pub device: Device,
    /// Number format of validation passes.
    pub precision: Precision,
    /// What checkpoints say.
    pub about: Value,
}

impl Pretrain {
    fn masks(&self, batch: &Batch, draw: Draw) -> Vec<Mask> {
        let tokens = batch.grouped.events.lengths().iter().enumerate();
        let ratio = self.config.network.masking_ratio;
        tokens.map(|(event, &n)| random_mask(n as usize, ratio, draw.seed, draw.step, draw.place(event))).collect()
    }

    /// Probes the encoder as it is now.
    pub fn probe(&self) -> Result<Option<Probed>> {
        let Some(config) = &self.config.svm else { return Ok(None) };
        let embedding = Embedding {
            encoder: &self.network.encoder,
            grouping: &self.config.network.encoder.tokenizer,
            transforms: &self.data.val_transforms,
            device: self.device,
        };
        let most = self.data.max_events.unwrap_or(u64::MAX);
        let train = embedding.gather(&self.train, most, config, true)?;
        let valid = embedding.gather(&self.valid, self.data.max_valid_events.unwrap_or(u64::MAX), config, false)?;
        Ok(Some(judge(&train, &valid, config)?))
    }
}

impl Task for Pretrain {
    fn loss(&mut self, batch: &[Tensor], step: u64) -> Result<Tensor> {
        Term::sum(&self.terms(batch, Place::of(step))?)
    }

    /// Chamfer distances are averaged over hidden groups, energies over their points.
    fn terms(&mut self, batch: &[Tensor], place: Place) -> Result<Vec<Term>> {
        let numbers = Numbers::of(&batch[0])?;
        let (points, _) = read(&self.train, &numbers)?;
        let grouping = &self.config.network.encoder.tokenizer;
        let draw = Draw { seed: self.seed, step: place.step, first: place.first };
        let batch = Batch::new(points, &self.data.train_transforms, grouping, draw, self.device)?;
        let masks = self.masks(&batch, draw);
        Ok(self.network.losses(&batch.grouped, &masks, true)?.terms)
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        evaluate_alone(self)
    }

    fn evaluate_share(&mut self, share: Shard) -> Result<Option<Vec<f64>>> {
        let grouping = &self.config.network.encoder.tokenizer;
        let events = self.data.max_valid_events.unwrap_or(u64::MAX).min(self.valid.len());
        let (mut total, mut chamfer, mut energy, mut rows) = (0.0, 0.0, 0.0, 0.0);
        let size = self.data.val_batch_size;
        for number in (share.rank..events.div_ceil(size)).step_by(share.world as usize) {
            if signals::interrupted() {
                return Err(interrupted());
            }
            let range: Vec<u64> = (number * size..((number + 1) * size).min(events)).collect();
            let (points, _) = read(&self.valid, &range)?;
            // The masks of validation are the same at every evaluation, so its losses can be compared.
            let draw = Draw { seed: self.seed ^ VALIDATION, step: number, first: 0 };
            let batch = Batch::new(points, &self.data.val_transforms, grouping, draw, self.device)?;
            let masks = self.masks(&batch, draw);
            if masks.iter().all(|mask| mask.masked.is_empty()) {
                continue;
            }
            let losses = tch::no_grad(|| {
                with_autocast(self.precision, self.device, || self.network.losses(&batch.grouped, &masks, false))
            })?;
            let value = |t: &Tensor| t.f_double_value(&[]).doing("reading a validation loss");
            let weight = range.len() as f64;
            total += value(&losses.total)? * weight;
            chamfer += value(&losses.chamfer)? * weight;
            energy += losses.energy.as_ref().map_or(Ok(0.0), value)? * weight;
            rows += weight;
        }
        Ok(Some(vec![total, chamfer, energy, rows]))
    }

    fn evaluation_of(&mut self, parts: &[Vec<f64>]) -> Result<Evaluation> {
        let sum = |i: usize| parts.iter().map(|part| part[i]).sum::<f64>();
        let (total, chamfer, energy, rows) = (sum(0), sum(1), sum(2), sum(3));
        if rows == 0.0 {
            return Err(Error::failed("no validation event has a token to hide")
                .hint("raise `model.mae.network.masking_ratio`, or prepare larger events"));
        }
        let mut metrics = vec![metric("loss", total / rows), metric("loss/chamfer", chamfer / rows)];
        if self.config.network.energy_infilling {
            metrics.push(metric("loss/energy", energy / rows));
        }
        // The probe solves one problem over all tokens: it is not shared out.
        if let Some(probed) = self.probe()? {
            metrics.extend(probed.figures().iter().map(|(name, value)| metric(name, *value)));
        }
        Ok(Evaluation { score: total / rows, metrics, detail: Value::Null })
    }

    fn less_memory(&self) -> Vec<String> {
        let groups = self.config.network.encoder.tokenizer.max_groups.map_or(vec![], |n| vec![n / 2]);
        groups.into_iter().map(|n| format!("model.mae.network.encoder.tokenizer.max_groups={n}")).collect()
    }

    fn metadata(&self, best: Option<&Evaluated>) -> Value {
        let mut about = self.about.clone();
        if let Some(best) = best {
            about["score"] = json!(best.score);
        }
        about
    }
}

/// Keeps the draws of validation apart from those of training.
const VALIDATION: u64 = 0x7661_6c69_6461_7465;
