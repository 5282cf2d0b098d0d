//! Pretraining: hide tokens, reconstruct them, probe the encoder.

use common::cli::signals;
use common::criterion::Criterion;
use common::{Error, Result};
use neural::Doing;
use neural::loader::Shard;
use neural::precision::with_autocast;
use neural::trainer::{Evaluated, Evaluation, Place, Task, Term, evaluate_alone, interrupted};
use serde_json::Value;
use tch::Tensor;

use super::config::Pretraining;
use super::metric;
use super::setup::Setup;
use crate::batch::{Batch, Draw};
use crate::masking::{Mask, random_mask};
use crate::models::mae::Mae;
use crate::probe::{Embedding, Probed, judge};

/// A pretraining in progress.
pub struct Pretrain {
    /// The network; its parameters are the trainer's.
    pub network: Mae,
    /// What is trained.
    pub config: Pretraining,
    /// Events, seed, device.
    pub setup: Setup,
}

impl Pretrain {
    fn masks(&self, batch: &Batch, draw: Draw<'_>) -> Vec<Mask> {
        let tokens = batch.grouped.events.lengths().iter().zip(draw.events);
        let ratio = self.config.network.masking_ratio;
        tokens.map(|(&n, &event)| random_mask(n as usize, ratio, draw.seed, draw.step, event)).collect()
    }

    /// Probes the encoder as it is now.
    pub fn probe(&self) -> Result<Option<Probed>> {
        let Some(config) = &self.config.svm else { return Ok(None) };
        if !self.setup.train.labelled() || !self.setup.valid.labelled() {
            tracing::info!("no probe: the events have no labels");
            return Ok(None);
        }
        let embedding = Embedding {
            encoder: &self.network.encoder,
            grouping: &self.setup.grouping,
            transforms: &self.setup.data.val_transforms,
            device: self.setup.device,
        };
        let most = self.setup.data.max_events.unwrap_or(u64::MAX);
        let train = embedding.gather(&self.setup.train, most, config, true)?;
        let valid = embedding.gather(&self.setup.valid, self.setup.valid_events(), config, false)?;
        Ok(Some(judge(&train, &valid, config)?))
    }
}

impl Task for Pretrain {
    fn loss(&mut self, chosen: &[Tensor], step: u64) -> Result<Tensor> {
        Term::sum(&self.terms(chosen, Place::of(step))?)
    }

    /// Chamfer distances are averaged over hidden groups, energies over their points.
    fn terms(&mut self, chosen: &[Tensor], place: Place) -> Result<Vec<Term>> {
        let (batch, events, _) = self.setup.training_batch(chosen, place.step)?;
        let masks = self.masks(&batch, Draw { seed: self.setup.seed, step: place.step, events: &events });
        Ok(self.network.losses(&batch.grouped, &masks, true)?.terms)
    }

    fn looks_ahead(&self) -> bool {
        self.setup.looks_ahead()
    }

    fn ahead(&mut self, chosen: &[Tensor], step: u64) -> Result<()> {
        self.setup.ahead(chosen, step)
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        evaluate_alone(self)
    }

    fn evaluate_share(&mut self, share: Shard) -> Result<Option<Vec<f64>>> {
        let Setup { precision, device, .. } = self.setup;
        let events = self.setup.valid_events();
        let (mut total, mut chamfer, mut energy, mut rows) = (0.0, 0.0, 0.0, 0.0);
        let size = self.setup.data.val_batch_size;
        for number in (share.rank..events.div_ceil(size)).step_by(share.world as usize) {
            if signals::interrupted() {
                return Err(interrupted());
            }
            let range: Vec<u64> = (number * size..((number + 1) * size).min(events)).collect();
            // The masks of validation are the same at every evaluation, so its losses can be compared.
            let draw = Draw { seed: self.setup.seed ^ VALIDATION, step: number, events: &range };
            let (batch, _) = self.setup.batch(&self.setup.valid, &self.setup.data.val_transforms, draw)?;
            let masks = self.masks(&batch, draw);
            if masks.iter().all(|mask| mask.masked.is_empty()) {
                continue;
            }
            let losses = tch::no_grad(|| {
                with_autocast(precision, device, || self.network.losses(&batch.grouped, &masks, false))
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
            return Err(Error::input(self.setup.valid.place(), "no validation event has a token to hide")
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
        Ok(Evaluation::by(Criterion::lower("loss"), total / rows, metrics, Value::Null))
    }

    fn less_memory(&self) -> Vec<String> {
        let groups = self.setup.grouping.max_groups.map_or(vec![], |n| vec![n / 2]);
        groups.into_iter().map(|n| format!("model.mae.network.encoder.tokenizer.max_groups={n}")).collect()
    }

    fn metadata(&self, best: Option<&Evaluated>) -> Value {
        self.setup.metadata(best)
    }
}

/// Keeps the draws of validation apart from those of training.
const VALIDATION: u64 = 0x7661_6c69_6461_7465;
