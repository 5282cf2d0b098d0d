//! The original's configs (Lightning YAML), and what they mean here.
//!
//! Folders of data and where logs go have no counterpart in a config: they are given on the command line. The selection
//! of points belongs to `prepare-data`.

mod interpolate;
mod known;
mod origin;

use std::path::Path;

use common::config::{self, Config, Problems, Resolved};
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::grouping::GroupingConfig;
use crate::preparation::Expected;
use crate::transforms::{Transform, published_scale};

/// A config of any layout.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Original(Map<String, Value>);

impl Config for Original {
    fn validate(&self, _: &mut Problems) {}
}

/// The content of a file if it is a config of the original.
pub fn read(file: &Path) -> Result<Option<Value>> {
    let is_yaml = file.extension().is_some_and(|e| e == "yaml" || e == "yml");
    // One that names its system is ours; what is wrong with it is told by its own reader.
    if !is_yaml || config::peek(file, "system")?.is_some() || config::peek(file, "model")?.is_none() {
        return Ok(None);
    }
    let original = Value::Object(config::load::<Original>(Some(file), &[])?.value.0);
    let class = original.pointer("/model/encoder/class_path").and_then(Value::as_str);
    Ok(class.is_some_and(|class| class.starts_with("polarmae.")).then_some(original))
}

/// Whether a file is a config of the original.
///
/// # Errors
/// Those of reading it.
pub fn recognises(file: &Path) -> Result<bool> {
    Ok(read(file)?.is_some())
}

/// A config of `train-model`, whose type is `T`, from its file, or from one of the original's: then origins of values are the lines of its keys.
///
/// # Errors
/// Those of [`config::load`], and of what the original's config asks for and is not known here.
pub fn load<T: Config>(file: &Path, overrides: &[String]) -> Result<Resolved<T>> {
    match read(file)? {
        Some(theirs) => {
            let ours = format!("{:#}\n", translate(&theirs)?);
            config::load_translated(file, &ours, overrides, &|key| origin::of(key, &theirs))
        }
        None => config::load(Some(file), overrides),
    }
}

/// A config of the original as a config of `train-model`.
pub fn translate(config: &Value) -> Result<Value> {
    known::demand(config)?;
    let resolved = interpolate::resolve(config)?;
    let at = |section: &'static str| Section { value: resolved.get(section).unwrap_or(&Value::Null), path: section };
    let (model, trainer) = (at("model"), at("trainer"));
    let data = Section { value: resolved.pointer("/data/init_args").unwrap_or(&Value::Null), path: "data.init_args" };
    let scale = model.number("transformation_scale_factor", published_scale())?;
    let encoder = model.inner("encoder.init_args", "model.encoder.init_args");
    let chain = |key: &str| transforms(&model, key, scale);
    let network = json!({
        "tokenizer": tokenizer(&encoder, scale)?,
        "transformer": transformer(&encoder, false)?,
    });
    let segmentation = model.has("num_classes") || model.has("seg_head_dim");
    let task = if segmentation {
        json!({ "segmentation": segment(&model, network)? })
    } else {
        json!({ "mae": pretrain(&model, &encoder, network)? })
    };
    // The segmentation has them in the model, the others in the data.
    let (of_model, of_data) = (
        model.inner("dataset_kwargs", "model.dataset_kwargs"),
        data.inner("dataset_kwargs", "data.init_args.dataset_kwargs"),
    );
    let selected = if of_model.value.is_object() { of_model } else { of_data };
    let most = selected.find("maxlen");
    let batch = data.whole("batch_size", 32)?;
    let steps = trainer.whole("max_steps", 500_000)?;
    let warmup = model.whole("lr_scheduler_linear_warmup_epochs", 12_500)?;
    if model.text("lr_scheduler_stepping", "step")? != "step" {
        return Err(model.wrong("lr_scheduler_stepping", "`step`"));
    }
    let precision = match trainer.value.get("precision").map_or("32".into(), plain).as_str() {
        "bf16-mixed" | "bf16" => "bf16",
        "16-mixed" | "16" => "f16",
        "32-true" | "32" => "f32",
        _ => return Err(trainer.wrong("precision", "`bf16-mixed`, `16-mixed` or `32-true`")),
    };
    Ok(json!({
        "system": "polarmae",
        "member": match (segmentation, model.bool("encoder_freeze", false)?) { (false, _) => "pretrain", (true, true) => "peft", (true, false) => "fft" },
        "seed": resolved.get("seed_everything").and_then(Value::as_u64).unwrap_or(0),
        "model": task,
        "data": {
            "max_events": most.and_then(Value::as_i64).filter(|n| *n > 0),
            "val_batch_size": batch,
            "expected": expected(&selected)?,
            "train_transforms": chain("train_transformations")?.unwrap_or_else(|| json!(Transform::published_training())),
            "val_transforms": chain("val_transformations")?.unwrap_or_else(|| json!(Transform::published_validation())),
        },
        "training": {
            "epochs": trainer.whole("max_epochs", 800)?,
            "max_steps": steps,
            "batch_size": batch,
            "shuffle": "torch",
            "evaluate_every_steps": trainer.whole("val_check_interval", 500)?,
            "max_grad_norm": trainer.number("gradient_clip_val", 3.0)?,
            "optimizer": { "adam_w": { "weight_decay": model.number("optimizer_adamw_weight_decay", 0.05)? } },
            "learning_rate": model.number("learning_rate", 1e-4)?,
            "schedule": { "warmup_cosine": {
                "warmup": warmup,
                "max_steps": steps,
                "start": model.number("lr_scheduler_linear_warmup_start_lr", 8.6e-6)?,
                "eta_min": model.number("lr_scheduler_cosine_eta_min", 8.6e-6)?,
            } },
            "precision": precision,
            "checkpoint": { "every_steps": 1000, "top_k": 1 },
        },
    }))
}

