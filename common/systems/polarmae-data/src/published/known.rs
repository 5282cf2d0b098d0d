//! Which keys of the original's configs are read here, and which have no meaning here.
//!
//! A key that is neither is told; one that looks like a slip of a key that is read is refused, as the original would run with
//! the default in its place.

use common::near::nearest;
use common::{Error, Result};
use serde_json::Value;

/// Keys of one part of a config.
struct Part {
    /// Where it lies, by dots; empty: the top.
    path: &'static str,
    read: &'static [&'static str],
    /// How the original runs, not what: machines, logs, files.
    without: &'static [&'static str],
}

const TRANSFORMER: Part = Part {
    path: "",
    read: &[
        "postnorm",
        "embed_dim",
        "depth",
        "num_heads",
        "mlp_ratio",
        "add_pos_at_every_layer",
        "drop_rate",
        "attn_drop_rate",
        "drop_path_rate",
        "drop_path_uniform",
    ],
    without: &["use_flash_self_attn", "use_flash_cross_attn", "qkv_bias", "init_values"],
};
const DATASET: Part = Part {
    path: "",
    read: &["energy_threshold", "remove_low_energy_scatters", "emin", "emax", "maxlen", "min_points"],
    without: &["return_semantic_id", "return_cluster_id", "return_endpoints", "data_path"],
};

const PARTS: [Part; 12] = [
    Part { path: "", read: &["seed_everything", "trainer", "model", "data"], without: &[] },
    Part {
        path: "trainer",
        read: &["max_steps", "max_epochs", "val_check_interval", "gradient_clip_val", "precision"],
        without: &[
            "accelerator",
            "barebones",
            "benchmark",
            "callbacks",
            "check_val_every_n_epoch",
            "default_root_dir",
            "detect_anomaly",
            "deterministic",
            "devices",
            "enable_checkpointing",
            "enable_model_summary",
            "enable_progress_bar",
            "inference_mode",
            "log_every_n_steps",
            "logger",
            "max_time",
            "num_nodes",
            "num_sanity_val_steps",
            "plugins",
            "profiler",
            "reload_dataloaders_every_n_epochs",
            "strategy",
            "sync_batchnorm",
            "use_distributed_sampler",
        ],
    },
    Part {
        path: "model",
        read: &[
            "encoder",
            "decoder",
            "seg_decoder",
            "dataset_kwargs",
            "loss_weights",
            "loss_func",
            "mae_prediction",
            "num_classes",
            "seg_head_dim",
            "seg_head_dropout",
            "seg_head_fetch_layers",
            "condition_global_features",
            "encoder_freeze",
            "pretrained_ckpt_path",
            "learning_rate",
            "optimizer_adamw_weight_decay",
            "lr_scheduler_linear_warmup_epochs",
            "lr_scheduler_linear_warmup_start_lr",
            "lr_scheduler_cosine_eta_min",
            "lr_scheduler_stepping",
            "svm_validation",
            "svm_validation_max_tokens",
            "train_transformations",
            "val_transformations",
            "transformation_center",
            "transformation_scale_factor",
        ],
        without: &["transformation_rotate_dims", "transformation_rotate_degs", "class_path", "compile"],
    },
    Part {
        path: "model.encoder.init_args",
        read: &["arch", "voxel_size", "masking_ratio", "masking_type", "tokenizer_kwargs", "transformer_kwargs"],
        without: &["num_channels", "apply_relative_position_bias"],
    },
    Part { path: "model.encoder.init_args.transformer_kwargs", ..TRANSFORMER },
    Part {
        path: "model.decoder.init_args",
        read: &["arch", "transformer_kwargs"],
        without: &["num_channels", "apply_relative_position_bias"],
    },
    Part { path: "model.decoder.init_args.transformer_kwargs", ..TRANSFORMER },
    Part { path: "model.seg_decoder.init_args.transformer_kwargs", ..TRANSFORMER },
    Part { path: "model.loss_weights", read: &["ae", "chamfer", "energy"], without: &[] },
    Part { path: "model.dataset_kwargs", ..DATASET },
    Part {
        path: "data.init_args",
        read: &["batch_size", "dataset_kwargs"],
        without: &[
            "data_path",
            "num_workers",
            "pin_memory",
            "svm_batch_size",
            "svm_num_workers",
            "svm_dataset_kwargs",
            "val_data_path",
        ],
    },
    Part { path: "data.init_args.dataset_kwargs", ..DATASET },
];

/// What would change a run and is not read: refused unless it says what happens here anyway.
const REFUSED: [(&str, &[&str]); 9] = [
    ("trainer.accumulate_grad_batches", &["1"]),
    ("trainer.gradient_clip_algorithm", &["norm"]),
    ("trainer.limit_train_batches", &["1.0"]),
    ("trainer.limit_val_batches", &["1.0"]),
    ("trainer.overfit_batches", &["0", "0.0"]),
    ("trainer.fast_dev_run", &["false"]),
    ("ckpt_path", &[]),
    ("optimizer", &[]),
    ("lr_scheduler", &[]),
];

/// Refuses slips and what would change a run unread; tells other keys that are not read.
///
/// # Errors
/// [`Error::Usage`] with the key and the nearest that is read.
pub(super) fn demand(config: &Value) -> Result<()> {
    for part in &PARTS {
        let found = part.path.split('.').filter(|name| !name.is_empty()).try_fold(config, |at, name| at.get(name));
        for (key, value) in found.and_then(Value::as_object).into_iter().flatten() {
            let full = if part.path.is_empty() { key.clone() } else { format!("{}.{key}", part.path) };
            if part.read.contains(&key.as_str()) || part.without.contains(&key.as_str()) {
                continue;
            }
            if let Some((_, harmless)) = REFUSED.iter().find(|(refused, _)| *refused == full) {
                if value.is_null() || harmless.contains(&value.to_string().trim_matches('"')) {
                    continue;
                }
                return Err(Error::usage(format!("`{full}` of the original's config is {value}, which is not read"))
                    .hint("take it out, or put the settings into a config of `configs/polarmae`"));
            }
            let error = format!("`{full}`: no such key in a config of the original");
            match nearest(key, part.read.iter().copied()) {
                Some(near) => return Err(Error::usage(error).hint(format!("did you mean `{near}`?"))),
                None => tracing::warn!("{error} that is known here: it is not read"),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn slips_and_what_would_change_a_run_are_refused() {
        let sound = json!({
            "seed_everything": 0,
            "trainer": { "max_steps": 3, "devices": 4, "accumulate_grad_batches": 1, "limit_val_batches": null },
            "model": { "learning_rate": 1e-3, "encoder": { "init_args": { "arch": "vit_small", "num_channels": 4 } } },
            "data": { "init_args": { "batch_size": 2, "dataset_kwargs": { "emin": 0.01, "return_cluster_id": false } } },
        });
        demand(&sound).unwrap();
        for (place, key, value, told) in [
            ("/model", "learning_rte", json!(1), "`model.learning_rte`: no such key"),
            ("/trainer", "max_step", json!(1), "`trainer.max_step`"),
            ("/data/init_args/dataset_kwargs", "energy_treshold", json!(1), "energy_treshold"),
            ("/trainer", "accumulate_grad_batches", json!(4), "is 4, which is not read"),
            ("", "ckpt_path", json!("a.ckpt"), "`ckpt_path`"),
        ] {
            let mut config = sound.clone();
            config.pointer_mut(place).unwrap()[key] = value;
            let error = demand(&config).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
