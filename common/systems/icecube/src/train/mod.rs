//! Training one network: the task that the trainer runs, what its checkpoints say about themselves, and the predictions
//! of the validation events.

pub mod config;
mod run;
mod task;

use std::sync::Arc;

use common::cli::signals;
use common::criterion::Criterion;
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
use crate::models::heads::{self, Heads, Targets};
pub use config::{Experiment, KappaFilter, Select, TrainConfig};
pub use neural::trainer::Options;
pub use run::{
    Data, HISTORY, OOF, Trained, about, begin_with, data, demand_frame, framed, identity_of_filter, result_weights,
    train, with_targets,
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
    /// Its heads beside the direction, and the weights of their losses.
    pub heads: Option<(Heads, Targets)>,
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
    /// Means of the losses of the heads over the values that are known, and how many those are: energy, vertex, track.
    pub heads: [(f64, f64); 3],
}

impl Measures {
    /// `predicted` as the network gave it, `[B, 3]` or `[B, 2]`.
    fn add(&mut self, predicted: &Tensor, target: &Tensor, (loss, normalisation): Minimised) -> Result<()> {
        let mean =
            |kind| losses::mean(kind, normalisation, predicted, target).f_double_value(&[]).doing("evaluating a batch");
        let events = predicted.size()[0];
        let (angle, vms, loss) = (mean(LossKind::Angle)?, mean(LossKind::Vms)?, mean(loss)?);
        let undirected = losses::undirected(&losses::as_vectors(predicted))?;
        self.join(&Self { events, angle, vms, loss, undirected, heads: [(0.0, 0.0); 3] });
        Ok(())
    }

    /// `predicted` as heads gave it, `[B, 5]`.
    fn add_heads(&mut self, predicted: &Tensor, truth: &Tensor) -> Result<()> {
        for (known, (sum, count)) in self.heads.iter_mut().zip(heads::losses(predicted, truth)) {
            let sum = sum.f_double_value(&[]).doing("evaluating a batch")?;
            let count = count.f_int64_value(&[]).doing("evaluating a batch")? as f64;
            Self::pool(known, (sum / count.max(1.0), count));
        }
        Ok(())
    }

    fn pool(known: &mut (f64, f64), (mean, count): (f64, f64)) {
        if count > 0.0 && mean.is_finite() {
            known.0 = (known.0 * known.1 + mean * count) / (known.1 + count);
            known.1 += count;
        }
    }

    /// Takes in the means over other events.
    fn join(&mut self, other: &Self) {
        let (old, new) = (self.events as f64, other.events as f64);
        self.heads.iter_mut().zip(other.heads).for_each(|(known, more)| Self::pool(known, more));
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
        let mut numbers = vec![self.events as f64, self.angle, self.vms, self.loss, self.undirected as f64];
        numbers.extend(self.heads.iter().flat_map(|(mean, count)| [*mean, *count]));
        numbers
    }

    fn of_numbers(numbers: &[f64]) -> Result<Self> {
        match *numbers {
            [events, angle, vms, loss, undirected, e, n_e, v, n_v, t, n_t] => Ok(Self {
                events: events as i64,
                angle,
                vms,
                loss,
                undirected: undirected as i64,
                heads: [(e, n_e), (v, n_v), (t, n_t)],
            }),
            _ => Err(Error::failed(format!("{} numbers, expected the eleven of an evaluation", numbers.len()))),
        }
    }
}

/// A loss and the normalisation of its likelihood.
pub type Minimised = (LossKind, Normalisation);

/// What a network gives for a batch in f32, without gradients: vectors `[B, 3]` or angles `[B, 2]`, and what its heads
/// give, `[B, 5]`.
fn outputs(
    network: &dyn Network,
    heads: Option<&Heads>,
    batch: &Batch,
    precision: Precision,
) -> Result<(Tensor, Option<Tensor>)> {
    let (predicted, more) = tch::no_grad(|| {
        with_autocast(precision, batch.device(), || {
            let (predicted, features) = network.with_features(batch, false)?;
            Ok::<_, Error>((predicted, heads.map(|heads| heads.forward(&features))))
        })
    })?;
    Ok((predicted.f_to_kind(Kind::Float).doing("predicting")?, more))
}

/// The vectors of a batch in f32, without gradients, and what the heads give.
pub fn vectors(
    network: &dyn Network,
    heads: Option<&Heads>,
    batch: &Batch,
    precision: Precision,
) -> Result<(Tensor, Option<Tensor>)> {
    let (predicted, more) = outputs(network, heads, batch, precision)?;
    Ok((losses::as_vectors(&predicted), more))
}

/// Losses of a network on events with true directions.
pub fn measure(
    network: &dyn Network,
    visits: &Visits,
    minimised: Minimised,
    precision: Precision,
    device: Device,
) -> Result<Measures> {
    measure_share((network, None), visits, Shard::WHOLE, minimised, precision, device)
}

fn measure_share(
    (network, heads): (&dyn Network, Option<&Heads>),
    visits: &Visits,
    share: Shard,
    minimised: Minimised,
    precision: Precision,
    device: Device,
) -> Result<Measures> {
    let mut measures = Measures::default();
    visits.each_of(share, device, |batch| {
        let (predicted, more) = outputs(network, heads, batch, precision)?;
        measures.add(&predicted, batch.truth()?, minimised)?;
        match (&more, &batch.extra) {
            (Some(more), Some(truth)) => measures.add_heads(more, truth),
            _ => Ok(()),
        }
    })?;
    Ok(measures)
}

impl Task for IceCubeTask {
    fn loss(&mut self, batch: &[Tensor], _step: u64) -> Result<Tensor> {
        let batch = Batch::from_tensors(batch)?;
        let (predicted, features) = self.network.with_features(&batch, true)?;
        let predicted = predicted.f_to_kind(Kind::Float).doing("training")?;
        let loss = losses::mean(self.loss, self.normalisation, &predicted, batch.truth()?);
        Ok(match (&self.heads, &batch.extra) {
            (Some((heads, targets)), Some(truth)) => loss + heads::loss(targets, &heads.forward(&features), truth),
            _ => loss,
        })
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        evaluate_alone(self)
    }

    fn evaluate_share(&mut self, share: Shard) -> Result<Option<Vec<f64>>> {
        let network = (self.network.as_ref(), self.heads.as_ref().map(|(heads, _)| heads));
        let valid = &self.valid;
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
        let mut metrics = vec![metric("loss", found.loss), metric("angle", found.angle)];
        // Where it is what is minimised it would be the same curve under a second name.
        if !matches!(self.loss, LossKind::Vms) {
            metrics.push(metric("vms", found.vms));
        }
        metrics.push(metric("undirected", found.undirected as f64));
        let names = ["energy_loss", "vertex_loss", "track_loss"];
        let known = names.iter().zip(found.heads).filter(|(_, (_, count))| *count > 0.0);
        metrics.extend(known.map(|(name, (mean, _))| metric(name, mean)));
        Ok(Evaluation::by(Criterion::lower("angle"), found.angle, metrics, Value::Null))
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
