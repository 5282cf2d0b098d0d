//! Which key of the original's config a key of ours comes from, for messages about where a value stands.

use serde_json::Value;

/// Keys of ours and of theirs, one to one. The longest beginning of ours counts.
const KEYS: [(&str, &str); 36] = [
    ("seed", "seed_everything"),
    ("training.epochs", "trainer.max_epochs"),
    ("training.max_steps", "trainer.max_steps"),
    ("training.batch_size", "data.init_args.batch_size"),
    ("training.evaluate_every_steps", "trainer.val_check_interval"),
    ("training.max_grad_norm", "trainer.gradient_clip_val"),
    ("training.precision", "trainer.precision"),
    ("training.learning_rate", "model.learning_rate"),
    ("training.optimizer.adam_w.weight_decay", "model.optimizer_adamw_weight_decay"),
    ("training.schedule.warmup_cosine.warmup", "model.lr_scheduler_linear_warmup_epochs"),
    ("training.schedule.warmup_cosine.max_steps", "trainer.max_steps"),
    ("training.schedule.warmup_cosine.start", "model.lr_scheduler_linear_warmup_start_lr"),
    ("training.schedule.warmup_cosine.eta_min", "model.lr_scheduler_cosine_eta_min"),
    ("data.max_events", "DATASET.maxlen"),
    ("data.val_batch_size", "data.init_args.batch_size"),
    ("data.expected.energy_threshold", "DATASET.energy_threshold"),
    ("data.expected.energy_max", "DATASET.emax"),
    ("data.expected.min_points", "DATASET.min_points"),
    ("data.expected.remove_low_energy_scatters", "DATASET.remove_low_energy_scatters"),
    ("data.train_transforms", "model.train_transformations"),
    ("data.val_transforms", "model.val_transformations"),
    ("model.mae.network.masking_ratio", "model.encoder.init_args.masking_ratio"),
    ("model.mae.network.mae_prediction", "model.mae_prediction"),
    ("model.mae.network.chamfer_weight", "model.loss_weights.chamfer"),
    ("model.mae.network.energy_weight", "model.loss_weights.energy"),
    ("model.mae.network.encoder.transformer.arch", "model.encoder.init_args.arch"),
    ("model.mae.network.decoder.arch", "model.decoder.init_args.arch"),
    ("model.mae.svm.max_tokens", "model.svm_validation_max_tokens"),
    ("model.segmentation.network.num_classes", "model.num_classes"),
    ("model.segmentation.network.condition_global_features", "model.condition_global_features"),
    ("model.segmentation.network.fetch_layers", "model.seg_head_fetch_layers"),
    ("model.segmentation.network.head_dim", "model.seg_head_dim"),
    ("model.segmentation.network.head_dropout", "model.seg_head_dropout"),
    ("model.segmentation.network.encoder.transformer.arch", "model.encoder.init_args.arch"),
    ("model.segmentation.pretrained", "model.pretrained_ckpt_path"),
    ("model.segmentation.loss", "model.loss_func"),
];

/// The key of theirs; none for what several of theirs make together.
pub(super) fn of(ours: &str, config: &Value) -> Option<String> {
    let fits = |begin: &str| ours == begin || ours.strip_prefix(begin).is_some_and(|rest| rest.starts_with('.'));
    let (_, theirs) = KEYS.iter().filter(|(begin, _)| fits(begin)).max_by_key(|(begin, _)| begin.len())?;
    // The segmentation has the data set's settings in the model, the others in the data.
    let of_model = config.pointer("/model/dataset_kwargs").is_some();
    let dataset = if of_model { "model.dataset_kwargs" } else { "data.init_args.dataset_kwargs" };
    Some(theirs.replace("DATASET", dataset))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_lead_back_to_the_originals() {
        let config = json!({ "data": { "init_args": { "dataset_kwargs": {} } } });
        assert_eq!(of("seed", &config).unwrap(), "seed_everything");
        assert_eq!(of("data.train_transforms.0.rotate", &config).unwrap(), "model.train_transformations");
        assert_eq!(of("data.max_events", &config).unwrap(), "data.init_args.dataset_kwargs.maxlen");
        assert_eq!(of("training.checkpoint.top_k", &config), None);
    }
}
