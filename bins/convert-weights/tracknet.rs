//! TrackNET's networks.

use std::path::Path;

use ::tracknet::models::StepAhead;
use ::tracknet::tracker::network::TrackerNet;
use ::tracknet::tracker::train as tracker;
use ::tracknet::train::TrainConfig;
use ::tracknet::train::config::NetworkKind;
use ::tracknet::{checkpoint, normalizer::Normalizer};
use common::{Error, Result, config};
use neural::params::Params;
use neural::weights::Choice;
use serde_json::{Value, json};
use tch::Device;

use crate::run::Network;

/// The network of a config of `train-model`.
pub fn of_config(file: &Path, overrides: &[String]) -> Result<Network> {
    let config = config::load::<TrainConfig>(Some(file), overrides)?.value;
    let params = Params::new(Device::Cpu, 0);
    if config.network == NetworkKind::Tracker {
        TrackerNet::new(&params, config.model.hidden_features)?;
        let about =
            json!({ "system": "tracknet", "network": "tracker", "hidden_features": config.model.hidden_features });
        return Ok(Network::new("TrackerNet", params.state(), about));
    }
    StepAhead::new(&params, &config.model)?;
    let model = serde_json::to_value(&config.model).map_err(|e| Error::failed(format!("describing the model: {e}")))?;
    let about = json!({
        "system": "tracknet", "network": "step_ahead", "member": config.member, "model": model,
        "normalizer": Normalizer::default(), "loss_alpha": config.loss_alpha,
    });
    Ok(Network::new("StepAheadTrackNET", params.state(), about))
}

/// The network that a weights file says it is; a Lightning checkpoint of the original says it, too.
pub fn of_file(file: &Path, choice: &Choice) -> Result<Network> {
    let own = file.extension().is_some_and(|e| e == "safetensors");
    let about = if own { neural::weights::metadata(file)? } else { None };
    if let Some(about) = about.filter(|about| about["network"] == "tracker") {
        return Ok(Network::new("TrackerNet", tracker::load(file)?.params.state(), about));
    }
    let loaded = checkpoint::load_chosen(file, choice)?;
    let state = loaded.params.state();
    Ok(Network::new("StepAheadTrackNET", state, described(&loaded)?))
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
