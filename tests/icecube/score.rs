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

#[test]
fn a_csv_table_is_read_with_all_columns_that_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let truth = read_parquet(sim.join("truth/events.parquet"), None).unwrap();
    let n = truth.rows();
    let numbers = |name: &str| truth.numbers(name).unwrap().into_owned();
    let (azimuth, zenith, energy) = (numbers("azimuth"), numbers("zenith"), numbers("energy"));
    let vertex = ["vertex_x", "vertex_y", "vertex_z"].map(numbers);
    let kinds = truth.texts("kind").unwrap();
    let ids = truth.whole("event_id").unwrap();
    // Columns in another order, one that nobody knows, quoted names and Windows' ends of lines.
    let head =
        "\"note\",track,angle90,angle50,kappa,z,y,x,vertex_z,vertex_y,vertex_x,energy,zenith,azimuth,event_id\r\n";
    let mut text = String::from(head);
    for i in 0..n {
        let (a, z) = (azimuth[i], zenith[i]);
        let track = if kinds[i] == "track" { 0.9 } else { 0.2 };
        let [vx, vy, vz] = [0, 1, 2].map(|k| vertex[k][i]);
        text += &format!(
            "\"n, {i}\",{track},0.2,0.1,40,{},{},{},{vz},{vy},{},{},{z},{a},{}\r\n",
            z.cos(),
            a.sin() * z.sin(),
            a.cos() * z.sin(),
            vx + 3.0,
            10.0 * energy[i],
            ids[i]
        );
    }
    let path = folder.path().join("p.csv");
    common::durable::write(&path, text.as_bytes()).unwrap();
    let said = cmd("score").arg("--truth").arg(&sim).arg(&path).succeeds();
    let scores: serde_json::Value = serde_json::from_str(said.stdout.trim()).unwrap();
    let targets = &scores["scores"][0]["targets"];
    assert!((targets["energy"]["mean_abs_log10"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{targets}");
    assert!((targets["vertex"]["median_m"].as_f64().unwrap() - 3.0).abs() < 1e-6, "{targets}");
    assert_eq!(targets["track"]["auc"], 1.0);
    let calibration = &scores["scores"][0]["calibration"];
    assert_eq!(calibration["regions"], serde_json::json!({ "0.5": 1.0, "0.9": 1.0 }));
    // As a member of a blend its vectors are as long as kappa.
    let out = folder.path().join("w");
    cmd("hill-climb").arg("search").arg("--truth").arg(&sim).arg(&path).arg("--out").arg(&out).succeeds();
    let oof = read_parquet(out.join("oof.parquet"), None).unwrap();
    assert!(oof.f32("kappa").unwrap().iter().all(|kappa| (kappa - 40.0).abs() < 1e-3));
    let refused = |from: &str, to: &str, words: &str| {
        let wrong = folder.path().join("wrong.csv");
        common::durable::write(&wrong, text.replacen(from, to, 1).as_bytes()).unwrap();
        cmd("score").arg("--truth").arg(&sim).arg(&wrong).fails(3).says("wrong.csv").says(words);
    };
    refused(",0.2,0.1,40,", ",0.2,0.1,-40,", "kappa is -40, expected 0 or more");
    refused(",0.2,0.1,40,", ",0.2,5.7,40,", "angle50 is 5.7");
    refused(",0.2,0.1,40,", ",0.2,0.1,,", "kappa is no finite number");
    refused(",0.2,0.1,40,", ",0.2,0.1,much,", "much");
}

#[test]
fn a_truth_of_directions_is_never_taken_for_plain_values() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        common::durable::write(&path, text.as_bytes()).unwrap();
        path
    };
    let rows = [(7, 0.5, 1.0, "track"), (9, 1.5, 2.0, ""), (12, 6.0, 0.5, "cascade")];
    let table = |between: &str| {
        let lines = rows.iter().map(|(id, a, z, kind)| format!("{id}{between}{a}{between}{z}{between}{kind}\n"));
        format!("event_id{between}azimuth{between}zenith{between}kind\n{}", lines.collect::<String>())
    };
    let predicted = write("p.csv", "event_id,azimuth,zenith\n7,0.5,1\n9,1.5,2\n12,6,0.5\n");
    for (name, text) in [("t.csv", table(",")), ("t.tsv", table("\t")), ("t.txt", table(";"))] {
        let run = cmd("score").arg("--truth").arg(write(name, &text)).arg(&predicted).succeeds();
        let scores: serde_json::Value = serde_json::from_str(run.stdout.trim()).unwrap();
        assert!(scores["scores"][0]["mean_rad"].as_f64().unwrap() < 1e-9, "{name}: {scores}");
        // One kind is not known: no table by kinds, and nobody of a kind without a name.
        assert!(scores["scores"][0]["by"]["kind"].is_null(), "{scores}");
    }
    // pandas keeps an index of consecutive numbers out of the columns.
    let mut bare = Table::new();
    bare.push("azimuth", Column::F64(vec![0.5, 1.5])).unwrap();
    bare.push("zenith", Column::F64(vec![1.0, 2.0])).unwrap();
    let path = folder.path().join("bare.parquet");
    write_parquet(&path, &bare).unwrap();
    let refused = cmd("score").arg("--truth").arg(&path).arg(&predicted).fails(3);
    refused.says("has `azimuth` and `zenith`, but no column `event_id`").says("reset_index");
    let score = |name: &str, text: &str| {
        cmd("score").arg("--truth").arg(folder.path().join("t.csv")).arg(write(name, text)).fails(3)
    };
    let theirs = "event_id,azimuth,zenith,azimuth_pred,zenith_pred\n7,0.5,1,0.4,1\n";
    score("g.csv", theirs).says("has `azimuth_pred` beside `azimuth`, which then is the true direction");
    let book = score("p.xlsx", "PK\u{3}\u{4}");
    assert!(!book.stderr.contains("damaged"), "{}", book.stderr);
    book.says("is no table that is read here");
}
