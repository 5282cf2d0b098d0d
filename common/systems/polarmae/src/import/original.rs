//! What a checkpoint must say about itself so that the published code's `load_finetune_checkpoint` takes it: the arguments
//! of the network's and of the data's constructors.

use common::{Error, Result};
use serde_json::{Map, Value, json};

use crate::grouping::GroupingConfig;
use crate::models::mae::MaeConfig;
use crate::models::segmentation::SegmentationConfig;
use crate::models::transformer::TransformerConfig;
use crate::train::ModelConfig;
use crate::transforms::Transform;

/// The function that Lightning's command line made the objects with; the loader takes the entry out again.
const INSTANTIATOR: &str = "pytorch_lightning.cli.instantiate_module";

/// The same for what a file of ours says about itself.
///
/// # Errors
/// [`Error::Failed`] where it describes no network of this version.
pub fn of_about(about: &Value) -> Result<Value> {
    let bad = |e: serde_json::Error| Error::failed(format!("the weights describe no network of this version: {e}"));
    let model: ModelConfig = serde_json::from_value(about["model"].clone()).map_err(bad)?;
    let transforms: Vec<Transform> = serde_json::from_value(about["transforms"].clone()).map_err(bad)?;
    Ok(hyper_parameters(&model, &transforms))
}

/// `hyper_parameters` and `datamodule_hyper_parameters` of a network on events that were transformed so.
pub fn hyper_parameters(model: &ModelConfig, transforms: &[Transform]) -> Value {
    let scale = Transform::scale_of(transforms);
    let mut network = match model {
        ModelConfig::Mae(task) => mae(&task.network, scale),
        ModelConfig::Segmentation(task) => segmentation(&task.network, scale),
    };
    let center = transforms.iter().find_map(|t| match t {
        Transform::CenterAndScale { center, .. } => Some(center.map(f64::from)),
        _ => None,
    });
    network["train_transformations"] = json!(["center_and_scale", "rotate"]);
    network["val_transformations"] = if center.is_some() { json!(["center_and_scale"]) } else { json!([]) };
    network["transformation_center"] = json!(center.unwrap_or([0.0; 3]));
    network["transformation_scale_factor"] = json!(scale);
    network["_instantiator"] = json!(INSTANTIATOR);
    json!({
        "hparams_name": "kwargs",
        "hyper_parameters": network,
        "datamodule_hparams_name": "kwargs",
        "datamodule_hyper_parameters": {
            "_class_path": "polarmae.datasets.PILArNetDataModule",
            "data_path": "train/*.h5",
            "batch_size": 32,
            "num_workers": 4,
            "dataset_kwargs": {
                "energy_threshold": 0.13,
                "remove_low_energy_scatters": true,
                "emin": 0.01,
                "emax": 20.0,
                "maxlen": -1,
                "min_points": 1024,
            },
            "test_dataset_kwargs": {},
            "_instantiator": INSTANTIATOR,
        },
    })
}

fn mae(config: &MaeConfig, scale: f64) -> Value {
    let mut all = json!({
        "encoder": encoder(&config.encoder.tokenizer, &config.encoder.transformer, config.masking_ratio, scale),
        "decoder": decoder(&config.decoder),
    });
    // Point-MAE's class knows neither the kind of prediction nor a weight of the energies.
    if config.energy_infilling {
        all["mae_prediction"] = json!(config.mae_prediction);
        all["loss_weights"] = json!({ "ae": 0.0, "chamfer": config.chamfer_weight, "energy": config.energy_weight });
    }
    all
}

fn segmentation(config: &SegmentationConfig, scale: f64) -> Value {
    json!({
        "encoder": encoder(&config.encoder.tokenizer, &config.encoder.transformer, 0.6, scale),
        "seg_decoder": config.seg_decoder.as_ref().map(decoder),
        "num_classes": config.num_classes,
        "seg_head_fetch_layers": config.fetch_layers,
        "seg_head_dim": config.head_dim,
        "seg_head_dropout": config.head_dropout,
        "condition_global_features": config.condition_global_features,
        "encoder_freeze": false,
        "loss_func": "focal",
        "pretrained_ckpt_path": Value::Null,
    })
}

fn encoder(tokenizer: &GroupingConfig, transformer: &TransformerConfig, masking_ratio: f64, scale: f64) -> Value {
    let radius = tokenizer.radius.unwrap_or(5.0 * scale);
    // The published tokenizer whose radius is nearest; what it does otherwise is said beside it.
    let voxels = [2.5, 5.0, 25.0].into_iter().min_by(|a: &f64, b| {
        let off = |size: f64| (size * scale / radius).ln().abs();
        off(*a).total_cmp(&off(*b))
    });
    let mut kwargs = json!({
        "num_init_groups": tokenizer.suppression_neighbors,
        "context_length": tokenizer.max_groups.unwrap_or(512),
        "group_max_points": tokenizer.slots,
        "group_upscale_points": tokenizer.upscale_points,
        "group_radius": radius,
    });
    if let Some(overlap) = tokenizer.overlap {
        kwargs["overlap_factor"] = json!(overlap);
    }
    json!({
        "class_path": "polarmae.layers.encoder.TransformerEncoder",
        "init_args": {
            "num_channels": 4,
            "arch": transformer.arch,
            "masking_ratio": masking_ratio,
            "masking_type": "rand",
            "voxel_size": voxels,
            "tokenizer_kwargs": kwargs,
            "transformer_kwargs": kwargs_of(transformer),
            "apply_relative_position_bias": false,
        },
    })
}

fn decoder(config: &TransformerConfig) -> Value {
    json!({
        "class_path": "polarmae.layers.decoder.TransformerDecoder",
        "init_args": { "arch": config.arch, "transformer_kwargs": kwargs_of(config) },
    })
}

fn kwargs_of(config: &TransformerConfig) -> Value {
    let mut kwargs = Map::new();
    for (key, value) in [
        ("embed_dim", json!(config.dim())),
        ("num_heads", json!(config.heads())),
        ("depth", json!(config.depth())),
        ("mlp_ratio", json!(config.mlp_ratio)),
        ("postnorm", json!(config.postnorm)),
        ("add_pos_at_every_layer", json!(config.add_pos_at_every_layer)),
        ("drop_rate", json!(config.drop_rate)),
        ("attn_drop_rate", json!(config.attn_drop_rate)),
        ("drop_path_rate", json!(config.drop_path_rate)),
        ("drop_path_uniform", json!(config.drop_path_uniform)),
    ] {
        kwargs.insert(key.into(), value);
    }
    Value::Object(kwargs)
}