/// How the original would select events. `null`: the config does not say.
fn expected(selected: &Section) -> Result<Value> {
    let number = |key: &str| selected.find(key).map(|_| selected.number(key, 0.0)).transpose();
    let threshold = number("energy_threshold")?;
    let expected = Expected {
        energy_threshold: threshold,
        // As published: with a threshold, that is the floor of the logarithm, whatever `emin` says.
        log_floor: if threshold.is_some_and(|t| t > 0.0) { threshold } else { number("emin")? },
        energy_max: number("emax")?,
        min_points: selected.find("min_points").map(|_| selected.whole("min_points", 0)).transpose()?,
        remove_low_energy_scatters: selected
            .find("remove_low_energy_scatters")
            .map(|_| selected.bool("remove_low_energy_scatters", false))
            .transpose()?,
    };
    Ok(if expected == Expected::default() { Value::Null } else { json!(expected) })
}

fn pretrain(model: &Section, encoder: &Section, network: Value) -> Result<Value> {
    if model.number("loss_weights.ae", 0.0)? != 0.0 {
        return Err(model.wrong("loss_weights.ae", "0: the original stops at any other weight"));
    }
    if encoder.text("masking_type", "rand")? != "rand" {
        return Err(encoder.wrong("masking_type", "`rand`, the only kind that the original runs with"));
    }
    let decoder = model.inner("decoder.init_args", "model.decoder.init_args");
    // Point-MAE's class knows neither the kind of prediction nor a weight of the energies.
    let infilling = model.has("mae_prediction") || model.has("loss_weights.energy");
    let tokens = model.whole("svm_validation_max_tokens", 7500)?;
    Ok(json!({
        "network": {
            "encoder": network,
            "decoder": transformer(&decoder, true)?,
            "masking_ratio": encoder.number("masking_ratio", 0.6)?,
            "mae_prediction": model.text("mae_prediction", "full")?,
            "energy_infilling": infilling,
            "chamfer_weight": model.number("loss_weights.chamfer", 1.0)?,
            "energy_weight": model.number("loss_weights.energy", 1.0)?,
        },
        "svm": model.has("svm_validation").then(|| json!({ "max_tokens": tokens })),
    }))
}

fn segment(model: &Section, network: Value) -> Result<Value> {
    let decoder = match model.value.get("seg_decoder").is_some_and(|d| !d.is_null()) {
        true => transformer(&model.inner("seg_decoder.init_args", "model.seg_decoder.init_args"), true)?,
        false => Value::Null,
    };
    let loss = match model.text("loss_func", "nll")?.as_str() {
        "focal" | "fancy" => "focal",
        "nll" => "nll",
        _ => return Err(model.wrong("loss_func", "`focal`, `fancy` or `nll`")),
    };
    let layers = model.value.get("seg_head_fetch_layers").cloned().unwrap_or_else(|| json!([3, 7, 11]));
    Ok(json!({
        "network": {
            "encoder": network,
            "num_classes": model.whole("num_classes", 4)?,
            "seg_decoder": decoder,
            "condition_global_features": model.bool("condition_global_features", true)?,
            "fetch_layers": layers,
            "head_dim": model.whole("seg_head_dim", 512)?,
            "head_dropout": model.number("seg_head_dropout", 0.5)?,
        },
        "pretrained": model.value.get("pretrained_ckpt_path").cloned().unwrap_or(Value::Null),
        "encoder": if model.bool("encoder_freeze", false)? { "frozen_as_published" } else { "learns" },
        "loss": loss,
    }))
}

