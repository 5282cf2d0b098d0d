//! `finetune-group`: seven networks from one base, in one go or group by group.

use std::path::Path;
use std::sync::OnceLock;

use crate::support::{Cmd, cmd, root};
use crate::training::{train, workshop};
use tempfile::TempDir;

const FINETUNE: &str = "\
system: leap
member: tuned
seed: 9
skip: [2]
bad_groups: base
val_batch_size: 16
training:
  epochs: 1
  batch_size: 8
  evaluate_n_times_per_epoch: 2
  learning_rate: 1.0e-3
  optimizer: {adam_w: {}}
  schedule: {cosine_restarts: {t_0: 1}}
  checkpoint: {every_steps: 3}
";

/// A trained base and the config of its fine-tuning.
fn base() -> &'static Path {
    static BASE: OnceLock<TempDir> = OnceLock::new();
    BASE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        common::durable::write(folder.path().join("gf.yaml"), FINETUNE.as_bytes()).unwrap();
        train(&folder.path().join("base")).arg("training.epochs=1").succeeds();
        folder
    })
    .path()
}

fn finetune(out: &Path) -> Cmd {
    let args = ["gf.yaml", "--from", "base", "-q", "--threads", "1", "--device=cpu", "--out"];
    cmd("finetune-group").args(args).arg(out).within(base())
}

fn hash(path: &Path) -> String {
    common::durable::hash_file(path).unwrap().blake3
}

#[test]
fn group_by_group_gives_the_bytes_of_all_at_once() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = finetune(whole.path()).succeeds().manifest();
    assert_eq!(manifest["metrics"]["from_base/ptend_q0001"], true, "group 2 is skipped");
    let r2 = |name: &str| manifest["metrics"][name].as_f64().unwrap();
    for name in leap::columns::GROUP_NAMES {
        // A group either gained or kept the base.
        assert!(r2(&format!("r2/{name}")) >= r2(&format!("base_r2/{name}")) - 1e-9, "{name}: {manifest}");
    }
    assert!(r2("r2") > r2("base_r2"));

    let first = finetune(parts.path()).args(["--group", "0,3"]).succeeds();
    assert!(first.stdout.is_empty() && !parts.path().join("stage.json").exists(), "{first:?}");
    finetune(parts.path()).args(["--group", "6,1,2"]).succeeds();
    finetune(parts.path()).succeeds();
    for file in (0..7).map(|g| format!("groups/g{g}.safetensors")).chain(["oof.safetensors".into()]) {
        assert_eq!(hash(&whole.path().join(&file)), hash(&parts.path().join(&file)), "{file}");
    }
}

#[test]
fn a_network_of_convert_weights_serves_as_base() {
    let out = tempfile::tempdir().unwrap();
    let weights = base().join("base/checkpoints/best/ema.safetensors");
    let args = ["gf.yaml", "-q", "--threads", "1", "--device=cpu", "--group", "0", "--base"];
    let run = || cmd("finetune-group").args(args).arg(&weights).within(base());
    run().arg("--data").arg(workshop().join("data")).arg("--out").arg(out.path()).succeeds();
    run().fails(2).says("--data");
}

#[test]
fn published_configs_resolve_and_mistakes_are_named() {
    for name in ["max2020/022_gf", "demo/max022_gf"] {
        let config = root().join(format!("configs/leap/{name}.yaml"));
        let text = cmd("finetune-group").arg(config).arg("--print-config").succeeds().stdout;
        assert!(text.contains("bad_groups: "), "{name}: {text}");
    }
    let out = tempfile::tempdir().unwrap();
    finetune(out.path()).args(["--group", "7"]).fails(2).says("numbers from 0 to 6");
    finetune(out.path()).arg("skip=[9]").fails(2).says("names group 9");
    let args = ["gf.yaml", "--from"];
    cmd("finetune-group").args(args).arg(workshop().join("data")).within(base()).fails(3).says("train-model");
}
