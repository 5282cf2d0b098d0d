//! Training the step-ahead network: the task that the trainer runs, and a whole run.

mod asked;
pub mod config;
mod run;
mod task;

use std::sync::Arc;

use common::cli::signals;
use common::criterion::Criterion;
use common::{Error, Result};
use neural::loader::{Delivery, Loader, Order, Shard, Shuffle, Source};
use neural::trainer::{Evaluated, Evaluation, Metric, Place, Task, Term, evaluate_alone, interrupted};
use neural::{Doing, parallel};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::batch::Batch;
use crate::density::DensityMap;
use crate::losses::point_in_area;
use crate::metrics::StepMetrics;
use crate::models::StepAhead;
use crate::normalizer::Normalizer;
pub use config::TrainConfig;
pub use neural::trainer::Options;
pub use run::{Trained, begin_with, train};
pub use task::Train;

/// The network in training.
pub struct TrackTask {
    /// The network; its parameters are the trainer's.
    pub network: StepAhead,
    /// Weight of the distance in the loss.
    pub alpha: f64,
    /// Validating tracks.
    pub valid: Arc<dyn Source>,
    /// Tracks of a validating batch. As published, the loss is a mean over batches, so it depends on them.
    pub val_batch_size: u64,
    /// Where the network runs.
    pub device: Device,
    /// Expected hits, for the density metric.
    pub map: Option<DensityMap>,
    /// How positions are normalised.
    pub normalizer: Normalizer,
    /// What checkpoints say.
    pub about: Value,
    /// The last training batch, for its metrics.
    pub last: Option<(Batch, crate::models::Outputs)>,
}

impl TrackTask {
    /// Mean loss over batches, weighted by tracks, and metrics.
    pub fn validate(&self) -> Result<(f64, StepMetrics)> {
        let found = self.validate_share(Shard::WHOLE)?;
        Ok((found.sum / found.tracks, found.metrics))
    }

    /// Sums over the batches of one share.
    fn validate_share(&self, share: Shard) -> Result<Validated> {
        let delivery = Delivery { device: self.device, workers: 1, ahead: 4 };
        let order = Arc::new(Order::new(self.valid.rows(), &Shuffle::Sequential, 0)?);
        let mut loader = Loader::dealt(Arc::clone(&self.valid), order, self.val_batch_size, share, delivery)?;
        let mut found = Validated::default();
        while let Some(batch) = loader.next_batch()? {
            if signals::interrupted() {
                return Err(interrupted());
            }
            let batch = Batch::cut(&batch.tensors[0], &batch.tensors[1].squeeze_dim(-1));
            let (outputs, loss) = tch::no_grad(|| {
                let outputs = self.network.forward(&batch.inputs, &batch.lengths);
                let loss = point_in_area(&outputs, &batch.targets, &batch.mask, self.alpha);
                (outputs, loss)
            });
            let tracks = batch.inputs.size()[0] as f64;
            found.sum += loss.f_double_value(&[]).doing("reading the validation loss")? * tracks;
            found.tracks += tracks;
            let map = self.map.as_ref().map(|map| (map, &self.normalizer));
            found.metrics.add(&outputs, &batch.targets, &batch.mask, map)?;
        }
        Ok(found)
    }
}

/// Sums over validating batches.
#[derive(Debug, Default)]
struct Validated {
    /// Of the loss of each batch times its tracks.
    sum: f64,
    tracks: f64,
    metrics: StepMetrics,
}

/// The figures of both horizons under the names of the original.
fn named(metrics: &StepMetrics, density: bool) -> Vec<Metric> {
    let mut all = Vec::new();
    for horizon in 0..2 {
        let Some(figures) = metrics.figures(horizon, density) else { continue };
        let mut push = |name: &str, value| all.push(Metric { name: format!("{name}_t{}", horizon + 1), value });
        push("search_area", figures.search_area);
        push("hit_efficiency", figures.hit_efficiency);
        if let Some(value) = figures.hit_density {
            push("hit_density", value);
        }
    }
    all
}

impl Task for TrackTask {
    fn loss(&mut self, batch: &[Tensor], step: u64) -> Result<Tensor> {
        Term::sum(&self.terms(batch, Place::of(step))?)
    }

    /// A mean over next hits, of which tracks have different numbers.
    fn terms(&mut self, batch: &[Tensor], _place: Place) -> Result<Vec<Term>> {
        let batch = Batch::cut(&batch[0], &batch[1].squeeze_dim(-1));
        let outputs = self.network.forward(&batch.inputs, &batch.lengths);
        let mean = point_in_area(&outputs, &batch.targets, &batch.mask, self.alpha);
        // What weighs this mean against those of other processes.
        let count = match parallel::group() {
            Some(_) => batch.mask.sum(Kind::Double).f_double_value(&[]).doing("counting hits")?,
            None => 1.0,
        };
        let detached = crate::models::Outputs {
            coords_1: outputs.coords_1.detach(),
            radius_1: outputs.radius_1.detach(),
            coords_2: outputs.coords_2.detach(),
            radius_2: outputs.radius_2.detach(),
        };
        self.last = Some((batch, detached));
        Ok(vec![Term { mean, count }])
    }

    fn step_metrics(&mut self) -> Result<Vec<Metric>> {
        let Some((batch, outputs)) = &self.last else { return Ok(vec![]) };
        let mut metrics = StepMetrics::default();
        metrics.add(outputs, &batch.targets, &batch.mask, None)?;
        Ok(named(&metrics, false))
    }

    fn published_name(&self, name: &str) -> Option<&'static str> {
        const NAMES: [(&str, &str); 13] = [
            ("train/batch_loss", "train_loss"),
            ("train/search_area_t1", "train_search_area_t1"),
            ("train/search_area_t2", "train_search_area_t2"),
            ("train/hit_efficiency_t1", "train_hit_efficiency_t1"),
            ("train/hit_efficiency_t2", "train_hit_efficiency_t2"),
            ("valid/loss", "val_loss"),
            ("valid/search_area_t1", "val_search_area_t1"),
            ("valid/search_area_t2", "val_search_area_t2"),
            ("valid/hit_efficiency_t1", "val_hit_efficiency_t1"),
            ("valid/hit_efficiency_t2", "val_hit_efficiency_t2"),
            ("valid/hit_density_t1", "val_hit_density_t1"),
            ("valid/hit_density_t2", "val_hit_density_t2"),
            ("lr", "lr-Adam"),
        ];
        NAMES.iter().find(|(ours, _)| *ours == name).map(|(_, theirs)| *theirs)
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        evaluate_alone(self)
    }

    fn evaluate_share(&mut self, share: Shard) -> Result<Option<Vec<f64>>> {
        let found = self.validate_share(share)?;
        Ok(Some([vec![found.sum, found.tracks], found.metrics.numbers()].concat()))
    }

    fn evaluation_of(&mut self, parts: &[Vec<f64>]) -> Result<Evaluation> {
        let (mut sum, mut tracks, mut metrics) = (0.0, 0.0, StepMetrics::default());
        for part in parts {
            let [loss, count, rest @ ..] = part.as_slice() else {
                return Err(Error::failed("an evaluation without sums"));
            };
            sum += loss;
            tracks += count;
            metrics.add_numbers(rest)?;
        }
        let metrics = named(&metrics, self.map.is_some());
        Ok(Evaluation::by(Criterion::lower("loss"), sum / tracks, metrics, Value::Null))
    }

    fn metadata(&self, best: Option<&Evaluated>) -> Value {
        let mut about = self.about.clone();
        if let Some(best) = best {
            about["val_loss"] = json!(best.score);
        }
        about
    }
}
