//! `convert-weights` of TrackNET's networks.

use std::path::Path;

use common::{Error, Result, config};
use neural::params::Params;
use neural::stages::{Import, Network, Weights, says_system};
use serde_json::{Value, json};
use tch::Device;

use crate::checkpoint;
use crate::export;
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
    says: |file| checkpoint::recognises(file) || says_system(file, crate::NAME),
    of_file,
    export: export::module,
};

/// The network of a config of `train-model`. The config does not say how positions are normalised, a Lightning
/// checkpoint does.
fn of_config(file: &Path, overrides: &[String], weights: Weights) -> Result<Network> {
    let config = config::load::<TrainConfig>(Some(file), overrides)?.value;
    let params = Params::new(Device::Cpu, 0);
    if config.network == NetworkKind::Tracker {
        TrackerNet::new(&params, config.model.hidden_features)?;
        let about =
            json!({ "system": crate::NAME, "network": "tracker", "hidden_features": config.model.hidden_features });
        return Ok(Network::new("TrackerNet", params.state(), about));
    }
    StepAhead::new(&params, &config.model)?;
    let lightning = weights.file.extension().is_some_and(|e| e == "ckpt");
    let said = || checkpoint::load_chosen(weights.file, weights.choice);
    let normalizer = if lightning { said()?.normalizer } else { Normalizer::default() };
    let model = serde_json::to_value(&config.model).map_err(|e| Error::failed(format!("describing the model: {e}")))?;
    let about = json!({
        "system": crate::NAME, "network": "step_ahead", "member": config.member, "model": model,
        "normalizer": normalizer, "loss_alpha": config.loss_alpha,
    });
    Ok(Network { original: hyper_parameters, ..Network::new("StepAheadTrackNET", params.state(), about) })
}

/// The network that a weights file says it is; a Lightning checkpoint of the original says it, too.
fn of_file(weights: Weights) -> Result<Network> {
    let file = weights.file;
    let own = file.extension().is_some_and(|e| e == "safetensors");
    let about = if own { neural::weights::metadata(file)? } else { None };
    if let Some(about) = about.filter(|about| about["network"] == "tracker") {
        return Ok(Network::new("TrackerNet", tracker::load(file)?.params.state(), about));
    }
    let loaded = checkpoint::load_chosen(file, weights.choice)?;
    let state = loaded.params.state();
    Ok(Network { original: hyper_parameters, ..Network::new("StepAheadTrackNET", state, described(&loaded)?) })
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

/// What a `.ckpt` says beside the tensors: sizes, the weight of the loss and the box of the normaliser, without which positions
/// would be taken for those of another box.
fn hyper_parameters(about: &Value) -> Result<Value> {
    let sizes = &about["model"];
    let corners = &about["normalizer"];
    Ok(json!({ "hyper_parameters": {
        "input_features": sizes["input_features"],
        "hidden_features": sizes["hidden_features"],
        "output_features": sizes["output_features"],
        "batch_first": true,
        "loss_alpha": about["loss_alpha"],
        "hits_normalizer": {
            "_target_": "src.tracknet.data.transformations.MinMaxNormalizeXYZ",
            "min_xyz": corners["min_xyz"],
            "max_xyz": corners["max_xyz"],
        },
    } }))
}