/// `voxel_size` names a tokenizer; `tokenizer_kwargs` change it.
fn tokenizer(encoder: &Section, scale: f64) -> Result<Value> {
    let size = encoder.number("voxel_size", 5.0)?;
    let mut config = match size {
        2.5 => GroupingConfig::voxels_2p5(scale),
        5.0 => GroupingConfig::voxels_5(scale),
        25.0 => GroupingConfig::voxels_25(scale),
        _ => return Err(encoder.wrong("voxel_size", "2.5, 5 or 25")),
    };
    let given = encoder.inner("tokenizer_kwargs", "model.encoder.init_args.tokenizer_kwargs");
    for key in given.value.as_object().into_iter().flat_map(Map::keys) {
        let count = || given.whole(key, 1).map(|n| n as usize);
        match key.as_str() {
            "num_init_groups" => config.suppression_neighbors = count()?,
            "group_max_points" => config.slots = count()?,
            "group_upscale_points" => config.upscale_points = count()?,
            "group_radius" => config.radius = Some(given.number(key, 1.0)?),
            "overlap_factor" => config.overlap = Some(given.number(key, 1.0)?),
            "use_relative_features" => config.relative_features = given.bool(key, false)?,
            "reduction_method" if given.text(key, "fps")? == "fps" => {}
            // Without a limit results are those of the original as long as nothing exceeds its.
            "context_length" | "num_channels" => {}
            _ => {
                return Err(
                    given.wrong(key, "a key that Podium knows: put the tokenizer into a config of `configs/polarmae`")
                );
            }
        }
    }
    Ok(json!(config))
}

fn transformer(of: &Section, postnorm: bool) -> Result<Value> {
    let given = of.inner("transformer_kwargs", of.path);
    let arch = of.text("arch", "vit_small")?;
    let mut config = json!({ "arch": arch, "postnorm": given.bool("postnorm", postnorm)? });
    for (theirs, ours) in [
        ("embed_dim", "embed_dim"),
        ("depth", "depth"),
        ("num_heads", "heads"),
        ("mlp_ratio", "mlp_ratio"),
        ("add_pos_at_every_layer", "add_pos_at_every_layer"),
        ("drop_rate", "drop_rate"),
        ("attn_drop_rate", "attn_drop_rate"),
        ("drop_path_rate", "drop_path_rate"),
        ("drop_path_uniform", "drop_path_uniform"),
    ] {
        if let Some(value) = given.value.get(theirs).filter(|v| !v.is_null()) {
            config[ours] = match value.as_f64() {
                Some(n) if theirs == "mlp_ratio" => json!(n as i64),
                _ => value.clone(),
            };
        }
    }
    Ok(config)
}

/// The named steps of a chain. `None`: the config does not say.
fn transforms(model: &Section, key: &str, scale: f64) -> Result<Option<Value>> {
    let Some(list) = model.value.get(key).and_then(Value::as_array) else { return Ok(None) };
    let center = model.value.get("transformation_center").cloned().unwrap_or_else(|| json!([384, 384, 384]));
    let step = |name: &Value| match name.as_str() {
        Some("center_and_scale") => Ok(json!({ "center_and_scale": { "center": center, "scale": scale } })),
        Some("rotate") => Ok(json!({ "rotate": {} })),
        Some(name @ ("center" | "unit_sphere")) => Ok(json!(name)),
        _ => Err(model.wrong(
            key,
            "`center_and_scale`, `rotate`, `center` or `unit_sphere`: the original gives the others no numbers",
        )),
    };
    list.iter().map(step).collect::<Result<Vec<_>>>().map(|steps| Some(Value::Array(steps)))
}

/// A part of a config, and its place for messages.
struct Section<'a> {
    value: &'a Value,
    path: &'static str,
}

impl<'a> Section<'a> {
    /// What lies below a dotted key; nothing where it is missing.
    fn inner(&self, key: &str, path: &'static str) -> Section<'a> {
        Section { value: self.find(key).unwrap_or(&Value::Null), path }
    }

    fn find(&self, key: &str) -> Option<&'a Value> {
        key.split('.').try_fold(self.value, |at, part| at.get(part)).filter(|v| !v.is_null())
    }

    fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn wrong(&self, key: &str, expected: &str) -> Error {
        let found = self.find(key).map_or("missing".into(), plain);
        Error::usage(format!("`{}.{key}` of the original's config is `{found}`, expected {expected}", self.path))
    }

    fn number(&self, key: &str, default: f64) -> Result<f64> {
        self.find(key).map_or(Ok(default), |v| v.as_f64().ok_or_else(|| self.wrong(key, "a number")))
    }

    fn whole(&self, key: &str, default: u64) -> Result<u64> {
        let whole =
            |v: &Value| v.as_u64().or_else(|| v.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0).map(|n| n as u64));
        self.find(key).map_or(Ok(default), |v| whole(v).ok_or_else(|| self.wrong(key, "a whole number")))
    }

    fn bool(&self, key: &str, default: bool) -> Result<bool> {
        self.find(key).map_or(Ok(default), |v| v.as_bool().ok_or_else(|| self.wrong(key, "true or false")))
    }

    fn text(&self, key: &str, default: &str) -> Result<String> {
        self.find(key)
            .map_or(Ok(default.into()), |v| v.as_str().map(String::from).ok_or_else(|| self.wrong(key, "a text")))
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}
