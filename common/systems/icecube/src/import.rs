//! `convert-weights` of IceCube's networks, also from checkpoints of other code.

mod names;

use std::path::Path;

use common::{Result, config};
use neural::stages::{Network, Weights};
use neural::weights;
use tch::Device;

use crate::dataset::InputConfig;
use crate::models::{self, ModelConfig, Targets};
use crate::predict::{About, targets_of};
use crate::published;
use crate::train::{self, TrainConfig};
pub use names::{about_of, allow, warn_of_other_input, warn_of_pulse_count};

/// The network of a config of `train-model`, or of a published one with its pairs.
pub fn of_config(file: &Path, overrides: &[String], _: Weights) -> Result<Network> {
    let config = match published::read(file)? {
        Some(theirs) => {
            let ours = published::text(&published::override_pairs(&theirs, overrides)?)?;
            config::load_text::<TrainConfig>(file, &ours, &[])?
        }
        None => config::load::<TrainConfig>(Some(file), overrides)?,
    };
    let TrainConfig { member, model, input, targets, .. } = &config.value;
    described(member, model, input, targets)
}

/// The network that a weights file says it is.
pub fn of_file(given: Weights) -> Result<Network> {
    let about = About::read(given.file)?;
    let mut network = described(&about.member, &about.model, &about.input, &targets_of(given.file)?)?;
    // The detector goes with the weights.
    if let Some(frame) = weights::metadata(given.file)?.and_then(|says| says.get("frame").cloned()) {
        network.about["frame"] = frame;
    }
    Ok(network)
}

fn described(member: &str, model: &ModelConfig, input: &InputConfig, targets: &Targets) -> Result<Network> {
    let about = train::with_targets(train::about(member, model, input)?, targets)?;
    let state = models::build_with(model, targets, Device::Cpu, 0)?.params.state();
    Ok(Network { allow: allow(), of_dialect: about_of, ..Network::new(model.name(), state, about) })
}
