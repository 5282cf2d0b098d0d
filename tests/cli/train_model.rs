//! `train-model`: what it leaves behind, and what it refuses.

use crate::support::{cmd, root};
use crate::training::{train, workshop};
use common::store::tensors::TensorFile;

#[test]
fn a_run_leaves_checkpoints_metrics_predictions_and_a_manifest() {
    let out = tempfile::tempdir().unwrap();
    let outcome = train(out.path()).succeeds();
    let manifest = outcome.manifest();
    assert_eq!((manifest["stage"].as_str(), manifest["system"].as_str()), (Some("train-model"), Some("leap")));
    assert!(manifest["upstream"][0].as_str().unwrap().ends_with("/data"), "{manifest}");
    for name in ["config", "hparams", "model", "oof", "metrics.jsonl", "metrics.csv"] {
        let path =
            manifest["outputs"][name]["path"].as_str().unwrap_or_else(|| panic!("no output `{name}`: {manifest}"));
        assert!(out.path().join(path).is_file(), "{path}");
    }
    assert_eq!(manifest["outputs"]["model"]["path"], "checkpoints/best/ema.safetensors");
    assert_eq!(manifest["metrics"]["steps"], 48);
    let r2 = manifest["metrics"]["r2"].as_f64().unwrap();
    assert!((r2 - manifest["metrics"]["best_score"].as_f64().unwrap()).abs() < 1e-9, "{manifest}");

    let oof = TensorFile::open(out.path().join("oof.safetensors")).unwrap();
    assert_eq!(oof.shape("predictions").unwrap(), [48, 368]);
    let about = oof.metadata().unwrap();
    assert_eq!((about["member"].as_str(), about["chain"].as_str()), (Some("tiny"), Some("a")));
    assert_eq!(about["columns"].as_array().unwrap().len(), 368);

    let lines = std::fs::read_to_string(out.path().join("metrics.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().filter(|row| row.get("valid/r2").is_some()).count(), 8);
    assert!(rows.iter().all(|row| row["lr"].as_f64().unwrap() > 0.0));
    let csv = std::fs::read_to_string(out.path().join("metrics.csv")).unwrap();
    assert!(csv.starts_with("epoch,step,name,value\n") && csv.contains(",valid/r2/ptend_q0001,"), "{csv}");
    let events = std::fs::read_dir(out.path()).unwrap().flatten();
    assert!(events.into_iter().any(|e| e.file_name().to_string_lossy().contains("tfevents")));
}

#[test]
fn e12_the_best_evaluations_and_the_last_step_keep_checkpoints_named_after_epoch_and_score() {
    let out = tempfile::tempdir().unwrap();
    train(out.path()).succeeds();
    let entries = std::fs::read_dir(out.path().join("checkpoints")).unwrap().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!((names[0].as_str(), names[3].as_str()), ("best", "last"));
    assert!(names[1..3].iter().all(|n| n.starts_with("epoch0") && n.contains("-score_r2_")), "{names:?}");
}

#[test]
fn data_and_network_are_described_before_training() {
    let out = tempfile::tempdir().unwrap();
    let args = ["train.yaml", "--from", "data", "--threads", "1", "--device=cpu", "--out"];
    let text = cmd("train-model").args(args).arg(out.path()).within(workshop()).succeeds().stderr;
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("no `{part}` in:\n{text}"));
    assert!(place("96 training rows, 12 steps of 8 an epoch, 4 epochs; 48 validation rows") < place("lstm1"));
    assert!(place("lstm1") < place("score 0."), "{text}");
}

#[test]
fn e14_a_smoke_run_of_the_published_sizes_ends_soon() {
    let out = tempfile::tempdir().unwrap();
    let before = cpu_seconds_of_children();
    let config = root().join("configs/leap/adam/exp195.yaml");
    let rows =
        ["rows.months=null", "rows.index=false", "--from", "data", "-q", "--fast-dev-run", "--device=cpu", "--out"];
    let manifest = cmd("train-model").arg(config).args(rows).arg(out.path()).within(workshop()).succeeds().manifest();
    assert_eq!(manifest["metrics"]["steps"], 2);
    // About 10 s; on the processor, so that a busy machine fails nothing, and with room for the tests beside this one.
    let took = cpu_seconds_of_children() - before;
    assert!(took < 120, "{took} s");
}

fn cpu_seconds_of_children() -> i64 {
    // SAFETY: `getrusage` fills the structure that it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
}

#[test]
fn every_published_config_resolves() {
    for name in ["adam/exp195", "adam/exp197", "adam/exp200", "max2020/022", "demo/exp195", "demo/max022"] {
        let config = root().join(format!("configs/leap/{name}.yaml"));
        let text = cmd("train-model").arg(config).arg("--print-config").succeeds().stdout;
        assert!(text.contains("# default") && text.contains("learning_rate: "), "{name}: {text}");
    }
}

#[test]
fn a_dry_run_says_what_would_be_done_and_writes_nothing() {
    let out = tempfile::tempdir().unwrap();
    let args = ["train.yaml", "--from", "data", "--dry-run", "--device=cpu", "--out", "runs"];
    let outcome = cmd("train-model").args(args).within(workshop()).succeeds();
    assert!(outcome.stderr.contains("96 training rows"), "{}", outcome.stderr);
    assert!(outcome.stdout.is_empty() && !workshop().join("runs").exists());
    drop(out);
}

#[test]
fn mistakes_are_named_with_their_remedy() {
    let out = tempfile::tempdir().unwrap();
    let bad = |extra: &[&str], code: i32| train(out.path()).args(extra).fails(code);
    bad(&["training.epochs=0"], 2).says("training.epochs").says("expected at least 1");
    bad(&["training.epoch=3"], 2).says("epochs");
    bad(&["training.learning_rate=inf"], 2).says("training.learning_rate");
    bad(&["model.adam195.heads=3"], 2).says("model.adam195.heads");
    bad(&["training.batch_size=200"], 2)
        .says("96 training rows are less than one batch")
        .says("training.batch_size=96");
    bad(&["rows.months=[0005-01]"], 2).says("months");
    bad(&["--resume", "/no/such/checkpoint"], 3).says("/no/such/checkpoint");
    bad(&["training.group_learning_rates.lstmx=1e-3"], 2).says("no parameter's name begins so");
    let missing = cmd("train-model").args(["train.yaml", "--out", "x"]).within(workshop()).fails(2);
    missing.says("`--from` is missing").says("hint: ");
    cmd("train-model").args(["train.yaml", "--from", "nowhere"]).within(workshop()).fails(3).says("nowhere");
}

#[test]
fn a_changed_array_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(workshop().join("data")).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    let path = folder.path().join("data/a/train_01_02.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    common::durable::write(&path, &bytes).unwrap();
    let args = ["train.yaml", "--device=cpu", "--from"];
    let data = folder.path().join("data");
    let outcome = cmd("train-model").args(args).arg(data).args(["--out", "x"]).within(workshop()).fails(3);
    outcome.says("train_01_02.safetensors").says("changed since");
}

#[test]
fn e18_memory_that_cannot_be_had_ends_with_its_code_and_remedies() {
    let out = tempfile::tempdir().unwrap();
    // 2.6 TB of initial weights: our own memory, asked for in one piece.
    let wide = train(out.path()).arg("model.adam195.lstm_hidden=400000");
    let text = wide.fails(5).stderr;
    for part in ["out of memory while building the network `adam195`: 2560000000000 bytes", "GiB are free", "hint: "] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(!out.path().join("stage.json").exists());
    train(out.path()).succeeds();
}
