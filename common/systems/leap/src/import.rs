//! `convert-weights` of LEAP's networks.

use std::path::Path;

use common::{Result, config};
use neural::stages::{Import, Network, Weights, says_system};
use serde_json::Value;
use tch::Device;

use crate::export;
use crate::finetune::Base;
use crate::models::ModelConfig;
use crate::train::{self, TrainConfig};

/// What is known of files of weights.
pub const IMPORT: Import = Import {
    system: crate::NAME,
    examples: "  \
  A published checkpoint, for `predict` and `finetune-group`:
    convert-weights adam_195.pt adam_195.safetensors --config configs/leap/adam/exp195.yaml

  A network of another width:
    convert-weights small.pt small.safetensors model.max022.hidden_state=64 \\
      --config configs/leap/max2020/022.yaml

  Back to what `torch.load` reads:
    convert-weights runs/022/checkpoints/best/model.safetensors max022.pt

  A trained network, or a blend, for Python, C++ and Fortran:
    convert-weights runs/022 max022.pt --to torchscript",
    recognises: |_| Ok(false),
    of_config,
    says: |file| says_system(file, crate::NAME),
    of_file,
    export: export::module,
};

/// The network of a config of `train-model`.
fn of_config(file: &Path, overrides: &[String], _: Weights) -> Result<Network> {
    let config = config::load::<TrainConfig>(Some(file), overrides)?.value;
    let about = train::about(&config.member, &config.model, config.chain(), config.apply_zero_list)?;
    described(&config.model, about)
}

/// The network that a weights file says it is.
fn of_file(weights: Weights) -> Result<Network> {
    let base = Base::open(weights.file)?;
    described(&base.model, base.about)
}

fn described(model: &ModelConfig, about: Value) -> Result<Network> {
    Ok(Network::new(model.name(), train::build(model, Device::Cpu, 0)?.params.state(), about))
}
