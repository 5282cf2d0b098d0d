//! A small truth and models that see it through noise, for the tests of `score` and `hill-climb`.
#![allow(dead_code)] // each test target uses a part of it

use std::path::{Path, PathBuf};

use common::seed::rng_for;
use common::store::tensors::{TensorView, write};
use rand::RngExt;
use serde_json::{Value, json};

pub const ROWS: usize = 120;
pub const COLUMNS: usize = 5;

pub fn metadata() -> Value {
    json!({
        "system": "leap",
        "columns": ["flux", "t_0", "t_1", "q_0", "q_1"],
        "groups": {"scalars": [0, 1], "t": [1, 3], "q": [3, 5]},
        "fixed": [4],
    })
}

/// `valid.safetensors` with `ROWS` rows of noise.
pub fn truth(folder: &Path) -> Vec<f32> {
    let mut rng = rng_for(1, "oof", 0);
    let y: Vec<f32> = (0..ROWS * COLUMNS).map(|_| rng.random_range(-1.0..1.0)).collect();
    save(&folder.join("valid.safetensors"), &y, ["targets", "target_mean", "target_std"], 0.1, &metadata());
    y
}

/// `NAME.safetensors`: the truth plus noise, stored with another normalisation.
pub fn model(folder: &Path, name: &str, truth: &[f32], noise: f32) -> PathBuf {
    let mut rng = rng_for(2, name, 0);
    let p: Vec<f32> = truth.iter().map(|y| y - 0.1 + noise * rng.random_range(-1.0f32..1.0)).collect();
    let mut metadata = metadata();
    metadata["member"] = name.into();
    predictions(folder, name, &p, &metadata)
}

pub fn predictions(folder: &Path, name: &str, values: &[f32], metadata: &Value) -> PathBuf {
    let path = folder.join(format!("{name}.safetensors"));
    save(&path, values, ["predictions", "mean", "std"], 0.2, metadata);
    path
}

fn save(path: &Path, values: &[f32], names: [&str; 3], mean: f64, metadata: &Value) {
    let (shape, columns) = ([values.len() / COLUMNS, COLUMNS], [COLUMNS]);
    let (mean, std) = ([mean; COLUMNS], [1.0f64; COLUMNS]);
    let tensors = [
        TensorView::of(names[0], &shape, values),
        TensorView::of(names[1], &columns, &mean),
        TensorView::of(names[2], &columns, &std),
    ];
    write(path, &tensors, Some(metadata)).unwrap();
}
