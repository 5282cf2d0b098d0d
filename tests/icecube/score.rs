//! `score` on directions.

use std::path::{Path, PathBuf};

use common::store::tables::{Column, Table, read_parquet, write_parquet};
use icecube_data::angles;

use crate::raw;
use crate::support::cmd;

/// Predictions for all simulated test events: the truth turned by `tilt` in zenith, with one kappa.
fn predictions(folder: &Path, name: &str, tilt: f64, kappa: f32) -> PathBuf {
    let truth = read_parquet(folder.join("sim/truth/events.parquet"), None).unwrap();
    let turned = |z: f64| if z + tilt > std::f64::consts::PI { z - tilt } else { z + tilt };
    let n = truth.rows();
    let mut table = Table::new();
    table.push("event_id", Column::I64(truth.i64("event_id").unwrap().iter().rev().copied().collect())).unwrap();
    table.push("azimuth", Column::F64(truth.f64("azimuth").unwrap().iter().rev().copied().collect())).unwrap();
    let zenith = truth.f64("zenith").unwrap().iter().rev().map(|z| turned(*z)).collect();
    table.push("zenith", Column::F64(zenith)).unwrap();
    table.push("kappa", Column::F32(vec![kappa; n])).unwrap();
    let path = folder.join(format!("{name}.parquet"));
    write_parquet(&path, &table).unwrap();
    path
}

#[test]
fn the_mean_opening_angle_is_reported_whole_and_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let exact = predictions(folder.path(), "exact", 0.0, 50.0);
    let tilted = predictions(folder.path(), "tilted", 0.25, 50.0);
    let run = cmd("score").arg("--truth").arg(&sim).args([&exact, &tilted]).succeeds();
    let run = run.says("kind track").says("kind cascade").says("calibration of kappa");
    let scores: serde_json::Value = serde_json::from_str(run.stdout.trim()).unwrap();
    let scores = scores["scores"].as_array().unwrap();
    assert!(scores[0]["mean_rad"].as_f64().unwrap() < 1e-6);
    assert!((scores[1]["mean_rad"].as_f64().unwrap() - 0.25).abs() < 1e-6);
    for part in ["kind", "pulses", "zenith", "kappa"] {
        let parts = scores[1]["by"][part].as_object().unwrap();
        assert_eq!(parts.values().map(|p| p["events"].as_u64().unwrap()).sum::<u64>(), 125, "{part}");
    }
    // All angles are 0.25: every share below that of kappa 50 at 0.25 holds none of them.
    let share = angles::share_within(50.0, 0.25);
    let found = &scores[1]["calibration"]["share_within"];
    assert!(share > 0.7 && found["0.7"] == 0.0 && found["0.9"] == 1.0, "{share} {found}");
}

#[test]
fn truths_are_tables_of_meta_files_and_prepared_folders() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let meta = sim.join("raw/train_meta/train_meta_655.parquet");
    let data = folder.path().join("data");
    raw::prepare().arg("--from").arg(&sim).arg("--out").arg(&data).succeeds();
    let truth = read_parquet(&meta, None).unwrap();
    let mut csv = String::from("event_id,azimuth,zenith\n");
    for (i, id) in truth.i64("event_id").unwrap().iter().enumerate() {
        csv += &format!("{id},{},{}\n", truth.f64("azimuth").unwrap()[i], truth.f64("zenith").unwrap()[i]);
    }
    let path = folder.path().join("submission.csv");
    common::durable::write(&path, csv.as_bytes()).unwrap();
    for truth in [&meta, &data, &sim] {
        let run = cmd("score").arg("--truth").arg(truth).arg(&path).succeeds();
        let scores: serde_json::Value = serde_json::from_str(run.stdout.trim()).unwrap();
        assert_eq!(scores["scores"][0]["events"], 20);
        assert!(scores["scores"][0]["mean_rad"].as_f64().unwrap() < 1e-6);
        assert!(scores["scores"][0]["calibration"].is_null());
    }
    let out = folder.path().join("score");
    let manifest = cmd("score").arg("--truth").arg(&data).arg(&path).arg("--out").arg(&out).succeeds().manifest();
    assert!(manifest["metrics"]["score"].as_f64().unwrap() < 1e-6);
    cmd("score").arg("--truth").arg(folder.path().join("sim/raw")).arg(&path).fails(3).says("holds no `stage.json`");
}

#[test]
fn predictions_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let score = |text: &str| {
        let path = folder.path().join("s.csv");
        common::durable::write(&path, text.as_bytes()).unwrap();
        cmd("score").arg("--truth").arg(&sim).arg(&path).fails(3)
    };
    score("event_id,azimuth,zenith\n17,1.0,1.0\n").says("predicts event 17, whose true direction is not known");
    score("event_id,azimuth,zenith\n").says("holds no prediction");
    score("event_id,azimuth,zenith\n4,1.0,1.0\n4,1.0,1.0\n").says("event 4 stands in rows 0 and 1");
    score("event_id,azimuth,zenit\n4,1.0,1.0\n").says("zenith");
    let path = folder.path().join("s.csv");
    cmd("score")
        .arg("--targets")
        .arg("--truth")
        .arg(&sim)
        .arg(&path)
        .fails(2)
        .says("`--targets` is not read by `icecube`");
}
