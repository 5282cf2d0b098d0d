//! `hill-climb` on directions.

use std::path::{Path, PathBuf};

use common::seed::rng_for;
use common::store::tables::{Table, read_parquet, write_parquet};
use icecube_data::angles;
use rand::RngExt;

use crate::raw;
use crate::support::cmd;

/// Vectors of all simulated events: the truth with noise, as `train-model` and `predict` write them.
fn member(folder: &Path, name: &str, noise: f64, rows: usize) -> PathBuf {
    let truth = read_parquet(folder.join("sim/truth/events.parquet"), None).unwrap();
    let mut rng = rng_for(3, name, 0);
    let (azimuth, zenith) = (truth.f64("azimuth").unwrap(), truth.f64("zenith").unwrap());
    let vectors: Vec<[f32; 3]> = (0..rows)
        .map(|i| angles::vector(azimuth[i], zenith[i]).map(|c| (c + noise * rng.random_range(-1.0..1.0)) as f32))
        .collect();
    let path = folder.join(name).with_extension("parquet");
    icecube_data::directions::write(&path, &truth.i64("event_id").unwrap()[..rows], &vectors).unwrap();
    path
}

fn score(folder: &Path, file: &Path) -> f64 {
    let run = cmd("score").arg("--truth").arg(folder.join("sim")).arg(file).succeeds();
    let value: serde_json::Value = serde_json::from_str(run.stdout.trim()).unwrap();
    value["scores"][0]["mean_rad"].as_f64().unwrap()
}

#[test]
fn weights_are_fitted_and_the_blend_beats_its_members() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let files = [("a", 0.5), ("b", 0.7), ("c", 3.0)].map(|(name, noise)| member(folder.path(), name, noise, 125));
    let out = folder.path().join("weights");
    let search =
        |more: &str| cmd("hill-climb").arg("search").arg("--truth").arg(&sim).args(&files).arg("--out").arg(more);
    let manifest = search(out.to_str().unwrap()).succeeds().says("equal weights").manifest();
    let metrics = &manifest["metrics"];
    let fitted = metrics["blend"].as_f64().unwrap();
    for name in ["a", "b", "c"] {
        assert!(fitted < metrics["members"][name].as_f64().unwrap(), "{metrics}");
    }
    assert!(fitted <= metrics["equal_weights"].as_f64().unwrap());
    let threads = folder.path().join("one");
    search(threads.to_str().unwrap()).args(["--threads", "1"]).succeeds();
    let read = |folder: &Path| std::fs::read(folder.join("weights.csv")).unwrap();
    assert_eq!(read(&out), read(&threads), "the threads change nothing");

    let blend = folder.path().join("blend");
    cmd("hill-climb").arg("blend").arg("--weights").arg(&out).args(&files).arg("--out").arg(&blend).succeeds();
    assert!((score(folder.path(), &blend.join("predictions.parquet")) - fitted).abs() < 1e-5);
    assert!((score(folder.path(), &blend.join("submission.csv")) - fitted).abs() < 1e-5);
    assert!((score(folder.path(), &blend) - fitted).abs() < 1e-5, "the folder stands for its table");
}

#[test]
fn members_that_do_not_go_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let (a, b) = (member(folder.path(), "a", 0.5, 125), member(folder.path(), "b", 0.5, 100));
    let search = || cmd("hill-climb").arg("search").arg("--truth").arg(&sim).within(folder.path());
    search().args([&a, &b]).fails(3).says("has 100 events").says("has 125");
    search().args([&a, &a]).fails(2).says("two models are called `a`");
    search().arg(&a).args(["--metric", "mse"]).fails(2).says("no settings");
    let bare = folder.path().join("bare.parquet");
    let mut table = Table::new();
    for (name, column) in read_parquet(&a, None)
        .unwrap()
        .schema()
        .iter()
        .map(|(n, _)| n.clone())
        .zip(read_parquet(&a, None).unwrap().columns().to_vec())
    {
        if !["x", "y", "z"].contains(&name.as_str()) {
            table.push(name, column).unwrap();
        }
    }
    write_parquet(&bare, &table).unwrap();
    search().arg(&bare).fails(3).says("has no columns `x`, `y`, `z`");
    common::durable::write(folder.path().join("w.csv"), b"model,weight\na,0.5\nq,0.5\n").unwrap();
    let blend = cmd("hill-climb").args(["blend", "-w", "w.csv", "-o", "out"]).arg(&a).within(folder.path());
    blend.fails(3).says("no predictions of the model `q`");
}
