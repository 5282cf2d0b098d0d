//! Training one network: the task that the trainer runs, what its checkpoints say about themselves, and the predictions
//! of the validation events.

pub mod config;
pub mod published;
mod run;
mod task;

use std::sync::Arc;

use common::cli::signals;
use common::{Error, Result};
use neural::Doing;
use neural::loader::{Delivery, Loader, Order, Shard, Source};
use neural::precision::{Precision, with_autocast};
use neural::trainer::{Evaluated, Evaluation, Metric, Task, evaluate_alone, interrupted};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::batch::Batch;
use crate::losses::{self, LossKind, Normalisation};
use crate::models::Network;
pub use config::{Experiment, KappaFilter, Select, TrainConfig};
pub use neural::trainer::Options;
pub use run::{
    Data, HISTORY, OOF, Trained, about, begin_with, data, identity_of_filter, result_weights, train, weights_of,
};
pub use task::Train;

/// Events in a fixed order, for validation and prediction.
#[derive(Clone)]
pub struct Visits {
    /// The events.
    pub source: Arc<dyn Source>,
    /// Their order, in batches of similar length.
    pub order: Arc<Order>,
    /// Events of a batch.
    pub batch: u64,
}

impl Visits {
    /// Calls `take` with every batch, in order.
    ///
    /// # Errors
    /// What reading and `take` report; an interruption.
    pub fn each(&self, device: Device, take: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
        self.each_of(Shard::WHOLE, device, take)
    }

    /// [`Visits::each`] with the batches of one share, dealt out in turn.
    ///
    /// # Errors
    /// As there.
    pub fn each_of(&self, share: Shard, device: Device, mut take: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
        let (source, order) = (Arc::clone(&self.source), Arc::clone(&self.order));
        let mut loader = Loader::dealt(source, order, self.batch, share, Delivery::to(device))?;
        while let Some(batch) = loader.next_batch()? {
            if signals::interrupted() {
                return Err(interrupted());
            }
            take(&Batch::from_tensors(&batch.tensors)?)?;
        }
        Ok(())
    }
}

/// One network in training.
pub struct IceCubeTask {
    /// The network; its parameters are the trainer's.
    pub network: Box<dyn Network>,
    /// What is minimised.
    pub loss: LossKind,
    /// The normalisation of its likelihood.
    pub normalisation: Normalisation,
    /// The validation events.
    pub valid: Visits,
    /// Number format of the forward pass.
    pub precision: Precision,
    /// Where the network runs.
    pub device: Device,
    /// What checkpoints say: see [`about`].
    pub about: Value,
}

/// Means over validation events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measures {
    /// Events.
    pub events: i64,
    /// Opening angle in rad: the metric.
    pub angle: f64,
    /// Negative log-likelihood.
    pub vms: f64,
    /// What training minimises.
    pub loss: f64,
    /// Events whose vector has no direction.
    pub undirected: i64,
}

impl Measures {
    /// `predicted` as the network gave it, `[B, 3]` or `[B, 2]`.
    fn add(&mut self, predicted: &Tensor, target: &Tensor, (loss, normalisation): Minimised) -> Result<()> {
        let mean =
            |kind| losses::mean(kind, normalisation, predicted, target).f_double_value(&[]).doing("evaluating a batch");
        let events = predicted.size()[0];
        let (angle, vms, loss) = (mean(LossKind::Angle)?, mean(LossKind::Vms)?, mean(loss)?);
        let undirected = losses::undirected(&losses::as_vectors(predicted))?;
        self.join(&Self { events, angle, vms, loss, undirected });
        Ok(())
    }

    /// Takes in the means over other events.
    fn join(&mut self, other: &Self) {
        let (old, new) = (self.events as f64, other.events as f64);
        if other.events == 0 {
            return;
        }
        let join = |a: f64, b: f64| (a * old + b * new) / (old + new);
        self.angle = join(self.angle, other.angle);
        self.vms = join(self.vms, other.vms);
        self.loss = join(self.loss, other.loss);
        self.undirected += other.undirected;
        self.events += other.events;
    }

