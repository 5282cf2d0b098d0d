//! Networks through the binaries: a tiny one from simulated files to a submission, the five-member ensemble of the
//! golden case, several processes, a published config, what memory depends on.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::store::tables::{Column, Table, read_parquet, write_parquet};
use serde_json::Value;

use crate::browser::Browser;
use crate::event_page::{SCENE, look};
use crate::raw::{self, prepare};
use crate::support::{Cmd, Outcome, cmd, root};

/// A network that trains within a second.
const TINY: &str = "\
system: icecube
member: tiny
seed: 3
model:
  deep_ice: {dim: 16, dim_base: 8, depth: 1, head_size: 8, depth_rel: 1, n_rel: 1}
input: {length: 48}
valid_length: 48
validation: [batch_655.parquet]
sampler: {sub_epochs: 1}
loss: vms
val_batch_size: 8
training:
  epochs: 2
  batch_size: 8
  learning_rate: 1.0e-3
  optimizer: {adam_w: {}}
  print_freq: 1
";

/// A folder with `data`, the config `tiny.yaml`, and `run`, the network that it trains.
pub fn workshop() -> &'static Path {
    static WORKSHOP: OnceLock<tempfile::TempDir> = OnceLock::new();
    WORKSHOP
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            raw::simulated(folder.path());
            let at = |name: &str| folder.path().join(name);
            prepare().arg("--from").arg(at("sim")).arg("--out").arg(at("data")).arg("-q").succeeds();
            common::durable::write(at("tiny.yaml"), TINY.as_bytes()).unwrap();
            train(folder.path(), &at("data")).arg("--out").arg(at("run")).succeeds();
            folder
        })
        .path()
}

/// `train-model` of the tiny network on `data`.
fn train(folder: &Path, data: &Path) -> Cmd {
    let args = ["-q", "--threads", "1", "--device", "cpu", "--from"];
    cmd("train-model").arg(folder.join("tiny.yaml")).args(args).arg(data)
}

fn rows(submission: &Path) -> Vec<(i64, f64, f64)> {
    let text = std::fs::read_to_string(submission).unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        (fields[0].parse().unwrap(), fields[1].parse().unwrap(), fields[2].parse().unwrap())
    };
    text.lines().skip(1).map(row).collect()
}

fn peak_mib(outcome: &Outcome) -> f64 {
    outcome.manifest()["peak_anonymous_bytes"].as_f64().unwrap() / f64::from(1 << 20)
}

