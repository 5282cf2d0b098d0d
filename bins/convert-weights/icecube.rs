//! IceCube's networks.

use std::path::Path;

use common::{Error, Result, config};
use icecube::dataset::InputConfig;
use icecube::import;
use icecube::models::{self, ModelConfig};
use icecube::predict::About;
use icecube::train::{self, TrainConfig, published};
use serde_json::Value;
use tch::Device;

use crate::run::Network;

/// Whether a config is a `config.json` of the published scripts.
pub fn is_published(file: &Path) -> Result<bool> {
    let is_json = file.extension().is_some_and(|e| e == "json");
    Ok(is_json && config::peek(file, "system")?.is_none() && published::is_published(&read_json(file)?))
}

fn read_json(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::opening(file, e))?;
    serde_json::from_str(&text).map_err(|e| Error::usage(format!("`{}`: not JSON: {e}", file.display())))
}

/// The network of a config of `train-model`, or of a published one with its pairs.
pub fn of_config(file: &Path, overrides: &[String]) -> Result<Network> {
    let config = if is_published(file)? {
        let ours = published::translate(&published::override_pairs(&read_json(file)?, overrides)?)?;
        config::load_text::<TrainConfig>(file, &format!("{ours:#}\n"), &[])?
    } else {
        config::load::<TrainConfig>(Some(file), overrides)?
    };
    described(&config.value.member, &config.value.model, &config.value.input)
}

/// The network that a weights file says it is.
pub fn of_file(file: &Path) -> Result<Network> {
    let about = About::read(file)?;
    described(&about.member, &about.model, &about.input)
}

fn described(member: &str, model: &ModelConfig, input: &InputConfig) -> Result<Network> {
    let about = train::about(member, model, input)?;
    let state = models::build(model, Device::Cpu, 0)?.params.state();
    let of_dialect = |about: &Value, dialect: Option<&str>| import::about_of(about, dialect);
    Ok(Network { allow: import::allow(), of_dialect, ..Network::new(model.name(), state, about) })
}
