//! How training scales with processes: rows a second of one process and of two, one thread each, alternating.
//!
//! ```text
//! cargo bench --bench parallel -- 5          # pairs of runs
//! ```
//!
//! The network is 022 of LEAP at half its published width, with the same batch of 64 rows whatever the number of processes. Prints one
//! JSON line: the medians, their ratio, and the share of a step that reducing costs: what a step of two processes takes beyond
//! one process with half of the batch. It needs as many idle cores as processes.

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/support/training.rs"]
mod training;

use support::cmd;
use training::workshop;

const CONFIG: &str = "\
system: leap
member: bench
seed: 5
model:
  max022: {hidden_state: 256}
rows: {index: false}
loss: {beta: 0.5, differences_in_validation: true}
val_batch_size: 16
training:
  epochs: 8
  batch_size: 64
  max_grad_norm: 9
  learning_rate: 1.0e-3
  optimizer: {adam_w: {}}
  evaluate_n_times_per_epoch: 1
";

/// Rows of a step over all processes.
const BATCH: u64 = 64;

fn main() -> anyhow::Result<()> {
    let pairs: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(3);
    let (mut one, mut two, mut half) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        one.push(rows_per_s(1, BATCH)?);
        two.push(rows_per_s(2, BATCH)?);
        half.push(rows_per_s(1, BATCH / 2)?);
    }
    let (a, b, alone) = (median(&mut one), median(&mut two), median(&mut half));
    // Seconds of a step: with the other process, and of the same share without it.
    let (together, share) = (BATCH as f64 / b, BATCH as f64 / 2.0 / alone);
    let line = serde_json::json!({
        "bench": "parallel", "rows_per_s": {"1": a, "2": b, "1, half a batch": alone}, "ratio": b / a,
        "reduce_share": 1.0 - share / together, "runs": {"1": one, "2": two, "1, half a batch": half},
    });
    #[allow(clippy::print_stdout, reason = "the result of a bench")]
    {
        println!("{line}");
    }
    Ok(())
}

/// Rows a second of the training steps alone, from the manifest.
fn rows_per_s(processes: usize, batch: u64) -> anyhow::Result<f64> {
    let out = tempfile::tempdir()?;
    let config = out.path().join("bench.yaml");
    common::durable::write(&config, CONFIG.as_bytes())?;
    let args = ["--from", "data", "-q", "--threads", "1", "--device=cpu", "--nproc", &processes.to_string(), "--out"];
    let run = cmd("train-model")
        .arg(config)
        .arg(format!("training.batch_size={batch}"))
        .args(args)
        .arg(out.path().join("run"))
        .within(workshop());
    let manifest = run.succeeds().manifest();
    manifest["metrics"]["rows_per_s"].as_f64().ok_or_else(|| anyhow::anyhow!("no `rows_per_s` in {manifest}"))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
