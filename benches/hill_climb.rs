//! Hill climb against the PyPI package `hillclimbers`: same data, same metric, same steps.
//!
//! `PODIUM_BENCH_PYTHON=/path/to/python cargo bench --bench hill_climb -- [ROWS] [MODELS]` (100,000 and 20); the Python
//! needs `hillclimbers==0.1.4`. Without it only our time is printed.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::process::Command;
use std::time::Instant;

use climb::{Gram, GramObjective, GramScore, Plan, climb};
use common::durable;
use common::metrics::Matrix;
use common::seed::rng_for;
use rand::RngExt;

const STEP: f64 = 0.01;

fn main() -> anyhow::Result<()> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (rows, models) = (sizes.first().copied().unwrap_or(100_000), sizes.get(1).copied().unwrap_or(20));
    let (y, p) = data(rows, models);

    let start = Instant::now();
    let truth = Matrix::f64(&y, 1)?;
    let matrices = p.iter().map(|p| Matrix::f64(p, 1)).collect::<common::Result<Vec<_>>>()?;
    let gram = Gram::of(&truth, &matrices)?;
    let mut objective = GramObjective::new(&gram, GramScore::Rmse, &[0], &[], None)?;
    let found = climb(&mut objective, &Plan::published(true, STEP))?;
    let ours = start.elapsed().as_secs_f64();
    println!("{rows} rows, {models} models, {} steps, rmse {:.9}", found.moves.len() - 1, -found.score);
    println!("podium        {ours:>10.4} s");

    let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else {
        println!("hillclimbers  not measured: PODIUM_BENCH_PYTHON is not set");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let bytes = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    durable::write(folder.path().join("y.f64"), &bytes(&y))?;
    durable::write(folder.path().join("p.f64"), &bytes(&p.concat()))?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/python/hill_climb.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder.path())
        .args([rows.to_string(), models.to_string(), STEP.to_string()])
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let seconds = theirs["seconds"].as_f64().unwrap_or(f64::NAN);
    let weights: Vec<f64> = theirs["weights"].as_array().into_iter().flatten().filter_map(|w| w.as_f64()).collect();
    let apart = found.weights.iter().zip(&weights).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("hillclimbers  {seconds:>10.4} s   weights apart by {apart:.1e}");
    println!("ratio         {:>10.0} x", seconds / ours);
    anyhow::ensure!(weights.len() == models && apart < 1e-9, "the searches took different steps");
    Ok(())
}

/// A truth and models that share part of their error.
fn data(rows: usize, models: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut rng = rng_for(5, "bench", 0);
    let mut noise = |scale: f64| -> Vec<f64> { (0..rows).map(|_| rng.random_range(-scale..scale)).collect() };
    let (y, shared) = (noise(1.0), noise(0.3));
    let p = (0..models)
        .map(|k| {
            let own = noise(0.4 + 0.01 * k as f64);
            (0..rows).map(|n| y[n] + shared[n] * (0.8 + 0.03 * k as f64) + own[n]).collect()
        })
        .collect();
    (y, p)
}
