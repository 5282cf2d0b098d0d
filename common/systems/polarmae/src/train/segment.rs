//! Fine-tuning: a class for every point.

use common::Result;
use common::cli::signals;
use common::criterion::Criterion;
use neural::loader::Shard;
use neural::precision::with_autocast;
use neural::trainer::{Evaluated as TrainerEvaluated, Evaluation, Place, Task, Term, evaluate_alone, interrupted};
use neural::{Doing, device};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::config::{EncoderMode, SegmentationTask};
use super::metric;
use super::setup::Setup;
use crate::batch::Draw;
use crate::confusion::{Confusion, event_iou};
use crate::models::segmentation::Segmentation;

/// A segmentation in training.
pub struct Segment {
    /// The network; its parameters are the trainer's.
    pub network: Segmentation,
    /// What is trained.
    pub config: SegmentationTask,
    /// Events, seed, device.
    pub setup: Setup,
}

impl Task for Segment {
    fn loss(&mut self, chosen: &[Tensor], step: u64) -> Result<Tensor> {
        Term::sum(&self.terms(chosen, Place::of(step))?)
    }

    /// Means over labelled points, by weight or by number.
    fn terms(&mut self, chosen: &[Tensor], place: Place) -> Result<Vec<Term>> {
        let (batch, _, labels) = self.setup.training_batch(chosen, place.step)?;
        let (network, device) = (&self.config.network, self.setup.device);
        let points = batch.point_batch(network.ghost_neighbors, device);
        let encoder_train = self.config.encoder != EncoderMode::Frozen;
        let logits = self.network.forward(&batch.grouped, &points, true, encoder_train)?;
        let labels: Vec<i64> = labels.iter().flatten().map(|&l| known(l, network.num_classes)).collect();
        let labels = device::placed(&Tensor::from_slice(&labels), device);
        self.config.loss.terms(&logits, &labels, &self.network.class_weights)
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
        Ok(Some(self.validate(share)?.numbers()))
    }

    fn evaluation_of(&mut self, parts: &[Vec<f64>]) -> Result<Evaluation> {
        let mut found = Evaluated::new(self.config.network.num_classes);
        for part in parts {
            found.add_numbers(part)?;
        }
        let names = self.setup.class_names(self.config.network.num_classes);
        let names: &[&str] = &names.iter().map(String::as_str).collect::<Vec<_>>();
        let pooled = &found.pooled;
        let f1 = pooled.f1();
        let mut metrics = vec![
            metric("loss", found.loss),
            metric("f1", pooled.macro_mean(&f1)),
            metric("f1_majority", pooled.majority_f1()),
            metric("accuracy", pooled.accuracy()),
            metric("precision", pooled.macro_mean(&pooled.precision())),
            metric("recall", pooled.macro_mean(&pooled.recall())),
            metric("iou", pooled.macro_mean(&pooled.iou())),
            metric("iou_events", found.event_iou.iter().sum::<f64>() / found.event_iou.len().max(1) as f64),
            metric("batch_mean/f1", found.batch_f1),
            metric("batch_mean/accuracy", found.batch_accuracy),
        ];
        metrics.extend(names.iter().zip(&f1).map(|(name, v)| metric(&format!("f1/{name}"), *v)));
        metrics.extend(names.iter().zip(pooled.iou()).map(|(name, v)| metric(&format!("iou/{name}"), v)));
        Ok(Evaluation::by(Criterion::higher("f1"), pooled.macro_mean(&f1), metrics, pooled.figures(names)))
    }

    fn less_memory(&self) -> Vec<String> {
        let groups = self.setup.grouping.max_groups.map_or(vec![], |n| vec![n / 2]);
        groups.into_iter().map(|n| format!("model.segmentation.network.encoder.tokenizer.max_groups={n}")).collect()
    }

    fn metadata(&self, best: Option<&TrainerEvaluated>) -> Value {
        self.setup.metadata(best)
    }
}

/// Labels beyond the classes count for nothing.
fn known(label: i64, classes: usize) -> i64 {
    if (0..classes as i64).contains(&label) { label } else { crate::losses::IGNORED }
}

