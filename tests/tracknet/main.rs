//! TrackNET end to end: every binary's path through the system, bad input, interruption, determinism.

#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "tests damage files and say what they skip")]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/debian.rs"]
mod debian;
#[path = "../support/event_page.rs"]
mod event_page;
#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod chain;
mod demo;
mod density;
mod detector;
mod files;
mod hydra;
mod numpy;
#[path = "../pipeline/tools.rs"]
mod tools;
mod weights;

use std::path::Path;

use support::{Outcome, cmd};

/// Small settings of a simulation.
const SMALL: [&str; 2] = ["events=5", "particles=40"];
/// Small settings of a training.
const SHORT: [&str; 4] =
    ["training.epochs=3", "training.batch_size=16", "training.schedule.cosine_restarts.t_0=3", "val_batch_size=16"];

/// Simulates five events into `folder/sim`.
fn simulate(folder: &Path) -> Outcome {
    let command =
        cmd("simulate-data").args(["tracknet", "configs/tracknet/demo/simulate.yaml"]).within(support::root());
    command.args(SMALL).args(["-q", "--threads", "1", "--out"]).arg(folder.join("sim")).succeeds()
}

/// Prepares them into `folder/data`.
fn prepare(folder: &Path) -> Outcome {
    let command = cmd("prepare-data").args(["tracknet", "configs/tracknet/demo/prepare.yaml"]).within(support::root());
    command
        .args(["-q", "--threads", "1", "--from"])
        .arg(folder.join("sim"))
        .arg("--out")
        .arg(folder.join("data"))
        .succeeds()
}

/// The command that trains on them into `folder/NAME`.
fn training(folder: &Path, name: &str) -> support::Cmd {
    let command = cmd("train-model").arg("configs/tracknet/demo/step_ahead.yaml").within(support::root());
    let command = command.args(SHORT).args(["-q", "--threads", "1", "--device", "cpu", "--from"]);
    command.arg(folder.join("data")).arg("--out").arg(folder.join(name))
}

/// Says why a test ends before it began.
fn eprintln_skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// All files below `folder` with the bytes that must not change from run to run.
fn bytes(folder: &Path, names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))).collect()
}
