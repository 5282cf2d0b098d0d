//! The `config.json` of the published scripts and its `KEY VALUE` pairs, and what they mean here.
//!
//! `PATH` and `OUT` have no counterpart in a config: folders are given on the command line.

use std::path::Path;

use common::{Error, Result, config};
use serde_json::{Map, Value, json};

/// The content of a file if it is a published config.
///
/// # Errors
/// When a `.json` file is not JSON.
pub fn read(file: &Path) -> Result<Option<Value>> {
    if file.extension().is_none_or(|e| e != "json") || config::peek(file, "system")?.is_some() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(file).map_err(|e| Error::opening(file, e))?;
    let found: Value =
        serde_json::from_str(&text).map_err(|e| Error::usage(format!("`{}`: not JSON: {e}", file.display())))?;
    Ok(is_published(&found).then_some(found))
}

/// A published config as the text of a config of `train-model`.
///
/// # Errors
/// Those of [`translate`].
pub fn text(config: &Value) -> Result<String> {
    Ok(format!("{:#}\n", translate(config)?))
}

/// Whether a config is a published one.
pub fn is_published(config: &Value) -> bool {
    config.get("MODEL_KWARGS").is_some() || config.get("LR_MAX").is_some()
}

/// Applies `KEY VALUE` pairs: dotted keys descend, a value that is JSON is taken as such, anything else as text. As
/// published: unknown keys are added, and a key without a value at the end is left out (here with a warning).
pub fn override_pairs(config: &Value, arguments: &[String]) -> Result<Value> {
    let mut config = config.clone();
    let mut rest = arguments.iter();
    while let Some(key) = rest.next() {
        let (key, text) = match (key.split_once('='), rest.as_slice().is_empty()) {
            (Some((key, value)), _) => (key, value),
            (None, true) => {
                tracing::warn!("override `{key}` has no value and is left out");
                break;
            }
            (None, false) => (key.as_str(), rest.next().map_or("", String::as_str)),
        };
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_string()));
        let mut node = &mut config;
        let parts: Vec<&str> = key.split('.').collect();
        for part in &parts[..parts.len() - 1] {
            node =
                node.get_mut(*part).ok_or_else(|| Error::usage(format!("override `{key}`: there is no `{part}`")))?;
        }
        let last = parts[parts.len() - 1];
        match node.as_object_mut() {
            Some(object) => object.insert(last.to_string(), value),
            None => return Err(Error::usage(format!("override `{key}`: nothing can be put below a single value"))),
        };
    }
    Ok(config)
}

/// Keys that are known and mean something else here.
const FOLDERS: [&str; 2] = ["PATH", "OUT"];
/// Keys that [`translate`] reads.
const KNOWN: [&str; 19] = [
    "SELECTION",
    "NUM_WORKERS",
    "SEED",
    "BS",
    "BS_VALID",
    "L",
    "L_VALID",
    "EPOCHS",
    "LR_MAX",
    "MODEL",
    "MOMS",
    "DIV",
    "DIV_FINAL",
    "EMA",
    "MODEL_KWARGS",
    "WEIGHTS",
    "LOSS_FUNC",
    "METRIC",
    "PATH",
];

