//! LEAP's networks.

use std::path::Path;

use common::{Result, config};
use leap::finetune::Base;
use leap::models::ModelConfig;
use leap::train::{self, TrainConfig};
use serde_json::Value;
use tch::Device;

use crate::run::Network;

/// The network of a config of `train-model`.
pub fn of_config(file: &Path, overrides: &[String]) -> Result<Network> {
    let config = config::load::<TrainConfig>(Some(file), overrides)?.value;
    let about = train::about(&config.member, &config.model, config.chain(), config.apply_zero_list)?;
    described(&config.model, about)
}

/// The network that a weights file says it is.
pub fn of_file(file: &Path) -> Result<Network> {
    let base = Base::open(file)?;
    described(&base.model, base.about)
}

fn described(model: &ModelConfig, about: Value) -> Result<Network> {
    Ok(Network::new(model.name(), train::build(model, Device::Cpu, 0)?.params.state(), about))
}
