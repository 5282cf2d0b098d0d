//! `convert-weights` of IceCube's networks, also from checkpoints of other code.

mod names;

use std::path::Path;

use common::{Result, config};
use neural::stages::{Import, Network, Weights, says_system};
use tch::Device;

use crate::NAME;
use crate::dataset::InputConfig;
use crate::models::{self, ModelConfig};
use crate::predict::About;
use crate::train::{self, TrainConfig, published};
pub use names::{about_of, allow, warn_of_pulse_count};

/// What is known of files of weights.
pub const IMPORT: Import = Import {
    system: NAME,
    examples: "  \
  A published IceCube checkpoint, for `predict` and further training:
    convert-weights V23FT5_6.pth b_gnn.safetensors \\
      --config configs/icecube/b_gnn/stage1.yaml",
    recognises: |file| Ok(published::read(file)?.is_some()),
    of_config,
    says: |file| says_system(file, NAME),
    of_file,
};

/// The network of a config of `train-model`, or of a published one with its pairs.
fn of_config(file: &Path, overrides: &[String], _: Weights) -> Result<Network> {
    let config = match published::read(file)? {
        Some(theirs) => {
            let ours = published::text(&published::override_pairs(&theirs, overrides)?)?;
            config::load_text::<TrainConfig>(file, &ours, &[])?
        }
        None => config::load::<TrainConfig>(Some(file), overrides)?,
    };
    described(&config.value.member, &config.value.model, &config.value.input)
}

/// The network that a weights file says it is.
fn of_file(weights: Weights) -> Result<Network> {
    let about = About::read(weights.file)?;
    described(&about.member, &about.model, &about.input)
}

fn described(member: &str, model: &ModelConfig, input: &InputConfig) -> Result<Network> {
    let about = train::about(member, model, input)?;
    let state = models::build(model, Device::Cpu, 0)?.params.state();
    Ok(Network { allow: allow(), of_dialect: about_of, ..Network::new(model.name(), state, about) })
}
