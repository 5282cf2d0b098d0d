//! A training run of a second or two, on simulated arrays that all tests of a process share.
#![allow(dead_code)] // each test target uses a part of it

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::{Cmd, binary, cmd};

const SIMULATE: &str = "\
system: leap
seed: 3
columns: 4
months:
  - {months: [0001-02], days: 2, step_stride: 6}
  - {months: [0008-07], days: 1, step_stride: 6}
format: cdf5
kaggle: {test_months: [0009-02], test_rows: 20, train_rows: 0}
";

const PREPARE: &str = "\
system: leap
seed: 3
chains: [a, b]
normalisation: given
train: {netcdf: {months: [0001-02], stride: 1}}
valid: {netcdf: {months: [0008-07], stride: 1, table: false}}
test: {csv: test.csv}
";

/// ADAM's 195 with dropout, made tiny: 12 steps an epoch.
const TRAIN: &str = "\
system: leap
member: tiny
seed: 47
model:
  adam195: {lstm_hidden: 4, lstm_layers: 1, heads: 2, feed_forward: 8, head_hidden: [8], conv_multipliers: [1, 1, 1]}
rows: {index: false}
loss: {beta: 1.0}
val_batch_size: 16
training:
  epochs: 4
  batch_size: 8
  shuffle: {block: {rows: 5, window: 3}}
  max_grad_norm: 5
  evaluate_n_times_per_epoch: 2
  learning_rate: 3.0e-3
  optimizer: {adam_w: {}}
  schedule: {cosine_restarts: {t_0: 1, t_mult: 2, eta_min: 1.0e-6}}
  ema: {decay: 0.9}
  checkpoint: {every_steps: 4, top_k: 2}
  print_freq: 2
";

/// Folder with `data` (a finished `prepare-data` stage), `train.yaml` and the raw sample submission.
pub fn workshop() -> &'static Path {
    static WORKSHOP: OnceLock<TempDir> = OnceLock::new();
    WORKSHOP
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let files = [("simulate.yaml", SIMULATE), ("prepare.yaml", PREPARE), ("train.yaml", TRAIN)];
            for (name, text) in files {
                common::durable::write(folder.path().join(name), text.as_bytes()).unwrap();
            }
            let simulate = ["leap", "simulate.yaml", "--out", "raw", "-q"];
            cmd("simulate-data").args(simulate).within(folder.path()).succeeds();
            let prepare = ["leap", "prepare.yaml", "--from", "raw", "--out", "data", "-q"];
            cmd("prepare-data").args(prepare).within(folder.path()).succeeds();
            folder
        })
        .path()
}

/// `train-model` on the shared arrays into `out`. One thread: the tests run side by side.
pub fn train(out: &Path) -> Cmd {
    cmd("train-model").args(TRAIN_ARGS).arg(out).within(workshop())
}

/// The same as a command that can be killed.
pub fn train_command(out: &Path) -> Command {
    let mut command = Command::new(binary("train-model"));
    command.args(TRAIN_ARGS).arg(out).current_dir(workshop());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The arguments of both, up to the output folder.
pub const TRAIN_ARGS: [&str; 8] = ["train.yaml", "--from", "data", "-q", "--threads", "1", "--device=cpu", "--out"];

/// Hash of every result of a run that must not depend on how often it was killed: weights, optimizer, state, metrics,
/// out-of-fold predictions.
pub fn results(folder: &Path) -> BTreeMap<PathBuf, String> {
    let wanted = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        path.starts_with(folder.join("checkpoints")) || name.starts_with("metrics.") || name == "oof.safetensors"
    };
    let files = walk(folder).into_iter().filter(|path| wanted(path));
    files
        .map(|path| {
            (path.strip_prefix(folder).unwrap().to_path_buf(), common::durable::hash_file(&path).unwrap().blake3)
        })
        .collect()
}

/// Temporaries that were left behind.
pub fn strays(folder: &Path) -> Vec<PathBuf> {
    walk(folder).into_iter().filter(|p| p.to_string_lossy().contains(".podium-tmp-")).collect()
}

/// The results of a run that nobody disturbed.
pub fn reference() -> &'static BTreeMap<PathBuf, String> {
    static REFERENCE: OnceLock<BTreeMap<PathBuf, String>> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let out = tempfile::tempdir().unwrap();
        train(out.path()).succeeds();
        let results = results(out.path());
        assert!(results.len() > 15, "{results:?}");
        results
    })
}

/// Compares with [`reference`], naming what differs.
#[track_caller]
pub fn assert_same_results(folder: &Path, after: &str) {
    let found = results(folder);
    let differing: Vec<_> = reference().iter().filter(|(path, hash)| found.get(*path) != Some(hash)).collect();
    assert!(differing.is_empty(), "after {after}: {differing:?}");
    let surplus: Vec<_> = found.keys().filter(|path| !reference().contains_key(*path)).collect();
    assert!(surplus.is_empty(), "after {after}: surplus {surplus:?}");
    assert_eq!(strays(folder), [] as [PathBuf; 0], "after {after}");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}
