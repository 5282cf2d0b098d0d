//! PoLAr-MAE's networks.

use std::path::Path;

use common::{Error, Result, config};
use neural::weights;
use polarmae::import;
use polarmae::train::{self, ModelConfig, TrainConfig};
use serde_json::Value;
use tch::Device;

use crate::run::Network;

/// The network of a config of `train-model`.
pub fn of_config(file: &Path, overrides: &[String]) -> Result<Network> {
    let config = config::load::<TrainConfig>(Some(file), overrides)?.value;
    described(&config.model, train::about(&config)?)
}

/// The network that a weights file says it is.
pub fn of_file(file: &Path) -> Result<Network> {
    let about = weights::metadata(file)?.unwrap_or(Value::Null);
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
    Ok(Network { allow: import::allow(), original: import::original::of_about, ..Network::new(name, state, about) })
}
