//! Training the step-ahead network: the task that the trainer runs, and a whole run.

pub mod config;
mod run;

use std::sync::Arc;

use common::Result;
use common::cli::signals;
use neural::Doing;
use neural::loader::{Delivery, Loader, Source};
use neural::trainer::{Evaluated, Evaluation, Metric, Task, interrupted};
use serde_json::{Value, json};
use tch::{Device, Tensor};

use crate::batch::Batch;
use crate::density::DensityMap;
use crate::losses::point_in_area;
use crate::metrics::StepMetrics;
use crate::models::StepAhead;
use crate::normalizer::Normalizer;
pub use config::TrainConfig;
pub use neural::trainer::Options;
pub use run::{Trained, train};

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
    /// Mean loss over batches, weighted by tracks, and metrics, of the first `most` batches.
    pub fn validate(&self, most: Option<u64>) -> Result<(f64, StepMetrics)> {
        let delivery = Delivery { device: self.device, workers: 1, ahead: 4 };
        let mut loader = Loader::sequential(Arc::clone(&self.valid), self.val_batch_size, delivery)?;
        let mut metrics = StepMetrics::default();
        let (mut sum, mut count, mut done) = (0.0, 0.0, 0);
        while let Some(found) = loader.next_batch()? {
            if signals::interrupted() {
                return Err(interrupted());
            }
            let batch = Batch::cut(&found.tensors[0], &found.tensors[1].squeeze_dim(-1));
            let (outputs, loss) = tch::no_grad(|| {
                let outputs = self.network.forward(&batch.inputs, &batch.lengths);
                let loss = point_in_area(&outputs, &batch.targets, &batch.mask, self.alpha);
                (outputs, loss)
            });
            let tracks = batch.inputs.size()[0] as f64;
            sum += loss.f_double_value(&[]).doing("reading the validation loss")? * tracks;
            count += tracks;
            metrics.add(&outputs, &batch.targets, &batch.mask, self.map.as_ref().map(|map| (map, &self.normalizer)))?;
            done += 1;
            if most.is_some_and(|most| done >= most) {
                break;
            }
        }
        Ok((sum / count, metrics))
    }
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
    fn loss(&mut self, batch: &[Tensor], _step: u64) -> Result<Tensor> {
        let batch = Batch::cut(&batch[0], &batch[1].squeeze_dim(-1));
        let outputs = self.network.forward(&batch.inputs, &batch.lengths);
        let loss = point_in_area(&outputs, &batch.targets, &batch.mask, self.alpha);
        let detached = crate::models::Outputs {
            coords_1: outputs.coords_1.detach(),
            radius_1: outputs.radius_1.detach(),
            coords_2: outputs.coords_2.detach(),
            radius_2: outputs.radius_2.detach(),
        };
        self.last = Some((batch, detached));
        Ok(loss)
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
            ("valid/score", "val_loss"),
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
        let (loss, metrics) = self.validate(None)?;
        Ok(Evaluation { score: loss, metrics: named(&metrics, self.map.is_some()), detail: Value::Null })
    }

    fn metadata(&self, best: Option<&Evaluated>) -> Value {
        let mut about = self.about.clone();
        if let Some(best) = best {
            about["val_loss"] = json!(best.score);
        }
        about
    }
}
