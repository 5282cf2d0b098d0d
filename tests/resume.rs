//! Training that is killed with SIGKILL at any moment and started again ends with the same bytes as training that is
//! not.

#[path = "support/mod.rs"]
mod support;
#[path = "support/training.rs"]
mod training;

use std::time::{Duration, Instant};

use common::seed::rng_for;
use rand::RngExt;
use support::cmd;
use training::{assert_same_results, reference, train, train_command, workshop};

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
fn e13_a_resumed_run_says_from_where_it_continues() {
    let out = tempfile::tempdir().unwrap();
    let mut child = train_command(out.path()).spawn().unwrap();
    let begun = Instant::now();
    while !out.path().join("checkpoints/best/manifest.json").exists() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let loud = ["train.yaml", "--from", "data", "--threads", "1", "--device=cpu", "--out"];
    let outcome = cmd("train-model").args(loud).arg(out.path()).within(workshop()).run();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let line = outcome.stderr.lines().find(|line| line.contains("resuming from")).unwrap_or_default();
    assert!(line.contains("epoch 1, step") && line.contains("best score -0."), "{}", outcome.stderr);
    assert_same_results(out.path(), "a kill");
}

#[test]
fn a_checkpoint_of_another_config_is_refused() {
    let out = tempfile::tempdir().unwrap();
    train(out.path()).succeeds();
    std::fs::remove_file(out.path().join("stage.json")).unwrap();
    train(out.path()).arg("training.learning_rate=1e-4").fails(2).says("another config").says("--resume never");
}
