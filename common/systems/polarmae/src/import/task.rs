//! `convert-weights` of PoLAr-MAE's networks.

use std::path::Path;

use common::{Error, Result};
use neural::stages::{Import, Network, Weights, says_system};
use serde_json::Value;
use tch::Device;

use super::{allow, original};
use crate::export;
use crate::published;
use crate::train::{self, ModelConfig, TrainConfig};

/// What is known of files of weights.
pub const IMPORT: Import = Import {
    system: crate::NAME,
    examples: "  \
  A published PoLAr-MAE checkpoint, and a network of ours for its code:
    convert-weights polarmae_pretrain.ckpt polarmae.safetensors \\
      --config configs/polarmae/pretrain/polarmae.yaml
    convert-weights runs/fft/checkpoints/best/model.safetensors fft.ckpt",
    recognises: published::recognises,
    of_config,
    says: |file| says_system(file, crate::NAME),
    of_file,
    export: export::module,
};

/// The network of a config of `train-model`, also of the original's.
fn of_config(file: &Path, overrides: &[String], _: Weights) -> Result<Network> {
    let config = published::load::<TrainConfig>(file, overrides)?.value;
    described(&config.model, train::about(&config)?)
}

/// The network that a weights file says it is.
fn of_file(weights: Weights) -> Result<Network> {
    let file = weights.file;
    let about = neural::weights::metadata(file)?.unwrap_or(Value::Null);
    let model = serde_json::from_value(about["model"].clone())
        .map_err(|e| Error::input(file, format!("does not say which network it holds: {e}")).hint("give `--config`"))?;
    described(&model, about)
}

fn described(model: &ModelConfig, about: Value) -> Result<Network> {
    let name = match model {
        ModelConfig::Mae(_) => "mae",
        ModelConfig::Segmentation(_) => "segmentation",
    };
    let state = train::build(model, Device::Cpu, 0)?.params.state();
    Ok(Network { allow: allow(), original: original::of_about, ..Network::new(name, state, about) })
}
