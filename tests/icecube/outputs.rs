//! What `predict` and `score` do beyond the submission: calibrated kappa, the stored sample, converted weights alone, heads.

use std::path::Path;

use common::store::tables::{Column, Table, read_parquet, write_parquet};
use serde_json::Value;

use crate::chain::workshop;
use crate::raw::{self, prepare};
use crate::support::cmd;

fn predict(of: &[&str], out: &Path) -> crate::support::Outcome {
    cmd("predict").args(of).args(["-q", "--device=cpu", "--threads=1", "--out"]).arg(out).succeeds()
}

fn ids(submission: &Path) -> Vec<i64> {
    let text = std::fs::read_to_string(submission).unwrap();
    text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_stored_sample_orders_the_submission_and_one_of_other_events_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    raw::detector(&raw);
    write_parquet(raw.join("test/batch_661.parquet"), &raw::pulses(&[(10, 4), (11, 9), (12, 6)])).unwrap();
    let sample = |ids: &[i64]| {
        let mut sample = Table::new();
        sample.push("event_id", Column::I32(ids.iter().map(|id| *id as i32).collect())).unwrap();
        write_parquet(raw.join("sample_submission.parquet"), &sample).unwrap();
    };
    let run = workshop().join("run");
    let run = run.to_str().unwrap();
    let data = |ids: &[i64], name: &str| {
        sample(ids);
        let out = folder.path().join(name);
        prepare().arg("train=null").arg("--raw").arg(&raw).arg("--out").arg(&out).arg("-q").succeeds();
        out.to_str().unwrap().to_owned()
    };
    let out = folder.path().join("a");
    predict(&["--from", run, "--data", &data(&[12, 10, 11], "data")], &out);
    assert_eq!(ids(&out.join("submission.csv")), [12, 10, 11]);
    let table = read_parquet(out.join("predictions.parquet"), None).unwrap();
    for row in 0..3 {
        let number = |name: &str| f64::from(table.f32(name).unwrap()[row]);
        let (a, z) = (number("azimuth"), number("zenith"));
        let unit = [a.cos() * z.sin(), a.sin() * z.sin(), z.cos()];
        assert!(["x", "y", "z"].iter().zip(unit).all(|(name, u)| (number(name) - u).abs() < 1e-3), "row {row}");
    }
    // Nobody named it, so events of another set do not stop the run; a file that was named does.
    let other = data(&[900, 901], "other");
    let out = folder.path().join("b");
    let said = cmd("predict").args(["--from", run, "--data", &other, "--device=cpu", "--out"]).arg(&out).succeeds();
    said.says("asks for none of the predicted events");
    assert_eq!(ids(&out.join("submission.csv")), [10, 11, 12]);
    let named = raw.join("sample_submission.parquet");
    let refused = cmd("predict").args(["--from", run, "--data", &other, "--device=cpu", "--sample"]).arg(named);
    refused.arg("--out").arg(folder.path().join("c")).fails(3).says("asks for none of the predicted events");
}

#[test]
fn converted_weights_bring_their_config() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = workshop().join("run/checkpoints/best/model.safetensors");
    let convert =
        cmd("convert-weights").arg(&model).arg(at("tiny.pth")).arg("--config").arg(workshop().join("tiny.yaml"));
    convert.succeeds();
    let convert = cmd("convert-weights").arg(at("tiny.pth")).arg(at("tiny.safetensors"));
    convert.arg("--config").arg(workshop().join("tiny.yaml")).succeeds();
    let data = workshop().join("data");
    let data = data.to_str().unwrap();
    predict(&["--from", workshop().join("run").to_str().unwrap()], &at("run"));
    predict(&["--weights", at("tiny.safetensors").to_str().unwrap(), "--data", data], &at("alone"));
    let read = |name: &str| std::fs::read(at(name).join("submission.csv")).unwrap();
    assert_eq!(read("run"), read("alone"));
}

