//! `convert-weights` of TrackNET's networks.

use std::path::Path;

use common::{Error, Result, config};
use neural::params::Params;
use neural::stages::{Import, Network, says_system};
use serde_json::{Value, json};
use tch::Device;

use crate::checkpoint;
use crate::models::StepAhead;
use crate::normalizer::Normalizer;
use crate::tracker::network::TrackerNet;
use crate::tracker::train as tracker;
use crate::train::TrainConfig;
use crate::train::config::NetworkKind;

/// What is known of files of weights.
pub const IMPORT: Import = Import {
    system: crate::NAME,
    examples: "  \
  A Lightning checkpoint of TrackNET, which says itself what it holds:
    convert-weights 'epoch=5-val_loss=0.04.ckpt' step_ahead.safetensors",
    recognises: |_| Ok(false),
    of_config,
    says: |file| is_lightning(file) && checkpoint::load(file).is_ok() || says_system(file, crate::NAME),
    of_file,
};

fn is_lightning(file: &Path) -> bool {
    file.extension().is_some_and(|e| e == "ckpt")
}

/// The network of a config of `train-model`. The config does not say how positions are normalised, a Lightning
/// checkpoint does.
fn of_config(file: &Path, overrides: &[String], weights: &Path) -> Result<Network> {
    let config = config::load::<TrainConfig>(Some(file), overrides)?.value;
    let params = Params::new(Device::Cpu, 0);
    if config.network == NetworkKind::Tracker {
        TrackerNet::new(&params, config.model.hidden_features)?;
        let about =
            json!({ "system": crate::NAME, "network": "tracker", "hidden_features": config.model.hidden_features });
        return Ok(Network { name: "TrackerNet", state: params.state(), about, prefix: "" });
    }
    StepAhead::new(&params, &config.model)?;
    let normalizer = if is_lightning(weights) { checkpoint::load(weights)?.normalizer } else { Normalizer::default() };
    let model = serde_json::to_value(&config.model).map_err(|e| Error::failed(format!("describing the model: {e}")))?;
    let about = json!({
        "system": crate::NAME, "network": "step_ahead", "member": config.member, "model": model,
        "normalizer": normalizer, "loss_alpha": config.loss_alpha,
    });
    Ok(Network { name: "StepAheadTrackNET", state: params.state(), about, prefix: checkpoint::PREFIX })
}

/// The network that a weights file says it is; a Lightning checkpoint of the original says it, too.
fn of_file(file: &Path) -> Result<Network> {
    let own = file.extension().is_some_and(|e| e == "safetensors");
    let about = if own { neural::weights::metadata(file)? } else { None };
    if let Some(about) = about.filter(|about| about["network"] == "tracker") {
        return Ok(Network { name: "TrackerNet", state: tracker::load(file)?.params.state(), about, prefix: "" });
    }
    let loaded = checkpoint::load(file)?;
    let state = loaded.params.state();
    Ok(Network { name: "StepAheadTrackNET", state, about: described(&loaded)?, prefix: checkpoint::PREFIX })
}

/// What a file of these weights says about itself.
fn described(loaded: &checkpoint::Loaded) -> Result<Value> {
    let mut about = loaded.about.clone();
    let model =
        serde_json::to_value(&loaded.config).map_err(|e| Error::failed(format!("describing the model: {e}")))?;
    about["network"] = json!("step_ahead");
    about["model"] = model;
    about["normalizer"] = json!(loaded.normalizer);
    Ok(about)
}
