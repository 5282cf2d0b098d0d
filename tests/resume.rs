//! Training that is killed with SIGKILL at any moment and started again ends with the same bytes as training that is
//! not.

#[path = "support/mod.rs"]
mod support;
#[path = "support/training.rs"]
mod training;

use std::path::Path;
use std::time::{Duration, Instant};

use common::seed::rng_for;
use rand::RngExt;
use support::cmd;
use training::{assert_same_results, reference, train, train_command};

#[test]
fn r1_a_run_killed_at_random_times_and_resumed_ends_with_the_same_bytes() {
    reference();
    let timed = Instant::now();
    let undisturbed = tempfile::tempdir().unwrap();
    train(undisturbed.path()).succeeds();
    assert_same_results(undisturbed.path(), "a second run");
    let whole = timed.elapsed();

    let trials = if std::env::var_os("PODIUM_LONG").is_some() { 500 } else { 20 };
    let mut rng = rng_for(std::process::id().into(), "kills", 0);
    let mut kills = 0;
    for trial in 0..trials {
        let out = tempfile::tempdir().unwrap();
        let mut moments = vec![];
        for _ in 0..1 + trial % 2 {
            let after = whole.mul_f64(rng.random::<f64>());
            let mut child = train_command(out.path()).spawn().unwrap();
            std::thread::sleep(after);
            if child.try_wait().unwrap().is_none() {
                kills += 1;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            moments.push(after);
        }
        // Killed after `stage.json` appeared, the stage is finished and says so.
        let outcome = train(out.path()).run();
        let finished = outcome.code == Some(2) && outcome.stderr.contains("finished stage");
        assert!(outcome.code == Some(0) || finished, "killed after {moments:?}: {}", outcome.stderr);
        assert_same_results(out.path(), &format!("kills after {moments:?}"));
    }
    assert!(kills >= trials / 2, "only {kills} of the kills found a running process");
}

#[test]
fn a_checkpoint_of_another_config_is_refused() {
    let out = tempfile::tempdir().unwrap();
    train(out.path()).succeeds();
    std::fs::remove_file(out.path().join("stage.json")).unwrap();
    train(out.path()).arg("training.learning_rate=1e-4").fails(2).says("another config").says("--resume never");
}

#[test]
fn a_checkpoint_from_other_data_is_refused() {
    let (out, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(out.path()).succeeds();
    std::fs::remove_file(out.path().join("stage.json")).unwrap();
    let at = |name: &str| other.path().join(name).display().to_string();
    let within = training::workshop();
    cmd("simulate-data").args(["leap", "simulate.yaml", "-q", "--out", &at("raw"), "seed=4"]).within(within).succeeds();
    cmd("prepare-data")
        .args(["leap", "prepare.yaml", "-q", "--from", &at("raw"), "--out", &at("data")])
        .within(within)
        .succeeds();
    let again = || {
        let args = ["train.yaml", "-q", "--threads", "1", "--device=cpu", "--from", &at("data"), "--out"];
        cmd("train-model").args(args).arg(out.path()).within(within)
    };
    again().fails(2).says("from other data").says("--resume never");
    again().args(["--resume", "never"]).succeeds();
}

#[test]
fn r17_memory_and_open_files_stay_constant_in_a_long_run() {
    let long = std::env::var_os("PODIUM_LONG").is_some();
    let (epochs, allowed_mib) = if long { (170, 3.0) } else { (25, 16.0) };
    let out = tempfile::tempdir().unwrap();
    let mut command = train_command(out.path());
    command.args([&format!("training.epochs={epochs}"), "training.evaluate_n_times_per_epoch=1"]);
    command.args(["training.checkpoint.every_steps=50", "training.checkpoint.top_k=0"]);
    let mut child = command.spawn().unwrap();
    let mut samples = vec![];
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        // Loading and the first steps fill caches and pools.
        if begun.elapsed() > Duration::from_secs(1) {
            samples.extend(memory_and_files(child.id()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(child.wait().unwrap().success());
    assert!(samples.len() > 10, "{} samples", samples.len());
    let third = samples.len() / 3;
    let (early, late) = (&samples[..third], &samples[2 * third..]);
    let memory = |part: &[(f64, usize)]| part.iter().map(|s| s.0).fold(0.0, f64::max);
    let (before, after) = (memory(early), memory(late));
    assert!(after - before < allowed_mib, "memory grew from {before:.1} to {after:.1} MiB");
    // A file that is being written is open for a moment, which few samples meet; one that stays open is in all of them.
    let files = |part: &[(f64, usize)]| part.iter().map(|s| s.1).min().unwrap();
    assert!(files(late) <= files(early) + 1, "open files grew from {} to {}", files(early), files(late));
}

/// Anonymous memory in MiB and open files of a process, while it lives.
fn memory_and_files(pid: u32) -> Option<(f64, usize)> {
    let process = Path::new("/proc").join(pid.to_string());
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?
        .trim()
        .strip_suffix(" kB")?
        .parse::<f64>()
        .ok()?;
    Some((kib / 1024.0, std::fs::read_dir(process.join("fd")).ok()?.count()))
}