#[test]
fn a_calibration_changes_kappa_and_regions_and_no_direction() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, run) = (workshop().join("data"), workshop().join("run"));
    let score = cmd("score").arg("--truth").arg(&data).arg(&run).arg("--out").arg(at("score"));
    score.succeeds();
    let text = std::fs::read_to_string(at("score/score.json")).unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    let calibration = &found["scores"][0]["calibration"];
    let temperature = calibration["fitted"]["temperature"].as_f64().unwrap();
    for level in ["0.5", "0.9"] {
        let share = calibration["coverage"]["after"][level].as_f64().unwrap();
        // Twenty validation events: a step is 5 %.
        assert!((share - level.parse::<f64>().unwrap()).abs() <= 0.051, "{calibration}");
    }
    let run = run.to_str().unwrap();
    predict(&["--from", run], &at("raw"));
    let applied = format!("calibration={}", at("score").display());
    predict(&["--from", run, &applied], &at("calibrated"));
    let read = |name: &str| read_parquet(at(name).join("predictions.parquet"), None).unwrap();
    let (raw, calibrated) = (read("raw"), read("calibrated"));
    for name in ["azimuth", "zenith", "x", "y", "z"] {
        assert_eq!(raw.f32(name).unwrap(), calibrated.f32(name).unwrap(), "{name}");
    }
    let (before, after) = (raw.f32("kappa").unwrap(), calibrated.f32("kappa").unwrap());
    assert!(
        before
            .iter()
            .zip(after)
            .all(|(b, a)| (f64::from(*b) / temperature - f64::from(*a)).abs() < 1e-4 * f64::from(*b))
    );
    // What the network gave stays beside it, for blends.
    assert_eq!(calibrated.f32("length").unwrap(), before);
    assert!(raw.f32("length").is_err());
    assert_ne!(raw.f32("angle90").unwrap(), calibrated.f32("angle90").unwrap());
    let submission = |name: &str| std::fs::read(at(name).join("submission.csv")).unwrap();
    assert_eq!(submission("raw"), submission("calibrated"));
    let wrong = cmd("predict").args(["--from", run, "calibration=nowhere.json", "--device=cpu", "--out"]).arg(at("x"));
    wrong.fails(3).says("nowhere.json");
}

#[test]
fn heads_are_trained_predicted_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let train = |more: &[&str], out: &Path| {
        let run = cmd("train-model").arg(workshop().join("tiny.yaml")).args(more);
        run.args(["-q", "--threads=1", "--device=cpu", "--from"]).arg(workshop().join("data")).arg("--out").arg(out)
    };
    let targets = ["targets.energy=0.2", "targets.vertex=1", "targets.track=0.5"];
    train(&targets, &at("run")).succeeds();
    let out = at("out");
    predict(&["--from", at("run").to_str().unwrap()], &out);
    let table = read_parquet(out.join("predictions.parquet"), None).unwrap();
    for name in ["energy", "vertex_x", "vertex_y", "vertex_z", "track"] {
        assert!(table.f32(name).unwrap().iter().all(|v| v.is_finite()), "{name}");
    }
    assert!(table.f32("track").unwrap().iter().all(|p| (0.0..=1.0).contains(p)));
    for (truth, predictions) in [(workshop().join("data"), at("run")), (workshop().join("sim"), at("run"))] {
        let score = cmd("score").arg("--truth").arg(truth).arg(predictions).succeeds();
        let scores: Value = serde_json::from_str(score.stdout.trim()).unwrap();
        let targets = &scores["scores"][0]["targets"];
        assert!(targets["energy"]["mean_abs_log10"].as_f64().unwrap() > 0.0, "{scores}");
        assert!(targets["vertex"]["median_m"].as_f64().unwrap() > 0.0, "{scores}");
        assert!((0.0..=1.0).contains(&targets["track"]["auc"].as_f64().unwrap()), "{scores}");
    }
    // A single head, beginning with weights that have none; its file says what it has.
    let weights = format!("weights={}", workshop().join("run").display());
    train(&["targets.track=1", &weights], &at("one")).succeeds();
    predict(&["--from", at("one").to_str().unwrap()], &at("p-one"));
    let table = read_parquet(at("p-one/predictions.parquet"), None).unwrap();
    assert!(table.f32("track").is_ok() && table.f32("energy").is_err());
    let converted = cmd("convert-weights").arg(at("one/checkpoints/best/model.safetensors")).arg(at("one.safetensors"));
    converted.succeeds();
    train(&["targets.track=-1"], &at("bad")).fails(2).says("targets.track");
}

#[test]
fn validation_events_that_are_trained_on_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    raw::detector(&raw);
    let events: Vec<raw::Given> = (0..16).map(|i| (10 + i, 6)).collect();
    for (number, events) in [(1, &events[..]), (655, &events[12..])] {
        write_parquet(raw.join(format!("train/batch_{number}.parquet")), &raw::pulses(events)).unwrap();
        let meta = raw::meta(events);
        write_parquet(raw.join(format!("train_meta/train_meta_{number}.parquet")), &meta).unwrap();
    }
    let data = folder.path().join("data");
    prepare().arg("test=null").arg("--raw").arg(&raw).arg("--out").arg(&data).arg("-q").succeeds();
    let train = cmd("train-model").arg(workshop().join("tiny.yaml")).args(["--dry-run", "--device=cpu", "--from"]);
    let train = train.arg(&data).arg("--out").arg(folder.path().join("run")).succeeds();
    train.says("4 of 4 validation events are trained on as well, event 22 among them");
}
