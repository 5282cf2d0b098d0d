//! LEAP through its binaries: every published config, every network's way from raw arrays to a submission, second stages,
//! killed runs, and a blend of all kinds of members that can be repeated byte for byte.

#[path = "../support/mod.rs"]
mod support;
#[path = "../pipeline/tools.rs"]
mod tools;
#[path = "../support/training.rs"]
mod training;

mod blend;
mod confidence;
mod configs;
mod networks;
mod places;
mod simulation;
mod stages;

use std::path::Path;

use support::{Cmd, cmd, root};
use training::workshop;

/// What makes a published recipe small enough for a test, beside the network's sizes.
const SMALL: [&str; 9] = [
    "rows.months=null",
    "rows.index=false",
    "training.epochs=2",
    "training.batch_size=16",
    "training.learning_rate=3e-3",
    "val_batch_size=16",
    "training.print_freq=2",
    "--threads=1",
    "--device=cpu",
];

/// `train-model` by a published config, narrow, on the shared arrays.
fn train(config: &str, sizes: &[&str], out: &Path) -> Cmd {
    let config = root().join("configs/leap").join(config);
    cmd("train-model")
        .arg(config)
        .args(SMALL)
        .args(sizes)
        .args(["--from", "data", "-q", "--out"])
        .arg(out)
        .within(workshop())
}

/// `finetune-group` by a published config, on the shared arrays.
fn tune(config: &str, base: &Path, out: &Path) -> Cmd {
    let config = root().join("configs/leap").join(config);
    let small =
        ["training.batch_size=32", "rows.months=null", "val_batch_size=16", "--threads=1", "--device=cpu", "-q"];
    cmd("finetune-group").arg(config).args(small).arg("--from").arg(base).arg("--out").arg(out).within(workshop())
}

fn hash(path: &Path) -> String {
    common::durable::hash_file(path).unwrap().blake3
}