#[test]
fn the_five_published_members_predict_in_one_command() {
    let case = root().join("tests/golden/icecube/e2e");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    prepare().arg("--raw").arg(case.join("data")).arg("--out").arg(at("data")).arg("-q").succeeds();
    let sizes = |dim: u32, depth: u32, head: u32| format!("dim: {dim}, dim_base: 8, depth: {depth}, head_size: {head}");
    let graph = "dynedge: {layers: [[24, 32], [28, 32], [28, 32], [28, 32]], post: 40, readout: 8}";
    let members = [
        ("b32", "baselineV3_BE_globalrel_d32_0_6ema", 0.08254897, format!("deep_ice: {{{}}}", sizes(16, 2, 4))),
        ("b64", "baselineV3_BE_globalrel_d64_0_3emaFT_2", 0.15350807, format!("deep_ice: {{{}}}", sizes(16, 2, 8))),
        ("b_4rel", "VFTV3_4RELFT_7", 0.19367443, format!("deep_ice: {{{}, n_rel: 4}}", sizes(16, 3, 4))),
        ("s_gnn", "V22FT6_1", 0.23597202, format!("v22: {{{}, {graph}}}", sizes(16, 2, 4))),
        ("b_gnn", "V23FT5_6", 0.3342965, format!("v23: {{{}, {graph}}}", sizes(16, 2, 8))),
    ];
    let mut config =
        String::from("system: icecube\nmember: ensemble\ninput: {length: 96}\nbatch_size: 8\ntables: true\nmembers:\n");
    for (name, file, weight, model) in &members {
        config += &format!("- {{name: {name}, weights: {file}.pth, weight: {weight}, model: {{{model}}}}}\n");
    }
    common::durable::write(at("ensemble.yaml"), config.as_bytes()).unwrap();
    let predict = |out: &str, batch: &str| {
        let run = cmd("predict").arg(at("ensemble.yaml")).args([batch, "--threads=1", "--device=cpu", "--weights"]);
        let run = run.arg(case.join("ice-cube-final-models")).arg("--data").arg(at("data")).arg("--sample");
        run.arg(case.join("data/sample_submission.parquet")).arg("--out").arg(at(out)).succeeds()
    };
    let outcome = predict("out", "batch_size=8").says("1 events of the sample have no prediction");
    let manifest = outcome.manifest();
    for (name, ..) in &members {
        assert_eq!(manifest["metrics"][format!("not_finite/{name}")], 0, "{manifest}");
        assert!(manifest["outputs"][format!("members/{name}")].is_object(), "{manifest}");
    }
    let (found, expected) = (rows(&at("out/submission.csv")), rows(&case.join("expected_submission.csv")));
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(&expected) {
        assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-4 && (a.2 - b.2).abs() < 1e-4, "{a:?}, expected {b:?}");
    }
    // One event at a time gives the same directions as batches of eight.
    predict("one", "batch_size=1");
    for (a, b) in rows(&at("one/submission.csv")).iter().zip(&found) {
        assert!((a.1 - b.1).abs() < 1e-4 && (a.2 - b.2).abs() < 1e-4, "{a:?} {b:?}");
    }
}

#[test]
fn events_are_drawn_with_true_and_predicted_directions_and_their_regions() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let run = || cmd("predict").args(["--device=cpu", "--threads=1", "--from"]).arg(workshop().join("run"));
    run().args(["--picture", "5", "--limit", "12", "--out"]).arg(&out).succeeds();
    let again = folder.path().join("again");
    run().args(["--picture", "5", "--limit", "12", "--out"]).arg(&again).succeeds();
    for name in ["event.html", "event.svg"] {
        assert!(std::fs::read(out.join(name)).unwrap() == std::fs::read(again.join(name)).unwrap(), "{name} differs");
    }
    let table = read_parquet(out.join("predictions.parquet"), None).unwrap();
    let svg = std::fs::read_to_string(out.join("event.svg")).unwrap();
    for part in ["true direction", "predicted direction", "time (ns)", "regions of 50 % and 90 %", "off, "] {
        assert!(svg.contains(part), "{part}");
    }
    if let Some(mut browser) = Browser::start() {
        let seen = look(&mut browser, &out.join("event.html"), "pulses");
        assert_eq!(seen.events, 7, "from the sixth of twelve on");
        let name = browser.js(&format!("{SCENE}.spec.events[0].name"));
        assert_eq!(name, format!("event {}", table.i64("event_id").unwrap()[5]));
        // The region of 90 % is that of the table, the line points where the table does.
        let cone = |column: &str, k: usize| format!("{SCENE}.show(0) || {SCENE}.own.cones.data.{column}[{k}]");
        let mut number = |column: &str, k: usize| browser.js(&cone(column, k)).as_f64().unwrap();
        let column = |name: &str| f64::from(table.f32(name).unwrap()[5]);
        assert!((number("angle", 1) - column("angle90")).abs() < 1e-4);
        for (k, axis) in ["x", "y", "z"].iter().enumerate() {
            assert!((number("axis", k) - column(axis)).abs() < 1e-4, "{axis}");
        }
    }
    run().args(["--picture", "12", "--limit", "12", "--out"]).arg(folder.path().join("none")).fails(2).says("0 to 11");
}

