//! Weights of the network: our checkpoints, plain safetensors, and the original's Lightning checkpoints (`.ckpt`), whose
//! pickled objects of unknown classes are read past and never run.

use std::path::Path;

use common::store::pickle::{Checkpoint, Kind, NamedTensor};
use common::{Error, Result};
use neural::params::Params;
use neural::weights::{self, Allow, Choice};
use serde_json::json;
use tch::{Device, Tensor};

use crate::boxes;
use crate::models::{ModelConfig, StepAhead};
use crate::normalizer::Normalizer;

/// A network ready to predict.
pub struct Loaded {
    /// Its parameters.
    pub params: Params,
    /// The network.
    pub network: StepAhead,
    /// Its sizes.
    pub config: ModelConfig,
    /// How its inputs are normalised.
    pub normalizer: Normalizer,
    /// What the file says about itself.
    pub about: serde_json::Value,
}

/// What a Lightning checkpoint holds beside the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Epoch, from 0.
    pub epoch: i64,
    /// Optimizer steps.
    pub global_step: i64,
    /// State of Adam by parameter, in the order of the parameters: step, first and second moments.
    pub adam: Vec<AdamState>,
    /// Numbers of the plateau schedule, by name.
    pub schedule: Vec<(String, f64)>,
}

/// Adam's state of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamState {
    /// Steps.
    pub step: f32,
    /// Mean gradient.
    pub exp_avg: Vec<f32>,
    /// Mean squared gradient.
    pub exp_avg_sq: Vec<f32>,
}

/// Whether a file that `torch.save` or Lightning wrote holds this network.
pub fn recognises(path: &Path) -> bool {
    let Ok(checkpoint) = Checkpoint::open(path) else { return false };
    let Ok(tensors) = checkpoint.value().tensors() else { return false };
    ["rnn.weight_ih_l1", "coords_1.0.weight", "radius_2.0.bias"]
        .iter()
        .all(|part| tensors.iter().any(|t| t.name.ends_with(part)))
}

/// Opens weights of any kind, on the CPU.
pub fn load(path: &Path) -> Result<Loaded> {
    load_chosen(path, &Choice::default())
}

/// The same where `choice` says which part of the file.
pub fn load_chosen(path: &Path, choice: &Choice) -> Result<Loaded> {
    let tensors = tensors(path, choice)?;
    if path.extension().is_some_and(|e| e == "safetensors") {
        let about = weights::metadata(path)?.unwrap_or(serde_json::Value::Null);
        let normalizer = boxes::of_metadata(path, &about)?;
        return network(path, &tensors, normalizer, about);
    }
    let checkpoint = Checkpoint::open(path)?;
    let parameters = checkpoint.value().get("hyper_parameters");
    let normalizer = boxes::of_parameters(path, parameters)?;
    let alpha = parameters.and_then(|p| p.get("loss_alpha")).and_then(|v| v.float().ok());
    let about = json!({ "system": "tracknet", "normalizer": normalizer, "loss_alpha": alpha });
    network(path, &tensors, normalizer, about)
}

/// The tensors of a file under the names of the network, whatever its sizes.
fn tensors(path: &Path, choice: &Choice) -> Result<Vec<(String, Tensor)>> {
    let names = Params::new(Device::Cpu, 0);
    StepAhead::new(&names, &ModelConfig::default())?;
    Ok(weights::read_for(&names.state(), path, &choice.on(Allow::default()))?.tensors)
}

fn network(
    path: &Path,
    tensors: &[(String, Tensor)],
    normalizer: Normalizer,
    about: serde_json::Value,
) -> Result<Loaded> {
    let shape = |name: &str| tensors.iter().find(|(n, _)| n == name).map(|(_, t)| t.size());
    let (Some(rnn), Some(head)) = (shape("rnn.weight_ih_l0"), shape("coords_1.0.weight")) else {
        let names: Vec<&str> = tensors.iter().take(4).map(|(n, _)| n.as_str()).collect();
        return Err(Error::input(
            path,
            format!("holds no `rnn.weight_ih_l0` and `coords_1.0.weight`; it has {}", names.join(", ")),
        )
        .hint("expected are weights of a StepAheadTrackNET"));
    };
    let ([rows, inputs], [outputs, _]) = (rnn.as_slice(), head.as_slice()) else {
        return Err(Error::input(path, format!("`rnn.weight_ih_l0` is {rnn:?}, expected two dimensions")));
    };
    let config = ModelConfig { input_features: *inputs, hidden_features: rows / 3, output_features: *outputs };
    let params = Params::new(Device::Cpu, 0);
    let network = StepAhead::new(&params, &config)?;
    weights::load_strict(&params.state(), tensors, &Allow::default()).map_err(|e| weights::in_file(path, e))?;
    Ok(Loaded { params, network, config, normalizer, about })
}

fn floats(path: &Path, t: &NamedTensor) -> Result<Vec<f32>> {
    if t.dtype != common::store::tensors::Dtype::F32 {
        return Err(Error::input(path, format!("`{}` is {:?}, expected F32", t.name, t.dtype)));
    }
    Ok(t.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

/// What a Lightning checkpoint says about its training.
pub fn training(path: &Path) -> Result<Training> {
    let checkpoint = Checkpoint::open(path)?;
    let root = checkpoint.value();
    let state = root.expect("optimizer_states")?.items().next().and_then(|optimizer| optimizer.get("state"));
    let mut adam: Vec<(i64, AdamState)> = Vec::new();
    for (key, of) in state.iter().flat_map(|state| state.entries()) {
        let read = |name: &str| floats(path, &of.expect(name)?.tensor()?);
        let step = read("step")?.first().copied().unwrap_or_default();
        adam.push((key.int()?, AdamState { step, exp_avg: read("exp_avg")?, exp_avg_sq: read("exp_avg_sq")? }));
    }
    adam.sort_by_key(|(place, _)| *place);
    let adam = adam.into_iter().map(|(_, state)| state).collect();
    let schedule = root.expect("lr_schedulers")?.items().next();
    let schedule = schedule.map_or(vec![], |s| s.entries().collect());
    let schedule = schedule.into_iter().filter_map(|(key, value)| {
        let number = match value.kind() {
            Kind::Int(n) => n as f64,
            Kind::Float(f) => f,
            _ => return None,
        };
        Some((key.text().ok()?.to_string(), number))
    });
    Ok(Training {
        epoch: root.expect("epoch")?.int()?,
        global_step: root.expect("global_step")?.int()?,
        adam,
        schedule: schedule.collect(),
    })
}
