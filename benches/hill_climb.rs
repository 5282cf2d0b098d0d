//! Hill climb against the PyPI package `hillclimbers`: same data, same metric, same steps; and what it needs.
//!
//! `PODIUM_BENCH_PYTHON=/path/to/python cargo bench --bench hill_climb -- [WHAT,..] [STEP] [ROWS] [MODELS]` (rmse, 0.01,
//! 100,000 and 20; the Python needs `hillclimbers==0.1.4` and scikit-learn). WHAT is a metric (rmse, auc, logloss, qwk,
//! f1_macro), `command` (what a metric command costs beside itself) or `memory` (peak anonymous memory of searches by rmse and
//! auc against what the program says beforehand). Times are medians of three runs of the program from its files to its weights,
//! with two threads and with one; without Python only they are printed.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::disallowed_methods, reason = "files of a bench are no results of a stage")]

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::seed::rng_for;
use common::store::npy::write_npy;
use rand::RngExt;
use serde_json::Value;
use support::{children_seconds, median};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |i: usize, usual: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(usual);
    let what = args.first().map_or("rmse", String::as_str);
    let step: f64 = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(0.01);
    let (rows, models) = (number(2, 100_000), number(3, 20));
    what.split(',').try_for_each(|what| match what {
        "command" => command(step, rows, models),
        "memory" => ["rmse", "auc"].iter().try_for_each(|metric| memory(metric, step, rows, models)),
        metric => one(metric, step, rows, models),
    })
}

/// A search in `folder`; its weights are in `out`.
fn search(folder: &Path, metric: &[&str], step: f64, models: usize, threads: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hill-climb"));
    command
        .args(["search", "--truth", "y.npy", "--step", &step.to_string(), "--out", "out", "-f", "--threads", threads])
        .args(metric)
        .args((0..models).map(|k| format!("model_{k:02}.npy")))
        .current_dir(folder);
    command
}

/// Wall and processor time of a program, in seconds, and what it printed.
fn timed(command: &mut Command) -> anyhow::Result<(f64, f64, Vec<u8>)> {
    let (start, cpu) = (Instant::now(), children_seconds());
    let output = command.output()?;
    let seconds = (start.elapsed().as_secs_f64(), children_seconds() - cpu);
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok((seconds.0, seconds.1, output.stdout))
}

/// Medians of three runs: wall and processor time.
fn ours(folder: &Path, metric: &[&str], step: f64, models: usize, threads: &str) -> anyhow::Result<[f64; 2]> {
    let mut times = [vec![], vec![]];
    for _ in 0..3 {
        let (wall, cpu, _) = timed(search(folder, metric, step, models, threads).arg("-q"))?;
        times[0].push(wall);
        times[1].push(cpu);
    }
    Ok(times.map(median))
}

fn found(folder: &Path) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(folder.join("out/weights.json"))?)?)
}

fn one(metric: &str, step: f64, rows: usize, models: usize) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = temporary.path();
    data(folder, metric, rows, models)?;
    let both = ours(folder, &["--metric", metric], step, models, "2")?;
    let single = ours(folder, &["--metric", metric], step, models, "1")?;
    let found = found(folder)?;
    let steps = std::fs::read_to_string(folder.join("out/history.csv"))?.lines().count() - 2;
    println!("{metric}: {rows} rows, {models} models, {steps} steps of {step}, score {}", found["score"]);
    println!("podium        {:>10.4} s, {:.4} s with one thread ({:.4} s of processor)", both[0], single[0], single[1]);

    let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else {
        println!("hillclimbers  not measured: PODIUM_BENCH_PYTHON is not set");
        return Ok(());
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/python/hill_climb.py");
    let (_, _, printed) =
        timed(Command::new(python).arg(script).arg(folder).args([metric, &step.to_string(), &models.to_string()]))?;
    let theirs: Value = serde_json::from_slice(&printed)?;
    let seconds = |key: &str| theirs[key].as_f64().unwrap_or(f64::NAN);
    let weights: Vec<f64> = theirs["weights"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    let own = |k: usize| found["weights"][format!("model_{k:02}")].as_f64().unwrap_or(f64::NAN);
    let apart = weights.iter().enumerate().map(|(k, w)| (own(k) - w).abs()).fold(0.0, f64::max);
    println!(
        "hillclimbers  {:>10.4} s ({:.4} s of processor)   weights apart by {apart:.1e}, one call {:.4} s",
        seconds("seconds"),
        seconds("processor"),
        seconds("one")
    );
    println!(
        "ratio         {:>10.0} x, {:.0} x with one thread, {:.0} x by processor time of one thread",
        seconds("seconds") / both[0],
        seconds("seconds") / single[0],
        seconds("processor") / single[1]
    );
    anyhow::ensure!(weights.len() == models && apart < 1e-9, "the searches took different steps");
    Ok(())
}

/// What the search adds to the time that a metric in Python takes by itself.
fn command(step: f64, rows: usize, models: usize) -> anyhow::Result<()> {
    let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else {
        println!("command       not measured: PODIUM_BENCH_PYTHON is not set");
        return Ok(());
    };
    let temporary = tempfile::tempdir()?;
    let folder = temporary.path();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/python/metric_command.py");
    for (metric, like) in [("pinball", "rmse"), ("logloss", "logloss")] {
        data(folder, like, rows, models)?;
        let line = format!("'{}' '{script}' {metric} seconds.json", python.to_string_lossy());
        let metric_flags = ["--metric-command", line.as_str(), "--minimize"];
        let (wall, _, _) = timed(search(folder, &metric_flags, step, models, "2").arg("-q"))?;
        let told: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("seconds.json"))?)?;
        let number = |key: &str| told[key].as_f64().unwrap_or(f64::NAN);
        let own = number("metric") + number("start");
        println!(
            "command {metric}: {} calls on {rows} rows, {wall:.2} s, of which the metric {:.2} s and Python's start {:.2} s: \
             {:.2} x the command itself",
            told["calls"],
            number("metric"),
            number("start"),
            wall / own
        );
    }
    Ok(())
}

/// Peak anonymous memory of a search against what it said beforehand.
fn memory(metric: &str, step: f64, rows: usize, models: usize) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = temporary.path();
    data(folder, metric, rows, models)?;
    let start = Instant::now();
    let mut child = search(folder, &["--metric", metric, "--max-steps", "2"], step, models, "2")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("said"))?)
        .spawn()?;
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        peak = peak.max(anonymous(child.id()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = std::fs::read_to_string(folder.join("said"))?;
    anyhow::ensure!(child.wait()?.success(), "{said}");
    let line = said.lines().find(|line| line.contains("MiB")).unwrap_or("nothing was said");
    println!("{metric}: {rows} rows, {models} models, {:.1} s", start.elapsed().as_secs_f64());
    println!("said          {line}");
    println!("peak          {:.0} MiB of anonymous memory", peak as f64 / 1024.0);
    Ok(())
}

/// Anonymous resident memory of a process in KiB.
fn anonymous(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
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
