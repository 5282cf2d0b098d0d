//! Hill climb against the PyPI package `hillclimbers`: same data, same metric, same steps.
//!
//! `PODIUM_BENCH_PYTHON=/path/to/python cargo bench --bench hill_climb -- [METRIC,..] [STEP] [ROWS] [MODELS]` (rmse, 0.01,
//! 100,000 and 20; metrics are rmse, auc, logloss, qwk and f1_macro); the Python needs `hillclimbers==0.1.4` and scikit-learn.
//! Without it only our time is printed: that of the program from its files to its weights.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::seed::rng_for;
use common::store::npy::write_npy;
use rand::RngExt;
use serde_json::Value;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |i: usize, usual: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(usual);
    let metrics = args.first().map_or("rmse", String::as_str);
    let step: f64 = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(0.01);
    let (rows, models) = (number(2, 100_000), number(3, 20));
    metrics.split(',').try_for_each(|metric| one(metric, step, rows, models))
}

fn one(metric: &str, step: f64, rows: usize, models: usize) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = temporary.path();
    data(folder, metric, rows, models)?;
    let start = Instant::now();
    let files = (0..models).map(|k| format!("model_{k:02}.npy"));
    let output = Command::new(env!("CARGO_BIN_EXE_hill-climb"))
        .args(["search", "--truth", "y.npy", "--metric", metric, "--step", &step.to_string(), "--out", "out", "-q"])
        .args(files)
        .current_dir(folder)
        .output()?;
    let ours = start.elapsed().as_secs_f64();
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("out/weights.json"))?)?;
    let steps = std::fs::read_to_string(folder.join("out/history.csv"))?.lines().count() - 2;
    println!("{metric}: {rows} rows, {models} models, {steps} steps of {step}, score {}", found["score"]);
    println!("podium        {ours:>10.4} s");

    let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else {
        println!("hillclimbers  not measured: PODIUM_BENCH_PYTHON is not set");
        return Ok(());
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/python/hill_climb.py");
    let output =
        Command::new(python).arg(script).arg(folder).args([metric, &step.to_string(), &models.to_string()]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Value = serde_json::from_slice(&output.stdout)?;
    let seconds = theirs["seconds"].as_f64().unwrap_or(f64::NAN);
    let weights: Vec<f64> = theirs["weights"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    let own = |k: usize| found["weights"][format!("model_{k:02}")].as_f64().unwrap_or(f64::NAN);
    let apart = weights.iter().enumerate().map(|(k, w)| (own(k) - w).abs()).fold(0.0, f64::max);
    println!("hillclimbers  {seconds:>10.4} s   weights apart by {apart:.1e}, one call {} s", theirs["one"]);
    println!("ratio         {:>10.0} x", seconds / ours);
    anyhow::ensure!(weights.len() == models && apart < 1e-9, "the searches took different steps");
    Ok(())
}

/// A truth and models that share part of their error: numbers, two classes and probabilities, or grades from 0 to 4.
fn data(folder: &Path, metric: &str, rows: usize, models: usize) -> anyhow::Result<()> {
    let mut rng = rng_for(5, "bench", 0);
    let mut noise = |scale: f64| -> Vec<f64> { (0..rows).map(|_| rng.random_range(-scale..scale)).collect() };
    let (y, shared) = (noise(1.0), noise(0.3));
    let seen = |value: f64| match metric {
        "rmse" => value,
        "qwk" => 2.0 + 2.0 * value,
        _ => 1.0 / (1.0 + (-4.0 * value).exp()),
    };
    let truth: Vec<f64> = match metric {
        "rmse" => y.clone(),
        "qwk" => y.iter().map(|y| (2.0 + 2.0 * y).round()).collect(),
        _ => y.iter().map(|y| f64::from(*y > 0.0)).collect(),
    };
    write_npy(folder.join("y.npy"), &[rows], &truth)?;
    for k in 0..models {
        let own = noise(0.4 + 0.01 * k as f64);
        let p = (0..rows).map(|n| seen(y[n] + shared[n] * (0.8 + 0.03 * k as f64) + own[n]));
        write_npy(folder.join(format!("model_{k:02}.npy")), &[rows], &p.collect::<Vec<f64>>())?;
    }
    Ok(())
}
