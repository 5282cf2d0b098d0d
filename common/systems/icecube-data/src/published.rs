//! The `config.json` of the published scripts and its `KEY VALUE` pairs, and what they mean here.
//!
//! `PATH` and `OUT` have no counterpart in a config: folders are given on the command line. `VALIDATION`, which published
//! configs do not have, names the files to validate on where the five published ones are not at hand.

use std::path::Path;

use common::near::nearest;
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
    let text = common::store::foreign::read_text(file)?;
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
/// published: a key without a value at the end is left out (here with a warning), and a new key is added.
///
/// Differs: [`translate`] refuses keys that are not known, which the published scripts never look at again.
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

/// Keys of a published config: those that [`translate`] reads, and `PATH` and `OUT`.
const KNOWN: [&str; 21] = [
    "SELECTION",
    "OUT",
    "PATH",
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
    VALIDATION,
];
/// Files to validate on.
const VALIDATION: &str = "VALIDATION";

/// Whether [`translate`] takes a key at the top of a published config.
pub fn is_known(key: &str) -> bool {
    KNOWN.contains(&key) || key == VALIDATION.to_lowercase()
}

fn demand_known(key: &str) -> Result<()> {
    if is_known(key) {
        return Ok(());
    }
    let error = Error::usage(format!("key `{key}`: no such key in a published config"));
    let upper = key.to_uppercase();
    Err(match nearest(&upper, KNOWN) {
        Some(near) => error.hint(format!("did you mean `{near}`? Known are {}", KNOWN.join(", "))),
        None => error.hint(format!("known are {}", KNOWN.join(", "))),
    })
}

/// Names of files: a JSON list, one name, or names between commas, in brackets or not.
fn names(value: &Value) -> Result<Vec<String>> {
    let wrong = || Error::usage(format!("`{VALIDATION}` is {value}, expected names of files: [\"batch_655.parquet\"]"));
    let found: Vec<String> = match value {
        Value::Array(list) => {
            list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or_else(wrong)?
        }
        Value::String(text) => {
            let inside = text.trim().trim_start_matches('[').trim_end_matches(']');
            inside.split(',').map(|name| name.trim().trim_matches(['"', '\'']).to_owned()).collect()
        }
        _ => return Err(wrong()),
    };
    if found.iter().any(String::is_empty) { Err(wrong()) } else { Ok(found) }
}

/// A published config as a config of `train-model`.
///
/// Differs: `LR_MAX` and `EPOCHS` are honoured, which the published script ignores (it trains eight sub-epochs at 1e-5).
pub fn translate(config: &Value) -> Result<Value> {
    let object = config.as_object().ok_or_else(|| Error::usage("a published config is a JSON object"))?;
    object.keys().try_for_each(|key| demand_known(key))?;
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
            let known = ["dim", "dim_base", "depth", "head_size", "dynedge", "use_checkpoint"].contains(&key.as_str());
            if !known {
                tracing::warn!("`MODEL_KWARGS.{key}` is not read by `{}`, as published", model.as_str().unwrap_or(""));
            }
            known
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
    // Both may be 0.
    let count = |key: &str, default: u64| {
        let value = get(key, json!(default));
        value.as_u64().ok_or_else(|| wrong(key, &value, "a whole number, 0 or more"))
    };
    let (seed, workers) = (count("SEED", 2023)?, count("NUM_WORKERS", 4)?.max(1));
    let mut model = Map::new();
    model.insert(name.to_string(), Value::Object(sizes));
    let mut ours = json!({
        "system": "icecube",
        "member": name,
        "seed": seed,
        "model": model,
        "weights": weights,
        "input": { "length": whole("L", 192)? },
        "valid_length": whole("L_VALID", 192)?,
        "lengths": get("SELECTION", json!("total")),
        "loss": loss,
        "normalisation": "switched",
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
    });
    if let Some(files) = object.get(VALIDATION).or_else(|| object.get(&VALIDATION.to_lowercase())) {
        ours["validation"] = json!(names(files)?);
    }
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_one() {
        let config = json!({ "LR_MAX": 1e-5, "MODEL_KWARGS": { "dim": 384 } });
        let pairs = |list: &[&str]| override_pairs(&config, &list.iter().map(ToString::to_string).collect::<Vec<_>>());
        let taken = |list: &[&str]| translate(&pairs(list).unwrap());
        let error = taken(&["LR_MX", "2e-5"]).unwrap_err();
        assert!(error.to_string().contains("`LR_MX`"), "{error}");
        assert!(error.hint_text().unwrap().contains("did you mean `LR_MAX`?"), "{error:?}");
        assert!(taken(&["lr_max=2e-5"]).unwrap_err().hint_text().unwrap().contains("`LR_MAX`"));
        assert_eq!(pairs(&["LR_MAX", "2e-5"]).unwrap()["LR_MAX"], json!(2e-5));
        assert_eq!(pairs(&["MODEL_KWARGS.depth", "3"]).unwrap()["MODEL_KWARGS"]["depth"], json!(3));
        let error = translate(&json!({ "LR_MAX": 1e-5, "EPOCS": 3 })).unwrap_err();
        assert!(error.hint_text().unwrap().contains("`EPOCHS`"), "{error:?}");
    }

    #[test]
    fn files_for_validation_may_be_named() {
        let config = json!({ "LR_MAX": 1e-5 });
        assert!(translate(&config).unwrap().get("validation").is_none());
        for pair in [
            &["VALIDATION", "[\"batch_655.parquet\"]"][..],
            &["validation=[\"batch_655.parquet\"]"],
            &["validation=[batch_655.parquet]"],
            &["VALIDATION=batch_655.parquet"],
        ] {
            let pairs: Vec<String> = pair.iter().map(ToString::to_string).collect();
            let ours = translate(&override_pairs(&config, &pairs).unwrap()).unwrap();
            assert_eq!(ours["validation"], json!(["batch_655.parquet"]), "{pair:?}");
        }
        assert!(translate(&json!({ "LR_MAX": 1e-5, "VALIDATION": 7 })).is_err());
    }
}
