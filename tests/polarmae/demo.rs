//! `make demo-polarmae` at a tiny size.

use std::path::Path;

use crate::raw::{SMALL, TINY};
use crate::support::{cmd, root};

/// Puts a config of the demo into the folder, with overrides.
fn config(folder: &Path, binary: &str, name: &str, overrides: &[&str]) {
    let path = format!("configs/polarmae/demo/{name}.yaml");
    let system: &[&str] = if binary == "train-model" { &[] } else { &["polarmae"] };
    let outcome = cmd(binary).args(system).arg(root().join(&path)).args(overrides).arg("--print-config").succeeds();
    common::durable::create_folder(folder.join("configs/polarmae/demo")).unwrap();
    common::durable::write(folder.join(path), outcome.stdout.as_bytes()).unwrap();
}

#[test]
fn the_demo_runs_to_its_last_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = "training.schedule.warmup_cosine";
    let (warmup, steps) = (format!("{at}.warmup=2"), format!("{at}.max_steps=4"));
    let tiny = [&TINY[..], &["training.max_steps=2", &warmup, &steps]].concat();
    config(folder.path(), "simulate-data", "simulate", &SMALL);
    config(folder.path(), "prepare-data", "prepare", &[]);
    config(folder.path(), "train-model", "pretrain", &tiny);
    config(folder.path(), "train-model", "segment", &tiny);
    common::durable::create_folder(folder.path().join(".git")).unwrap();
    for part in
        ["polarmae.demo.yaml", "polarmae-data/dvc.yaml", "polarmae-pretrain/dvc.yaml", "polarmae-segment-fft/dvc.yaml"]
    {
        let to = folder.path().join("pipelines").join(part);
        common::durable::create_folder(to.parent().unwrap()).unwrap();
        let text = std::fs::read(root().join("pipelines").join(part)).unwrap();
        common::durable::write(to, &text).unwrap();
    }
    let run = cmd("run-pipeline").args(["pipelines/polarmae-segment-fft", "-q", "--result"]).within(folder.path());
    let last: serde_json::Value = serde_json::from_str(run.succeeds().stdout.lines().last().unwrap()).unwrap();
    for key in ["svm_f1", "svm_f1_untrained", "seg_f1", "seg_f1_majority", "pretrain_loss_first"] {
        assert!(last["metrics"][key].is_number(), "{key}: {last}");
    }
    for name in ["classes", "picture"] {
        assert!(Path::new(last["outputs"][name]["path"].as_str().unwrap()).is_file(), "{last}");
    }
}
