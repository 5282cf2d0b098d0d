//! What every training has, whatever is trained: events, what happens to them, seed, device.

use std::sync::Arc;

use common::Result;
use neural::precision::Precision;
use neural::trainer::Evaluated;
use serde_json::{Value, json};
use tch::{Device, Tensor};

use super::ahead::Ahead;
use super::config::DataConfig;
use crate::batch::{Batch, Draw};
use crate::classes::{PARTICLE_NAMES, names};
use crate::dataset::{EventView, Events, Numbers, Target};
use crate::grouping::GroupingConfig;
use crate::transforms::Transform;

/// Semantic type of each point of each event.
pub(super) type Labels = Vec<Vec<i64>>;

/// The surroundings of a network in training.
pub struct Setup {
    /// Which events, and what happens to them.
    pub data: DataConfig,
    /// How their points are grouped.
    pub grouping: GroupingConfig,
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
    /// The batch after the one at hand.
    pub(super) next: Ahead,
}

impl Setup {
    /// The events that the loader chose for a step, with their numbers and labels.
    pub(super) fn training_batch(&mut self, chosen: &[Tensor], step: u64) -> Result<(Batch, Vec<u64>, Labels)> {
        let events = Numbers::of(&chosen[0])?;
        if let Some((prepared, labels)) = self.next.take(step, &events)? {
            return Ok((Batch::of(prepared, &events, self.device)?, events, labels));
        }
        let draw = Draw { seed: self.seed, step, events: &events };
        let (batch, labels) = self.batch(&self.train, &self.data.train_transforms, draw)?;
        Ok((batch, events, labels))
    }

    /// Whether the CPU prepares batches beside what the GPU does.
    pub(super) fn looks_ahead(&self) -> bool {
        self.device.is_cuda() && self.data.group_ahead
    }

    /// Begins with the batch of a later step.
    pub(super) fn ahead(&mut self, chosen: &[Tensor], step: u64) -> Result<()> {
        let events = Numbers::of(&chosen[0])?;
        let (set, transforms) = (Arc::clone(&self.train), self.data.train_transforms.clone());
        self.next.begin((set, self.data.target), transforms, self.grouping.clone(), (self.seed, step, events))
    }

    /// Events of a set, by the numbers of `draw`.
    pub(super) fn batch(&self, set: &Events, chain: &[Transform], draw: Draw<'_>) -> Result<(Batch, Labels)> {
        let views = draw.events.iter().map(|&i| set.get(i)).collect::<Result<Vec<EventView>>>()?;
        let labels = views.iter().map(|view| view.labels_of(self.data.target)).collect();
        let points = views.iter().map(|view| set.rows(view)).collect();
        Ok((Batch::new(points, chain, &self.grouping, draw, self.device)?, labels))
    }

    /// Names of the classes that points are given.
    pub(super) fn class_names(&self, count: usize) -> Vec<String> {
        class_names(self.data.target, count, &self.about)
    }

    /// Validation events: all of them, or as many as the config allows.
    pub(super) fn valid_events(&self) -> u64 {
        self.data.max_valid_events.unwrap_or(u64::MAX).min(self.valid.len())
    }

    /// What a checkpoint says about itself, with the score of its best evaluation.
    pub(super) fn metadata(&self, best: Option<&Evaluated>) -> Value {
        let mut about = self.about.clone();
        if let Some(best) = best {
            about["score"] = json!(best.shown());
        }
        about
    }
}

/// Names of so many classes of a target, by what a checkpoint says of the events that it learned from.
pub(crate) fn class_names(target: Target, count: usize, about: &Value) -> Vec<String> {
    let given = match target {
        Target::Particle => PARTICLE_NAMES.map(String::from).to_vec(),
        Target::Semantic => serde_json::from_value(about["data"]["classes"].clone()).unwrap_or_default(),
    };
    names(count, &given)
}