/// What one pass over a set found.
#[derive(Debug, Clone)]
struct Evaluated {
    /// Counts of all points.
    pub pooled: Confusion,
    /// Mean of the loss, weighted by events.
    pub loss: f64,
    /// Intersection over union of each class, averaged over events, classes absent from an event counting as 1.
    pub event_iou: Vec<f64>,
    /// Mean of the batches' macro F1, as published logs have it.
    pub batch_f1: f64,
    /// The same of the accuracy.
    pub batch_accuracy: f64,
}

impl Evaluated {
    fn new(classes: usize) -> Self {
        let (pooled, event_iou) = (Confusion::new(classes), vec![0.0; classes]);
        Self { pooled, loss: 0.0, event_iou, batch_f1: 0.0, batch_accuracy: 0.0 }
    }

    /// Everything as numbers, to be sent to another process.
    fn numbers(&self) -> Vec<f64> {
        let counts = self.pooled.rows().concat();
        let counts = counts.into_iter().map(|n| n as f64);
        let means = [self.loss, self.batch_f1, self.batch_accuracy];
        means.into_iter().chain(self.event_iou.iter().copied()).chain(counts).collect()
    }

    /// Adds what [`Evaluated::numbers`] gave of other batches: all means are shares of those over all events.
    fn add_numbers(&mut self, numbers: &[f64]) -> Result<()> {
        let classes = self.event_iou.len();
        if numbers.len() != 3 + classes + classes * classes {
            let found = format!("{} numbers of an evaluation of {classes} classes", numbers.len());
            return Err(common::Error::failed(found));
        }
        self.loss += numbers[0];
        self.batch_f1 += numbers[1];
        self.batch_accuracy += numbers[2];
        self.event_iou.iter_mut().zip(&numbers[3..]).for_each(|(sum, part)| *sum += part);
        let counts = numbers[3 + classes..].iter().map(|&n| n as u64).collect();
        self.pooled.merge(&Confusion::of_counts(classes, counts));
        Ok(())
    }
}

impl Segment {
    /// Predicts the validation events of one share and counts.
    fn validate(&self, share: Shard) -> Result<Evaluated> {
        let Setup { precision, device, seed, .. } = self.setup;
        let network = &self.config.network;
        let classes = network.num_classes;
        let (count, size) = (self.setup.valid_events(), self.setup.data.val_batch_size);
        let mut found = Evaluated::new(classes);
        for number in (share.rank..count.div_ceil(size)).step_by(share.world as usize) {
            if signals::interrupted() {
                return Err(interrupted());
            }
            let range: Vec<u64> = (number * size..((number + 1) * size).min(count)).collect();
            let draw = Draw { seed, step: number, events: &range };
            let (batch, labels) = self.setup.batch(&self.setup.valid, &self.setup.data.val_transforms, draw)?;
            let points = batch.point_batch(network.ghost_neighbors, device);
            let logits = tch::no_grad(|| {
                with_autocast(precision, device, || self.network.forward(&batch.grouped, &points, false, false))
            })?;
            let flat: Vec<i64> = labels.iter().flatten().map(|&l| known(l, classes)).collect();
            let target = device::placed(&Tensor::from_slice(&flat), device);
            let loss = tch::no_grad(|| self.config.loss.forward(&logits, &target, &self.network.class_weights));
            let weight = range.len() as f64 / count.max(1) as f64;
            found.loss += loss.f_double_value(&[]).doing("reading a validation loss")? * weight;
            let predicted = classes_of(&logits)?;
            let mut counted = Confusion::new(classes);
            counted.add(&flat, &predicted);
            found.batch_f1 += counted.macro_mean(&counted.f1()) * weight;
            found.batch_accuracy += counted.accuracy() * weight;
            found.pooled.merge(&counted);
            for (start, length) in points.runs.iter() {
                let rows = start as usize..(start + length) as usize;
                let iou = event_iou(&flat[rows.clone()], &predicted[rows], classes);
                found.event_iou.iter_mut().zip(iou).for_each(|(sum, v)| *sum += v / count.max(1) as f64);
            }
        }
        Ok(found)
    }
}

/// The class of each row: the largest logit, the lowest class among equal ones.
pub(crate) fn classes_of(logits: &Tensor) -> Result<Vec<i64>> {
    let best = logits.argmax(-1, false).to_device(Device::Cpu).to_kind(Kind::Int64);
    Vec::try_from(best).map_err(|e| common::Error::failed(format!("reading predictions: {e}")))
}
