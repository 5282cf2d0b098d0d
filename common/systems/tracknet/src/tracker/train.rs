//! Training the tracker's network.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::cli::signals;
use common::criterion::Criterion;
use common::stage::Manifest;
use common::{Error, Result};
use neural::Doing;
use neural::loader::{Delivery, Loader, Order, Shard, Shuffle, Source};
use neural::params::Params;
use neural::trainer::{
    self, Evaluated, Evaluation, Metric, Outcome, Place, Plan, Task, Term, evaluate_alone, interrupted,
};
use neural::weights::{self, Allow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::conditions::Conditions;
use super::network::{TrackerNet, negative_log_likelihood};
use super::source::{TrackerSource, Transitions};
use crate::train::{Options, TrainConfig, begin_with};

/// What the tracker's network has beside the published one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrackerConfig {
    /// Chance that a hit is left out in training.
    pub gaps: f64,
    /// Chance that a hit is replaced by a wrong one near it.
    pub noise: f64,
    /// Beam spot, resolution, field and noise, where they are known; all of them are estimated from the training events unless
    /// `estimate` is false. Written into the checkpoint.
    pub conditions: Conditions,
    /// Whether beam spot, field, resolution, scattering and noise are taken from the training events, as far as their truth says
    /// them.
    pub estimate: bool,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self { gaps: 0.05, noise: 0.03, conditions: Conditions::default(), estimate: true }
    }
}

/// The tracks of a `prepare-data` stage.
pub fn sources(prepared: &Manifest, config: &TrackerConfig, seed: u64) -> Result<(TrackerSource, TrackerSource)> {
    let paths = |part: &str| -> Result<Vec<PathBuf>> {
        Ok(prepared.outputs_with_prefix(part)?.into_iter().map(|(_, path)| path).collect())
    };
    let train = TrackerSource::open(&paths("train/")?, config.gaps, config.noise, seed)?;
    let conditions = match config.estimate {
        false => config.conditions,
        true => train.conditions(&config.conditions).unwrap_or_else(|| {
            tracing::warn!(
                "too few training tracks to estimate the beam spot: `tracker.conditions.beam_sigma_z={}` is taken",
                config.conditions.beam_sigma_z
            );
            config.conditions
        }),
    };
    let ends = conditions.solenoid.map_or("the same everywhere".into(), |solenoid| {
        format!("of a solenoid of {:.0} mm half length and {:.0} mm radius", solenoid.half_length, solenoid.radius)
    });
    tracing::info!(
        "beam spot at z = {:.1} mm, {:.1} mm wide; field {:.2} T, {ends}",
        conditions.beam_z,
        conditions.beam_sigma_z,
        conditions.field
    );
    tracing::info!(
        "beam spot {:.3} mm wide across; scattering {:.4} GeV rad; resolution of cylinders {:?}, of disks {:?} mm; noise {:.2?}",
        conditions.beam_sigma_r,
        conditions.scattering,
        conditions.resolution,
        conditions.resolution_disks,
        conditions.noise
    );
    let valid = TrackerSource::open(&paths("valid/")?, 0.0, 0.0, seed)?;
    Ok((train.under(conditions), valid.under(conditions)))
}

struct TrackerTask {
    network: TrackerNet,
    valid: Arc<dyn Source>,
    batch: u64,
    device: Device,
    about: Value,
}

impl Task for TrackerTask {
    fn loss(&mut self, batch: &[Tensor], step: u64) -> Result<Tensor> {
        Term::sum(&self.terms(batch, Place::of(step))?)
    }

    /// A mean over residuals, of which tracks have different numbers.
    fn terms(&mut self, batch: &[Tensor], _place: Place) -> Result<Vec<Term>> {
        let outputs = self.network.forward(&batch[0]);
        let count = batch[2].sum(Kind::Double).f_double_value(&[]).doing("counting residuals")?;
        Ok(vec![Term { mean: negative_log_likelihood(&outputs, &batch[1], &batch[2]), count }])
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        evaluate_alone(self)
    }

    fn evaluate_share(&mut self, share: Shard) -> Result<Option<Vec<f64>>> {
        let delivery = Delivery { device: self.device, workers: 1, ahead: 4 };
        let order = Arc::new(Order::new(self.valid.rows(), &Shuffle::Sequential, 0)?);
        let mut loader = Loader::dealt(Arc::clone(&self.valid), order, self.batch, share, delivery)?;
        let (mut sum, mut steps, mut inside, mut pulls) = (0.0, 0.0, 0.0, [0.0; 2]);
        while let Some(batch) = loader.next_batch()? {
            if signals::interrupted() {
                return Err(interrupted());
            }
            let (targets, mask) = (&batch.tensors[1], &batch.tensors[2]);
            let number = |t: Tensor| t.f_double_value(&[]).doing("reading the validation loss");
            let outputs = tch::no_grad(|| self.network.forward(&batch.tensors[0]));
            let count = number(mask.sum(Kind::Double))?;
            sum += number(negative_log_likelihood(&outputs, targets, mask))? * count;
            let pull = (targets - outputs.narrow(-1, 0, 2)) / outputs.narrow(-1, 2, 2).exp(); // [B, L, 2]
            let distance = pull.square().sum_dim_intlist([-1].as_slice(), false, Kind::Float);
            inside += number((distance.le(9.0).to_kind(Kind::Float) * mask).sum(Kind::Double))?;
            for (axis, sum) in pulls.iter_mut().enumerate() {
                *sum += number((pull.select(-1, axis as i64).square().clamp_max(25.0) * mask).sum(Kind::Double))?;
            }
            steps += count;
        }
        Ok(Some(vec![sum, steps, inside, pulls[0], pulls[1]]))
    }