/// A published config as a config of `train-model`.
///
/// Differs: `LR_MAX` and `EPOCHS` are honoured, which the published script ignores (it trains eight sub-epochs at 1e-5).
pub fn translate(config: &Value) -> Result<Value> {
    let object = config.as_object().ok_or_else(|| Error::usage("a published config is a JSON object"))?;
    for key in object.keys().filter(|key| !KNOWN.contains(&key.as_str()) && !FOLDERS.contains(&key.as_str())) {
        tracing::warn!("`{key}` of the published config means nothing and is left out");
    }
    let get = |key: &str, default: Value| object.get(key).cloned().unwrap_or(default);
    let wrong =
        |key: &str, value: &Value, expected: &str| Error::usage(format!("`{key}` is {value}, expected {expected}"));
    let whole = |key: &str, default: u64| {
        let value = get(key, json!(default));
        value.as_u64().filter(|n| *n > 0).ok_or_else(|| wrong(key, &value, "a whole number above 0"))
    };
    let number = |key: &str, default: f64| {
        let value = get(key, json!(default));
        value.as_f64().ok_or_else(|| wrong(key, &value, "a number"))
    };
    let model = get("MODEL", json!("DeepIceModel"));
    let name = match model.as_str() {
        Some("DeepIceModel") => "deep_ice",
        Some("EncoderWithDirectionReconstructionV22") => "v22",
        Some("EncoderWithDirectionReconstructionV23") => "v23",
        _ => {
            let classes =
                "`DeepIceModel`, `EncoderWithDirectionReconstructionV22` or `EncoderWithDirectionReconstructionV23`";
            return Err(wrong("MODEL", &model, classes));
        }
    };
    let mut sizes = get("MODEL_KWARGS", json!({})).as_object().cloned().unwrap_or_default();
    if name != "deep_ice" {
        // As published: these networks ignore what they do not know.
        sizes.retain(|key, _| {
            ["dim", "dim_base", "depth", "head_size", "dynedge", "use_checkpoint"].contains(&key.as_str())
        });
    }
    let loss = get("LOSS_FUNC", json!("loss_vms"));
    let loss = match loss.as_str() {
        Some("loss") => "angle",
        Some("loss_vms") => "vms",
        Some("loss_comb") => "comb",
        _ => return Err(wrong("LOSS_FUNC", &loss, "`loss`, `loss_vms` or `loss_comb`")),
    };
    let metric = get("METRIC", json!("loss"));
    if metric != "loss" {
        return Err(wrong("METRIC", &metric, "`loss`"));
    }
    let moms = get("MOMS", Value::Bool(false));
    let moms = if moms == Value::Bool(false) { json!([0.95, 0.85, 0.95]) } else { moms };
    let weights = match get("WEIGHTS", Value::Bool(false)) {
        Value::Bool(false) | Value::Null => Value::Null,
        other => other,
    };
    let ema = match get("EMA", Value::Bool(false)) {
        Value::Bool(true) => json!({ "decay": 0.9998, "every_batch": true }),
        Value::Bool(false) => Value::Null,
        other => return Err(wrong("EMA", &other, "true or false")),
    };
    let batch = whole("BS", 32)?;
    let workers = get("NUM_WORKERS", json!(4)).as_u64().unwrap_or(4);
    let mut model = Map::new();
    model.insert(name.to_string(), Value::Object(sizes));
    Ok(json!({
        "system": "icecube",
        "member": name,
        "seed": whole("SEED", 2023)?,
        "model": model,
        "weights": weights,
        "input": { "length": whole("L", 192)? },
        "valid_length": whole("L_VALID", 192)?,
        "lengths": get("SELECTION", json!("total")),
        "loss": loss,
        "val_batch_size": whole("BS_VALID", 32)?,
        "select": "last",
        "training": {
            "epochs": whole("EPOCHS", 8)?,
            "batch_size": batch,
            // As published: the limit counts events although it was meant to count batches.
            "accumulate_rows": (4096 / batch).max(1),
            "max_grad_norm": 3.0,
            "optimizer": { "adam_w": { "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.05 } },
            "learning_rate": number("LR_MAX", 5e-4)?,
            "schedule": { "one_cycle": {
                "pct_start": 0.01, "div": number("DIV", 25.0)?, "div_final": number("DIV_FINAL", 25.0)?, "moms": moms,
            } },
            "ema": ema,
            "checkpoint": { "top_k": 8 },
            "loader": { "workers": workers, "ahead": 8 },
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::ModelConfig;
    use crate::train::TrainConfig;

    #[test]
    fn gradient_checkpointing_of_a_published_config_is_taken_by_every_network() {
        for class in ["DeepIceModel", "EncoderWithDirectionReconstructionV22", "EncoderWithDirectionReconstructionV23"]
        {
            for on in [true, false] {
                let theirs = json!({ "MODEL": class, "LR_MAX": 1e-5, "MODEL_KWARGS": { "use_checkpoint": on } });
                let ours: TrainConfig = serde_json::from_value(translate(&theirs).unwrap()).unwrap();
                let found = match &ours.model {
                    ModelConfig::DeepIce(c) => c.use_checkpoint,
                    ModelConfig::V22(c) | ModelConfig::V23(c) => c.use_checkpoint,
                    ModelConfig::Encoder(_) => panic!("no published network"),
                };
                assert_eq!(found, on, "{class}");
            }
        }
    }
}