#[test]
fn events_of_every_length_are_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    raw::detector(&raw);
    let given: [raw::Given; 5] = [(10, 1), (11, 47), (12, 48), (13, 49), (14, 20_000)];
    write_parquet(raw.join("test/batch_661.parquet"), &raw::pulses(&given)).unwrap();
    // Event 15 has no pulse: the files know nothing of it.
    let mut sample = Table::new();
    sample.push("event_id", Column::I64(vec![15, 14, 10, 11, 12, 13])).unwrap();
    write_parquet(raw.join("sample.parquet"), &sample).unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    prepare().arg("train=null").arg("--raw").arg(&raw).arg("--out").arg(&data).arg("-q").succeeds();
    let predict = |out: &Path| {
        let run = cmd("predict").args(["--device=cpu", "--threads=1", "--from"]).arg(workshop().join("run"));
        run.arg("--data").arg(&data).arg("--sample").arg(raw.join("sample.parquet")).arg("--out").arg(out).succeeds()
    };
    let shown = cmd("predict").args(["batch_size=3", "--print-config", "--from"]).arg(workshop().join("run"));
    assert!(shown.succeeds().stdout.contains("batch_size: 3  # override"));
    predict(&out).says("1 events of the sample have no prediction: they get 0.0, 0.0");
    let found = rows(&out.join("submission.csv"));
    assert_eq!(found.iter().map(|row| row.0).collect::<Vec<_>>(), [15, 14, 10, 11, 12, 13]);
    assert_eq!((found[0].1, found[0].2), (0.0, 0.0));
    assert!(found[1..].iter().all(|row| row.1.is_finite() && row.1 > 0.0 && row.2 > 0.0), "{found:?}");
    let table = read_parquet(out.join("predictions.parquet"), None).unwrap();
    assert_eq!(table.i64("event_id").unwrap(), [10, 11, 12, 13, 14]);
    let again = folder.path().join("again");
    predict(&again);
    let bytes = |out: &Path| std::fs::read(out.join("predictions.parquet")).unwrap();
    assert_eq!(bytes(&out), bytes(&again), "the choice of pulses is drawn from the seed");
}

#[test]
fn two_processes_train_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = |processes: &str| {
        let out = folder.path().join(processes);
        let run = train(workshop(), &workshop().join("data")).arg(format!("--nproc={processes}"));
        let manifest = run.arg("--out").arg(&out).succeeds().manifest();
        let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let losses: Vec<f64> = rows.filter_map(|row| row.get("train/batch_loss")?.as_f64()).collect();
        (losses, manifest["metrics"]["angle"].as_f64().unwrap())
    };
    let ((one, angle), (two, other)) = (run("1"), run("2"));
    assert!(one.len() >= 10 && one.len() == two.len(), "{one:?} {two:?}");
    for (step, (a, b)) in one.iter().zip(&two).enumerate() {
        assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "loss of step {step}: {a} alone, {b} together");
    }
    assert!((angle - other).abs() < 1e-3, "{angle} {other}");
}

#[test]
fn a_killed_training_is_bit_identical_to_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // Ends after half of the steps, as a run that was killed at its checkpoint, then goes on.
    let data = workshop().join("data");
    let mut child = std::process::Command::new(crate::support::binary("train-model"));
    child.arg(workshop().join("tiny.yaml")).args(["-q", "--threads", "1", "--device", "cpu", "--from"]).arg(&data);
    child.arg("--out").arg(&out).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = child.spawn().unwrap();
    let begun = std::time::Instant::now();
    while !out.join("checkpoints/last/manifest.json").exists() && begun.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let outcome = train(workshop(), &data).arg("--out").arg(&out).run();
    assert!(outcome.code == Some(0) || outcome.stderr.contains("finished stage"), "{}", outcome.stderr);
    for name in ["oof.parquet", "history.csv", "checkpoints/last/model.safetensors"] {
        let read = |of: &Path| std::fs::read(of.join(name)).unwrap();
        assert!(read(&out) == read(&workshop().join("run")), "`{name}` has other bytes");
    }
}