    fn numbers(&self) -> Vec<f64> {
        vec![self.events as f64, self.angle, self.vms, self.loss, self.undirected as f64]
    }

    fn of_numbers(numbers: &[f64]) -> Result<Self> {
        match *numbers {
            [events, angle, vms, loss, undirected] => {
                Ok(Self { events: events as i64, angle, vms, loss, undirected: undirected as i64 })
            }
            _ => Err(Error::failed(format!("{} numbers, expected the five of an evaluation", numbers.len()))),
        }
    }
}

/// A loss and the normalisation of its likelihood.
pub type Minimised = (LossKind, Normalisation);

/// What a network gives for a batch in f32, without gradients: vectors `[B, 3]` or angles `[B, 2]`.
fn outputs(network: &dyn Network, batch: &Batch, precision: Precision) -> Result<Tensor> {
    let predicted = tch::no_grad(|| with_autocast(precision, batch.device(), || network.forward(batch, false)))?;
    predicted.f_to_kind(Kind::Float).doing("predicting")
}

/// The vectors of a batch in f32, without gradients.
pub fn vectors(network: &dyn Network, batch: &Batch, precision: Precision) -> Result<Tensor> {
    Ok(losses::as_vectors(&outputs(network, batch, precision)?))
}

/// Losses of a network on events with true directions.
pub fn measure(
    network: &dyn Network,
    visits: &Visits,
    minimised: Minimised,
    precision: Precision,
    device: Device,
) -> Result<Measures> {
    measure_share(network, visits, Shard::WHOLE, minimised, precision, device)
}

fn measure_share(
    network: &dyn Network,
    visits: &Visits,
    share: Shard,
    minimised: Minimised,
    precision: Precision,
    device: Device,
) -> Result<Measures> {
    let mut measures = Measures::default();
    visits.each_of(share, device, |batch| {
        measures.add(&outputs(network, batch, precision)?, batch.truth()?, minimised)
    })?;
    Ok(measures)
}

impl Task for IceCubeTask {
    fn loss(&mut self, batch: &[Tensor], _step: u64) -> Result<Tensor> {
        let batch = Batch::from_tensors(batch)?;
        let predicted = self.network.forward(&batch, true)?.f_to_kind(Kind::Float).doing("training")?;
        Ok(losses::mean(self.loss, self.normalisation, &predicted, batch.truth()?))
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        evaluate_alone(self)
    }

    fn evaluate_share(&mut self, share: Shard) -> Result<Option<Vec<f64>>> {
        let (network, valid) = (self.network.as_ref(), &self.valid);
        let minimised = (self.loss, self.normalisation);
        let found = measure_share(network, valid, share, minimised, self.precision, self.device)?;
        Ok(Some(found.numbers()))
    }

    fn evaluation_of(&mut self, parts: &[Vec<f64>]) -> Result<Evaluation> {
        let mut found = Measures::default();
        for part in parts {
            // The first one as it is: joining it to nothing would round.
            let part = Measures::of_numbers(part)?;
            if found.events == 0 { found = part } else { found.join(&part) }
        }
        if found.undirected > 0 {
            tracing::warn!(
                "{} of {} validation events have a vector without direction",
                found.undirected,
                found.events
            );
        }
        let metric = |name: &str, value: f64| Metric { name: name.into(), value };
        let metrics = vec![
            metric("loss", found.loss),
            metric("angle", found.angle),
            metric("vms", found.vms),
            metric("undirected", found.undirected as f64),
        ];
        Ok(Evaluation { score: found.angle, metrics, detail: Value::Null })
    }

    fn less_memory(&self) -> Vec<String> {
        let length = self.about["input"]["length"].as_u64().unwrap_or(0);
        if length < 2 { vec![] } else { vec![format!("input.length={}  # fewer pulses of an event", length / 2)] }
    }

    fn metadata(&self, best: Option<&Evaluated>) -> Value {
        let mut about = self.about.clone();
        if let Some(best) = best {
            about["score"] = json!(best.score);
        }
        about
    }
}