    fn evaluation_of(&mut self, parts: &[Vec<f64>]) -> Result<Evaluation> {
        let sum = |i: usize| parts.iter().map(|part| part[i]).sum::<f64>();
        let (sum, steps, inside, pulls) = (sum(0), sum(1), sum(2), [sum(3), sum(4)]);
        let metric = |name: &str, value: f64| Metric { name: name.into(), value };
        let metrics = vec![
            metric("inside_3_widths", inside / steps),
            metric("pull_u", (pulls[0] / steps).sqrt()),
            metric("pull_v", (pulls[1] / steps).sqrt()),
        ];
        Ok(Evaluation::by(Criterion::lower("loss"), sum / steps, metrics, Value::Null))
    }

    fn metadata(&self, best: Option<&Evaluated>) -> Value {
        let mut about = self.about.clone();
        if let Some(best) = best {
            about["val_loss"] = json!(best.score);
        }
        about
    }
}

/// Trains by `config`; gives how it went and the best weights.
pub fn train<'a>(
    config: &'a TrainConfig,
    hash: &str,
    (source, valid): (TrackerSource, TrackerSource),
    options: Options<'a>,
) -> Result<(Outcome, PathBuf)> {
    let params = Params::new(options.device, config.seed);
    let network = TrackerNet::new(&params, config.model.hidden_features)?;
    if let Some(path) = options.initial {
        begin_with(&params, path, &config.pretrained_part)?;
    }
    tracing::info!("{}", neural::summary::summary("TrackerNet", &params.state()));
    let about = json!({
        "system": "tracknet",
        "network": "tracker",
        "member": config.member,
        "hidden_features": config.model.hidden_features,
        "transitions": source.transitions(),
        "conditions": source.known(),
    });
    let mut task =
        TrackerTask { network, valid: Arc::new(valid), batch: config.val_batch_size, device: options.device, about };
    let order = Arc::new(Order::new(source.rows(), &config.training.shuffle, config.seed)?);
    let limit = [options.max_steps, config.limit_train_batches].into_iter().flatten().min();
    let options = Options { max_steps: limit, ..options };
    let rows: (Arc<dyn Source>, _) = (Arc::new(source), order);
    let plan = Plan::new(options, &config.training, (hash, config.seed), rows, &params, &config.member);
    let outcome = trainer::train(plan, &mut task)?;
    let model = outcome.weights();
    Ok((outcome, model))
}

/// A trained tracker.
pub struct Loaded {
    /// Its parameters.
    pub params: Params,
    /// The network.
    pub network: TrackerNet,
    /// How tracks go on from layer to layer.
    pub transitions: Transitions,
    /// Beam spot, resolution and field of the training.
    pub conditions: Conditions,
}

/// The conditions of a checkpoint. What an old one does not name were constants when it was trained: those of the accuracy phase
/// in a field that is the same everywhere, disks as precise as cylinders.
fn conditions(known: &Value) -> serde_json::Result<Conditions> {
    let accuracy = Conditions::ACCURACY;
    let then = Conditions { solenoid: None, resolution_disks: accuracy.resolution, ..accuracy };
    let mut all = serde_json::to_value(then)?;
    if let (Value::Object(all), Value::Object(known)) = (&mut all, known) {
        all.extend(known.clone());
    }
    serde_json::from_value(all)
}

/// Opens the weights of a trained tracker.
pub fn load(path: &Path) -> Result<Loaded> {
    let about = weights::metadata(path)?.unwrap_or(Value::Null);
    let transitions = serde_json::from_value(about["transitions"].clone())
        .map_err(|e| Error::input(path, format!("is no checkpoint of a tracker: `transitions`: {e}")))?;
    let conditions = conditions(&about["conditions"])
        .map_err(|e| Error::input(path, format!("is no checkpoint of a tracker: `conditions`: {e}")))?;
    let hidden = about["hidden_features"].as_i64().filter(|h| *h > 0);
    let hidden = hidden.ok_or_else(|| Error::input(path, "is no checkpoint of a tracker: no `hidden_features`"))?;
    let params = Params::new(Device::Cpu, 0);
    let network = TrackerNet::new(&params, hidden)?;
    weights::load(&params.state(), path, &Allow::default())?;
    Ok(Loaded { params, network, transitions, conditions })
}
