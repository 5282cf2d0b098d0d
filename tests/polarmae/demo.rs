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
    let pipelines = ["data", "pretrain", "segment-fft", "labels"].map(|name| format!("polarmae-{name}/dvc.yaml"));
    for part in pipelines.iter().map(String::as_str).chain(["polarmae.demo.yaml"]) {
        let to = folder.path().join("pipelines").join(part);
        common::durable::create_folder(to.parent().unwrap()).unwrap();
        // Of the label curve what shows that it is drawn: two points of one line, and one of each other.
        let left_out = ["nothing_10:", "frozen_10:", "_100:", "linear_1:"];
        let text = std::fs::read_to_string(root().join("pipelines").join(part)).unwrap();
        let lines = text.lines().filter(|line| !left_out.iter().any(|name| line.contains(name)));
        common::durable::write(to, (lines.collect::<Vec<_>>().join("\n") + "\n").as_bytes()).unwrap();
    }
    let run = cmd("run-pipeline").args(["pipelines/polarmae-labels", "-q", "--result"]).within(folder.path());
    let last: serde_json::Value = serde_json::from_str(run.succeeds().stdout.lines().last().unwrap()).unwrap();
    for key in ["svm_f1", "svm_f1_untrained", "seg_f1", "seg_f1_majority", "pretrain_loss_first"] {
        assert!(last["metrics"][key].is_number(), "{key}: {last}");
    }
    for key in ["full_1", "full_10", "frozen_1", "nothing_1"] {
        assert!(last["metrics"]["labels"][key].is_number(), "{key}: {last}");
    }
    for name in ["classes", "picture", "label_curve"] {
        assert!(Path::new(last["outputs"][name]["path"].as_str().unwrap()).is_file(), "{last}");
    }
    let curve = folder.path().join("demo/polarmae/scores/label-curve/plots/mean-f1-over-labelled-events.csv");
    let curve = std::fs::read_to_string(curve).unwrap();
    for learned in
        ["all, pretrained", "all, from nothing", "head alone, pretrained", "a linear map of the pretrained features"]
    {
        assert!(curve.contains(learned), "{learned}: {curve}");
    }
}
