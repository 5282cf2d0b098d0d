//! The configs of the original (groups `dataset`, `transforms`, `model`, `training`; Hydra) as configs of ours.

use common::config::hydra::{Group, Translated};
use common::{Error, Result};
use serde_json::{Map, Value, json};

/// What a class of the original is here, or which classes are known.
fn unknown(key: &str, class: &str, known: &str) -> Error {
    Error::usage(format!("`{key}._target_` is of the class `{class}`, expected one of {known}"))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The config of `prepare-data`.
pub fn prepare(tree: &Value) -> Result<Translated> {
    let mut data = Group::of(tree, "dataset")?;
    let mut from = vec![
        ("transforms".to_string(), "dataset.transforms".to_string()),
        ("filters".to_string(), "dataset.filters".to_string()),
        ("seed".to_string(), "training.seed".to_string()),
    ];
    let mut transforms = Vec::new();
    for (i, value) in items(&data.take("transforms")).enumerate() {
        let key = format!("dataset.transforms.{i}");
        let mut transform = Group::inner(key.clone(), value)?;
        transforms.push(match transform.class() {
            "DropRepeatedLayerHits" => json!("drop_repeated_layers"),
            "MinMaxNormalizeXYZ" => {
                // In f32 the original's epsilon of 1e-9 changes nothing.
                transform.take("epsilon");
                json!({ "normalize": { "min_xyz": transform.take("min_xyz"), "max_xyz": transform.take("max_xyz") } })
            }
            other => return Err(unknown(&key, other, "`DropRepeatedLayerHits` and `MinMaxNormalizeXYZ`")),
        });
        transform.finish()?;
    }
    let mut filters = json!({ "min_hits": null, "min_pt": null, "first_layers": [] });
    for (i, value) in items(&data.take("filters")).enumerate() {
        let key = format!("dataset.filters.{i}");
        let mut filter = Group::inner(key.clone(), value)?;
        let class = filter.class().to_string();
        let mut put = |ours: &str, theirs: &'static str| {
            filters[ours] = filter.take(theirs);
            from.push((format!("filters.{ours}"), format!("{key}.{theirs}")));
        };
        match class.as_str() {
            "MinHitsFilter" => put("min_hits", "min_hits"),
            "PtFilter" => put("min_pt", "min_pt"),
            "FirstLayerFilter" => put("first_layers", "valid_first_layers"),
            other => return Err(unknown(&key, other, "`MinHitsFilter`, `PtFilter` and `FirstLayerFilter`")),
        }
        filter.finish()?;
    }
    let mut ours = Map::new();
    ours.insert("system".into(), json!("tracknet"));
    for key in ["data_dirs", "blacklist_dir", "validation_split"] {
        let value = data.take(key);
        // The original takes one folder as a text, too.
        let value = if key == "data_dirs" && value.is_string() { json!([value]) } else { value };
        from.push((key.into(), format!("dataset.{key}")));
        if !value.is_null() {
            ours.insert(key.into(), value);
        }
    }
    data.finish()?;
    if let Some(seed) = tree.pointer("/training/seed") {
        ours.insert("seed".into(), seed.clone());
    }
    ours.insert("transforms".into(), json!(transforms));
    ours.insert("filters".into(), filters);
    Ok(Translated { tree: Value::Object(ours), from })
}

/// The config of `train-model`. Differs: each track comes once an epoch, in random order over the events, where the
/// original's workers deliver every batch four times, in the order of the files.
pub fn train(tree: &Value) -> Result<Translated> {
    let mut model = Group::of(tree, "model")?;
    let mut training = Group::of(tree, "training")?;
    // The normaliser is that of the prepared tracks; sequences are packed with the batch first whatever this says.
    let _ = (model.take("hits_normalizer"), model.take("batch_first"), training.take("num_workers"));
    let or = |value: Value, default: Value| if value.is_null() { default } else { value };
    let resume = training.take("resume_from");
    if !resume.is_null() {
        return Err(Error::usage(format!("`training.resume_from` is {resume}, which is not read"))
            .hint("a run goes on when the same command is given again; `resume_from` is null then"));
    }
    let batch_size = or(training.take("batch_size"), json!(32));
    // A fraction is a share of the epoch, and 1.0 all of it; a whole number counts batches.
    let limit = match training.take("limit_train_batches") {
        Value::Number(n) if n.is_f64() => match n.as_f64() {
            Some(1.0) => Value::Null,
            _ => {
                return Err(Error::usage(format!(
                    "`training.limit_train_batches` is {n}, expected 1.0 or a whole number"
                )));
            }
        },
        other => other,
    };
    let accumulate = or(training.take("accumulate_grad_batches"), json!(1));
    let rows = match (accumulate.as_u64(), batch_size.as_u64()) {
        (Some(1), _) => Value::Null,
        (Some(batches), Some(size)) => json!(batches * size),
        _ => {
            let problem = format!("`training.accumulate_grad_batches` is {accumulate}, expected a whole number");
            return Err(Error::usage(problem));
        }
    };
    let ours = json!({
        "system": "tracknet",
        "member": tree.pointer("/experiment/name").cloned().unwrap_or(json!("step_ahead")),
        "seed": or(training.take("seed"), json!(42)),
        "model": {
            "input_features": or(model.take("input_features"), json!(3)),
            "hidden_features": or(model.take("hidden_features"), json!(32)),
            "output_features": or(model.take("output_features"), json!(3)),
        },
        "loss_alpha": or(model.take("loss_alpha"), json!(0.9)),
        "hit_density_stats_path": model.take("hit_density_stats_path"),
        "limit_train_batches": limit,
        "val_batch_size": batch_size,
        "training": {
            "epochs": or(training.take("max_epochs"), json!(10)),
            "batch_size": batch_size,
            "keep_last_batch": true,
            "shuffle": "global",
            "accumulate_rows": rows,
            "max_grad_norm": training.take("gradient_clip_val"),
            "optimizer": { "adam": {} },
            "learning_rate": or(model.take("learning_rate"), json!(0.001)),
            "schedule": { "plateau": { "factor": 0.3, "patience": 2, "min_lr": 0.0, "threshold": 1e-4 } },
            "checkpoint": { "every_seconds": 600, "top_k": 3 },
            "print_freq": 50,
        },
    });
    model.finish()?;
    training.finish()?;
    let from = FROM.iter().map(|(ours, theirs)| ((*ours).to_string(), (*theirs).to_string())).collect();
    Ok(Translated { tree: ours, from })
}

/// Keys of our training and those of the original that they come from.
const FROM: [(&str, &str); 14] = [
    ("member", "experiment.name"),
    ("seed", "training.seed"),
    ("model.input_features", "model.input_features"),
    ("model.hidden_features", "model.hidden_features"),
    ("model.output_features", "model.output_features"),
    ("loss_alpha", "model.loss_alpha"),
    ("hit_density_stats_path", "model.hit_density_stats_path"),
    ("limit_train_batches", "training.limit_train_batches"),
    ("val_batch_size", "training.batch_size"),
    ("training.epochs", "training.max_epochs"),
    ("training.batch_size", "training.batch_size"),
    ("training.accumulate_rows", "training.accumulate_grad_batches"),
    ("training.max_grad_norm", "training.gradient_clip_val"),
    ("training.learning_rate", "model.learning_rate"),
];