#[test]
fn a_published_config_trains_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let config = root().join("tests/golden/icecube/config_overrides/config.json");
    let simulate = "system: icecube\nseed: 9\ntrain:\n  - {first: 1, files: 1, events: 40}\n  - {first: 655, files: 5, events: 8}\ntest: []\nphysics: {median_pulses: 30, noise_pulses: 8}\n";
    let at = |name: &str| folder.path().join(name);
    common::durable::write(at("simulate.yaml"), simulate.as_bytes()).unwrap();
    cmd("simulate-data").arg("icecube").arg(at("simulate.yaml")).arg("-q").arg("-o").arg(at("sim")).succeeds();
    prepare().arg("test=null").arg("--from").arg(at("sim")).arg("-o").arg(at("data")).arg("-q").succeeds();
    let run = |more: &[&str]| {
        let run = cmd("train-model").arg(&config).args(more).args(["--device=cpu", "--threads=1", "--from"]);
        run.arg(at("data"))
    };
    // 40 events are one batch of the published 32, not one for each of eight sub-epochs.
    run(&["--dry-run"]).succeeds().says("40 training events are too few for 8 sub-epochs");
    run(&["BS", "64", "--dry-run"]).fails(2).says("there are 40 training events, one batch needs 64");
    run(&["LR_MX", "1e-5", "--dry-run"]).fails(2).says("`LR_MX`").says("did you mean `LR_MAX`?");
    run(&["BS", "4", "VALIDATION", "[\"batch_655.parquet\"]", "--dry-run"]).succeeds().says("8 validation events");
    let small = ["BS", "4", "MODEL_KWARGS.dim", "16", "MODEL_KWARGS.dim_base", "8", "MODEL_KWARGS.head_size", "8"];
    let few = ["MODEL_KWARGS.depth", "1", "EPOCHS", "1", "L", "48", "LOSS_FUNC", "loss_comb"];
    run(&small).args(few).arg("--dry-run").succeeds().says("deep_ice");
    let manifest = run(&small).args(few).arg("-q").arg("-o").arg(at("run")).succeeds().manifest();
    assert!(manifest["metrics"]["angle"].as_f64().unwrap() > 0.0, "{manifest}");
    run(&["LOSS_FUNC", "loss_mse"]).fails(2).says("`LOSS_FUNC` is \"loss_mse\"").says("loss_comb");
    run(&["MODEL", "Transformer"]).fails(2).says("EncoderWithDirectionReconstructionV22");
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: String| -> PathBuf { folder.path().join(name) };
    let peaks: Vec<(f64, f64)> = [2, 10]
        .into_iter()
        .map(|files| {
            let text = format!(
                "system: icecube\nseed: 4\ntrain:\n  - {{first: 1, files: {files}, events: 1500}}\n  - {{first: 655, files: 1, events: 64}}\ntest: []\n"
            );
            let (config, sim) = (at(format!("{files}.yaml")), at(format!("sim{files}")));
            common::durable::write(&config, text.as_bytes()).unwrap();
            let simulate = cmd("simulate-data").arg("icecube").arg(config).args(["-q", "--threads=2"]);
            simulate.arg("--out").arg(&sim).succeeds();
            let data = at(format!("data{files}"));
            let prepared = prepare().args(["test=null", "-q", "--threads=1", "--from"]).arg(&sim).arg("--out").arg(&data);
            let prepared = peak_mib(&prepared.succeeds());
            let trained = train(workshop(), &data).args(["--limit=20", "training.epochs=1"]).arg("--out");
            (prepared, peak_mib(&trained.arg(at(format!("run{files}"))).succeeds()))
        })
        .collect();
    let (few, many) = (peaks[0], peaks[1]);
    // Eight more files hold 30 MiB of pulses; the peak of so short a run is sampled, and may miss most of a file's 10 MiB.
    assert!(few.0 > 1.0 && many.0 < 1.2 * few.0 + 20.0, "prepare-data: {few:?} MiB of 2 files, {many:?} of 10");
    assert!(few.1 > 1.0 && many.1 < 1.2 * few.1 + 8.0, "train-model: {few:?} MiB of 2 files, {many:?} of 10");
}
