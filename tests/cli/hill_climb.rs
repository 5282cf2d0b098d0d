//! `hill-climb`: weights that are found, weights that are applied, and what is refused.

#[path = "../support/oof.rs"]
mod oof;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use oof::{COLUMNS, metadata, model, predictions, truth};
use support::{Cmd, cmd};

fn three_models(folder: &Path) {
    let y = truth(folder);
    for (name, noise) in [("a", 0.5), ("b", 0.6), ("c", 0.7)] {
        model(folder, name, &y, noise);
    }
}

fn search(folder: &Path, more: &[&str]) -> Cmd {
    let args = ["search", "-t", "valid.safetensors", "a.safetensors", "b.safetensors", "c.safetensors"];
    cmd("hill-climb").args(args).args(more).within(folder)
}

#[test]
fn a_search_beats_every_model_and_writes_weights_that_sum_to_one() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    let manifest = search(folder.path(), &["-o", "out", "--write-oof"]).succeeds().manifest();
    let metrics = &manifest["metrics"];
    let blend = metrics["blend"].as_f64().unwrap();
    let members = metrics["members"].as_object().unwrap();
    assert_eq!(members.len(), 3);
    assert!(members.values().all(|m| m.as_f64().unwrap() < blend), "{metrics}");
    assert!(metrics["optimum_sum_1"].as_f64().unwrap() >= blend);

    let table = fs::read_to_string(folder.path().join("out/weights.csv")).unwrap();
    let weights: Vec<f64> = table.lines().skip(1).map(|l| l.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert!(table.starts_with("model,weight\n"));
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(weights.is_sorted_by(|a, b| a >= b));

    // The blended predictions have the score that the search promised (they are stored in single precision).
    let args = ["-t", "valid.safetensors", "out/oof.safetensors", "-q"];
    let report = cmd("score").args(args).within(folder.path()).succeeds().stdout;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!((report["scores"][0]["mean_r2"].as_f64().unwrap() - blend).abs() < 1e-6);

    let history = fs::read_to_string(folder.path().join("out/history.csv")).unwrap();
    assert!(history.starts_with("scope,step,kind,model,from,weight,score\nall,0,start,a,,1,0."), "{history}");
}

#[test]
fn the_same_search_writes_the_same_bytes_with_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    let files = |out: &str, threads: &str| {
        search(folder.path(), &["-o", out, "--per-group", "--threads", threads]).succeeds();
        ["weights.csv", "weights.json", "history.csv"].map(|f| fs::read(folder.path().join(out).join(f)).unwrap())
    };
    assert_eq!(files("one", "1"), files("three", "3"));
}

#[test]
fn groups_get_weights_of_their_own_and_never_lose_by_it() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    let global = search(folder.path(), &["-o", "global", "--method", "optimum"]).succeeds().manifest();
    let grouped = search(folder.path(), &["-o", "groups", "--method", "optimum", "--per-group"]).succeeds().manifest();
    let score = |m: &serde_json::Value| m["metrics"]["blend"].as_f64().unwrap();
    assert!(score(&grouped) >= score(&global));
    let text = fs::read_to_string(folder.path().join("groups/weights.json")).unwrap();
    let weights: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names: Vec<_> = weights["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["scalars", "t", "q"]);
}

#[test]
fn flags_win_over_the_config_and_limits_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    common::durable::write(folder.path().join("search.yaml"), b"step: 0.05\nnegative: false\nmax_steps: 1\n").unwrap();
    let printed = search(folder.path(), &["-c", "search.yaml", "--step", "0.1", "--print-config"]).succeeds().stdout;
    for line in ["step: 0.1 # override", "negative: false # search.yaml:2", "max_steps: 1 #", "ridge: 0.0 # default"] {
        let squeezed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(line), "no `{line}` in\n{printed}");
    }
    search(folder.path(), &["-c", "search.yaml", "-o", "one"]).succeeds();
    assert_eq!(fs::read_to_string(folder.path().join("one/history.csv")).unwrap().lines().count(), 3);
    let range = ["-o", "range", "--with-replacement", "--weight-range", "0.2,0.5", "--polish"];
    let manifest = search(folder.path(), &range).succeeds().manifest();
    let weights = manifest["metrics"]["weights"].as_object().unwrap();
    assert!(weights.values().all(|w| (0.2 - 1e-9..=0.5 + 1e-9).contains(&w.as_f64().unwrap())), "{weights:?}");
}

#[test]
fn mistakes_in_the_config_are_all_reported() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    search(folder.path(), &["--step", "0", "--metric", "mae", "--polish"])
        .fails(2)
        .says("the config has 2 mistakes")
        .says("`step` is 0, expected more than 0 and at most 0.5")
        .says("`polish` needs r2, mse or rmse, not `mae`");
    search(folder.path(), &["--set", "stepp=1"]).fails(2).says("step");
    search(folder.path(), &["--metric", "r3"]).fails(2).says("r2");
}

#[test]
fn bad_predictions_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    let mut values = vec![0.0; oof::ROWS * COLUMNS];
    values[3 * COLUMNS + 1] = f32::INFINITY;
    predictions(folder.path(), "c", &values, &metadata());
    search(folder.path(), &["-o", "out"])
        .fails(3)
        .says("`c.safetensors`: row 3, column `t_0`: the value is not finite");
    assert!(!folder.path().join("out/weights.csv").exists() && !folder.path().join("out/stage.json").exists());
    let twice = ["search", "-t", "valid.safetensors", "a.safetensors", "a.safetensors"];
    cmd("hill-climb").args(twice).within(folder.path()).fails(2).says("two models are called `a`");
    let named = ["search", "-t", "valid.safetensors", "x=a.safetensors", "y=a.safetensors", "--method", "optimum"];
    let error = cmd("hill-climb").args(named).within(folder.path()).fails(1);
    error.says("the errors of model `y` are a combination of those of other models").says("ridge");
}
