//! A whole training run: build, take over pretrained weights, train, judge the best weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Error, Result, world};
use neural::loader::{Order, Source};
use neural::trainer::{self, Options, Outcome, Plan, Task};
use neural::{Params, weights};
use serde_json::{Value, json};
use tch::{Device, Tensor};

use super::ahead::Ahead;
use super::config::{EncoderMode, ModelConfig, TrainConfig};
use super::pretrain::Pretrain;
use super::segment::Segment;
use super::sets::Sets;
use super::setup::Setup;
use crate::dataset::Numbers;
use crate::import;
use crate::models::encoder::EncoderConfig;
use crate::models::mae::Mae;
use crate::models::segmentation::Segmentation;

/// What a run left behind.
pub struct Trained {
    /// How training went.
    pub outcome: Outcome,
    /// The best weights.
    pub model: PathBuf,
    /// Figures of the network before its first step, where a probe was asked for.
    pub before: Vec<(String, f64)>,
}

/// A network with its parameters.
pub struct Built {
    /// The parameters; the network shares their memory.
    pub params: Params,
    /// The network.
    pub network: Network,
}

/// Either network.
pub enum Network {
    /// Of a pretraining.
    Mae(Mae),
    /// Of a segmentation.
    Segmentation(Segmentation),
}

/// Builds a network with initial weights drawn from `seed`.
pub fn build(model: &ModelConfig, device: Device, seed: u64) -> Result<Built> {
    let params = Params::new(device, seed);
    let network = match model {
        ModelConfig::Mae(task) => Network::Mae(Mae::new(&params.root(), &task.network)?),
        ModelConfig::Segmentation(task) => {
            Network::Segmentation(Segmentation::new(&params.root(), &task.network, &task.weights())?)
        }
    };
    Ok(Built { params, network })
}

/// What a checkpoint says about itself: enough to use it without the config.
pub fn about(config: &TrainConfig) -> Result<Value> {
    let described = |e: serde_json::Error| Error::failed(format!("describing the model: {e}"));
    Ok(json!({
        "system": "polarmae",
        "member": config.member,
        "model": serde_json::to_value(&config.model).map_err(described)?,
        "transforms": serde_json::to_value(&config.data.val_transforms).map_err(described)?,
        "target": config.data.target,
    }))
}

/// Copies the encoder of a pretraining checkpoint into a segmentation network. What else the file holds is left out and
/// named; an encoder tensor that is missing or of another shape is an error. `choice` says where in the file it lies and
/// what is left out.
pub fn start_from(params: &Params, path: &Path, choice: &weights::Choice) -> Result<weights::Report> {
    let patterns = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_string()).collect() };
    let own = params.state();
    let mut allow = choice.on(import::allow());
    allow.missing.extend(patterns(&["upsampler.*", "seg_head.*", "seg_decoder.*", "loss_func.*"]));
    allow.unexpected.extend(patterns(&["increase_dim.*", "equivariant_patch_encoder.*", "energy_decoder.*", "svm.*"]));
    let found = weights::read_for(&own, path, &allow)?.tensors;
    let source: Vec<(String, Tensor)> =
        found.into_iter().filter_map(|(name, tensor)| Some((import::finetuning_name(&name)?, tensor))).collect();
    weights::load_strict(&own, &source, &allow).map_err(|error| weights::in_file(path, error))
}

/// Trains by `config`.
pub fn train<'a>(config: &'a TrainConfig, hash: &str, sets: &Sets, options: Options<'a>) -> Result<Trained> {
    let Built { params, network } = build(&config.model, options.device, config.seed)?;
    if let (ModelConfig::Mae(task), Some(path)) = (&config.model, options.initial) {
        let mut allow = task.pretrained_part.on(import::allow());
        allow.missing.extend(task.pretrained_part.drop.iter().cloned());
        let report = weights::load(&params.state(), path, &allow)?;
        tracing::info!("{}: begins with `{}`: {report}", config.member, path.display());
    }
    if let (ModelConfig::Segmentation(task), Some(path)) = (&config.model, options.initial) {
        let report = start_from(&params, path, &task.pretrained_part)?;
        tracing::info!("{}: encoder from `{}`: {report}", config.member, path.display());
        if task.encoder != EncoderMode::Learns {
            params.set_trainable(|name| !name.starts_with("encoder."));
        }
    }
    tracing::info!("{}", neural::summary::summary(&config.member, &params.state()));
    let (device, precision) = (options.device, config.training.precision);
    let mut about = about(config)?;
    about["data"] = json!(sets.learned);
    let setup = |encoder: &EncoderConfig| Setup {
        data: config.data.clone(),
        grouping: encoder.tokenizer.clone(),
        train: Arc::clone(&sets.train),
        valid: Arc::clone(&sets.valid),
        seed: config.seed,
        device,
        precision,
        about,
        next: Ahead::default(),
    };
    let (mut task, before): (Box<dyn Task>, _) = match (network, &config.model) {
        (Network::Mae(network), ModelConfig::Mae(task)) => {
            let task = Pretrain { network, config: task.clone(), setup: setup(&task.network.encoder) };
            // Rank 0 alone speaks of it.
            let probed = if world::leads() { task.probe()? } else { None };
            let before = probed.map(|probed| probed.figures()).unwrap_or_default();
            if let Some((_, f1)) = before.first() {
                tracing::info!("{}: SVM F1 of the encoder as it was drawn: {f1:.4}", config.member);
            }
            (Box::new(task), before)
        }
        (Network::Segmentation(network), ModelConfig::Segmentation(task)) => {
            (Box::new(Segment { network, config: task.clone(), setup: setup(&task.network.encoder) }), vec![])
        }
        _ => return Err(Error::failed("the network is not the one of the config")),
    };
    let outcome = fit(&mut *task, &params, config, hash, sets, options)?;
    Ok(Trained { model: outcome.weights(), outcome, before })
}

fn fit<'a>(
    task: &mut dyn Task,
    params: &Params,
    config: &'a TrainConfig,
    hash: &str,
    sets: &Sets,
    options: Options<'a>,
) -> Result<Outcome> {
    let source: Arc<dyn Source> = Arc::new(Numbers::new(Arc::clone(&sets.train), config.data.max_events));
    let order = Arc::new(Order::new(source.rows(), &config.training.shuffle, config.seed)?);
    let plan = Plan::new(options, &config.training, (hash, config.seed), (source, order), params, &config.member);
    trainer::train(plan, task)
}
