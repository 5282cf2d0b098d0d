//! `convert-weights` of IceCube's networks, also from checkpoints of other code.

mod names;

use std::path::Path;

use common::{Result, config};
use neural::stages::{Import, Network, Weights, says_system};
use neural::weights;
use tch::Device;

use crate::NAME;
use crate::dataset::InputConfig;
use crate::export;
use crate::models::{self, ModelConfig, Targets};
use crate::predict::{About, targets_of};
use crate::published;
use crate::train::{self, TrainConfig};
pub use names::{about_of, allow, warn_of_other_input, warn_of_pulse_count};

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
    export: export::module,
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
    let TrainConfig { member, model, input, targets, .. } = &config.value;
    described(member, model, input, targets)
}

/// The network that a weights file says it is.
fn of_file(given: Weights) -> Result<Network> {
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
