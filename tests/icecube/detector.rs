//! Other detectors: GraphNeT's tables, merged and nested, without ice, charges or flags, from files to scores.

use std::path::{Path, PathBuf};

use common::store::tables::{Column, Table, read_parquet, write_parquet};
use common::store::tensors::TensorFile;

use crate::support::{cmd, root};

/// The real files, where they are at hand.
fn real() -> Option<PathBuf> {
    let folder = root().join("../shared/data/icecube/graphnet");
    folder.is_dir().then_some(folder)
}

fn prepare(config: &str) -> crate::support::Cmd {
    cmd("prepare-data").arg("icecube").arg(root().join("configs/icecube/graphnet").join(config)).args(["-q"])
}

/// Made-up files of the layout of Prometheus: `total` and `mc_truth`, ten files of four events.
fn prometheus(folder: &Path) -> PathBuf {
    let merged = folder.join("merged");
    for file in 0..10_i64 {
        let events: Vec<i64> = (0..4).map(|i| 670 + 10 * i + file).collect();
        let pulses = |event: i64| 3 + (event % 5) as usize;
        let ids: Vec<i64> = events.iter().flat_map(|&e| std::iter::repeat_n(e, pulses(e))).collect();
        let place: Vec<usize> = events.iter().flat_map(|&e| 0..pulses(e)).collect();
        let sensor = |i: usize| (ids[i] as usize * 7 + place[i] * 5) % 24;
        let n = ids.len();
        let mut total = Table::new();
        total.push("sensor_id", Column::I64((0..n).map(|i| (sensor(i) % 4) as i64).collect())).unwrap();
        let at = |f: fn(usize) -> f64| Column::F64((0..n).map(|i| f(sensor(i))).collect());
        total.push("sensor_pos_x", at(|s| -4.3 + 20.0 * (s % 4) as f64)).unwrap();
        total.push("sensor_pos_y", at(|s| 3.56 + 20.0 * (s / 4 % 3) as f64)).unwrap();
        total.push("sensor_pos_z", at(|s| -95.4 + 50.0 * (s / 12) as f64)).unwrap();
        // Not in the order of time, as these programs leave them.
        let time = (0..n).map(|i| 70.5 + ((place[i] * 3) % 7) as f64 * 11.25);
        total.push("t", Column::F64(time.collect())).unwrap();
        total.push("event_no", Column::I64(ids)).unwrap();
        write_parquet(merged.join(format!("total/total_{file}.parquet")), &total).unwrap();
        let mut truth = Table::new();
        truth.push("injection_energy", Column::F64(events.iter().map(|e| *e as f64).collect())).unwrap();
        truth.push("injection_zenith", Column::F64(events.iter().map(|e| (e % 30) as f64 * 0.1).collect())).unwrap();
        // Counted from -pi.
        truth
            .push("injection_azimuth", Column::F64(events.iter().map(|e| (e % 60) as f64 * 0.1 - 3.0).collect()))
            .unwrap();
        truth.push("event_no", Column::I64(events)).unwrap();
        write_parquet(merged.join(format!("mc_truth/mc_truth_{file}.parquet")), &truth).unwrap();
    }
    merged
}

/// Prepares, trains both small networks, predicts, scores.
fn from_files_to_scores(folder: &Path, config: &str, merged: &Path, validation: &str, tested: usize) {
    let at = |name: &str| folder.join(name);
    prepare(config).arg("--raw").arg(merged).arg("--out").arg(at("data")).succeeds();
    for network in ["deep_ice", "dynedge"] {
        let recipe = root().join(format!("configs/icecube/graphnet/{network}.yaml"));
        let train = cmd("train-model").arg(recipe).arg(format!("validation=[{validation}]")).arg("training.epochs=1");
        let train =
            train.args(["training.batch_size=2", "-q", "--device=cpu", "--threads=1", "--from"]).arg(at("data"));
        let manifest = train.arg("--out").arg(at(network)).succeeds().manifest();
        assert!(manifest["metrics"]["angle"].as_f64().unwrap() > 0.0, "{manifest}");
        let predict = cmd("predict").args(["-q", "--device=cpu", "--threads=1", "--from"]).arg(at(network));
        predict.arg("--out").arg(at(&format!("p-{network}"))).succeeds();
        let table = read_parquet(at(&format!("p-{network}")).join("predictions.parquet"), None).unwrap();
        assert_eq!(table.rows(), tested);
        let score = cmd("score").arg("--truth").arg(at("data")).arg(at(network)).arg(at(&format!("p-{network}")));
        let scores: serde_json::Value = serde_json::from_str(score.succeeds().stdout.trim()).unwrap();
        assert_eq!(scores["scores"][1]["events"], tested, "{scores}");
        assert!(scores["scores"][0]["mean_rad"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_detector_without_charge_ice_and_flags_goes_from_files_to_scores() {
    let folder = tempfile::tempdir().unwrap();
    let merged = prometheus(folder.path());
    from_files_to_scores(folder.path(), "prometheus.yaml", &merged, "total_9", 4);
    let store = TensorFile::open(folder.path().join("data/train/total_0.safetensors")).unwrap();
    assert_eq!(store.i64("event_id").unwrap(), [670, 680, 690, 700]);
    let offsets = store.i64("offset").unwrap();
    let times = store.f32("time").unwrap();
    for pair in offsets.windows(2) {
        assert!(times[pair[0] as usize..pair[1] as usize].is_sorted(), "pulses of an event ascend in time");
    }
    assert!((f64::from(times[0]) - 70.5 / 3e4).abs() < 1e-7, "{}", times[0]);
    assert!(store.f32("charge").unwrap().iter().all(|q| *q == 0.0), "charge 1 where there is none");
    assert!(store.elements::<i16>("sensor").unwrap().iter().all(|s| *s >= 0), "confirmed where nothing says otherwise");
    let direction = store.elements::<f64>("direction").unwrap();
    assert!((direction[0] - (-2.0_f64).rem_euclid(std::f64::consts::TAU)).abs() < 1e-12, "{direction:?}");
    // Networks of one detector do not predict data of another.
    let other = folder.path().join("other");
    let far =
        prepare("prometheus.yaml").args(["detector.scale_m=250"]).arg("--raw").arg(&merged).arg("--out").arg(&other);
    far.succeeds();
    let mixed = cmd("train-model").arg(root().join("configs/icecube/graphnet/deep_ice.yaml")).arg("--from").arg(&other);
    let weights = folder.path().join("deep_ice");
    let mixed = mixed.arg(format!("weights={}", weights.display())).args(["-q", "--device=cpu", "--out"]);
    mixed.arg(folder.path().join("mixed")).fails(3).says("`detector.scale_m` is 500, in the data given it is 250");
}

#[test]
fn tables_that_are_missing_are_told_by_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let merged = prometheus(folder.path());
    let run =
        |config: &str, out: &str| prepare(config).arg("--raw").arg(&merged).arg("--out").arg(folder.path().join(out));
    run("oscnext.yaml", "a").fails(3).says("has no folder `SRTInIcePulses`").says("it holds mc_truth, total");
    // Hidden files in both folders are nobody's data; a truth without pulses is told.
    for name in ["total/._total_0.parquet", "mc_truth/._mc_truth_0.parquet", "._total"] {
        common::durable::write(merged.join(name), b"\0\x05\x16\x07").unwrap();
    }
    std::fs::remove_file(merged.join("total/total_3.parquet")).unwrap();
    let made = run("prometheus.yaml", "b").succeeds();
    assert_eq!(made.manifest()["metrics"]["train_events"], 32);
    made.says("mc_truth_3.parquet` is not read: there are no pulses of its events");
    std::fs::remove_file(merged.join("mc_truth/mc_truth_5.parquet")).unwrap();
    run("prometheus.yaml", "c").fails(3).says("mc_truth_5.parquet").says("needs its truth");
    let file = merged.join("total/total_1.parquet");
    let run = prepare("prometheus.yaml").arg("--raw").arg(&file).arg("--out").arg(folder.path().join("d"));
    run.fails(3).says("is a file, expected the folder that holds it");
    let bare = folder.path().join("bare");
    common::durable::write(bare.join("events.db"), b"SQLite format 3\0").unwrap();
    let run = prepare("prometheus.yaml").arg("--raw").arg(&bare).arg("--out").arg(folder.path().join("e"));
    run.fails(3).says("`events.db` is a database");
}

#[test]
fn nested_files_are_read_event_by_event() {
    let folder = tempfile::tempdir().unwrap();
    let nested = root().join("tests/icecube/assets/nested.parquet");
    let run = |raw: &Path, out: &Path| {
        let config = "system: icecube\nlayout: {graphnet: {}}\ndetector: {name: small, ice: none, time: {from_first: true, shift_ns: 0}}\ntest: null\n";
        let path = folder.path().join("prepare.yaml");
        common::durable::write(&path, config.as_bytes()).unwrap();
        cmd("prepare-data").arg("icecube").arg(path).arg("-q").arg("--raw").arg(raw).arg("--out").arg(out)
    };
    let raw = folder.path().join("raw");
    common::durable::write(raw.join("nested.parquet"), &std::fs::read(&nested).unwrap()).unwrap();
    let out = folder.path().join("a");
    let manifest = run(&raw, &out).succeeds().manifest();
    assert_eq!(
        (&manifest["metrics"]["train_events"], &manifest["metrics"]["events_without_pulse"]),
        (&5.into(), &1.into())
    );
    let store = TensorFile::open(out.join("train/nested.safetensors")).unwrap();
    assert_eq!(store.i64("event_id").unwrap(), [0, 2, 3, 4, 5]);
    assert_eq!(store.i64("offset").unwrap(), [0, 3, 8, 10, 14, 20]);
    let times = store.f32("time").unwrap();
    assert!([0, 3, 8, 10, 14].iter().all(|first| times[*first] == 0.0), "{times:?}");
    // A table of sensors that lacks one is refused with the place.
    let table = folder.path().join("sensors.csv");
    common::durable::write(&table, b"x,y,z\n0,0,-100\n0,0,-50\n").unwrap();
    let refused = run(&raw, &folder.path().join("c")).arg(format!("detector.sensors={}", table.display())).fails(3);
    refused.says("nested.parquet").says("where the detector has none").says("detector.sensors");
}

#[test]
fn the_real_tables_of_prometheus_go_from_files_to_scores() {
    let Some(real) = real() else { return };
    let folder = tempfile::tempdir().unwrap();
    let merged = real.join("examples/parquet/prometheus/merged");
    from_files_to_scores(folder.path(), "prometheus.yaml", &merged, "total_9", 5);
    // The published table of that detector knows all of its sensors.
    let out = folder.path().join("table");
    let table = format!("detector.sensors={}", real.join("geometry_tables/orca_150.parquet").display());
    prepare("prometheus.yaml").arg(table).arg("--raw").arg(&merged).arg("--out").arg(&out).succeeds();
    let sensors = TensorFile::open(out.join("sensors.safetensors")).unwrap();
    assert_eq!(sensors.elements::<f32>("pos").unwrap().len(), 3 * 3300);
}

#[test]
fn the_real_tables_of_oscnext_go_from_files_to_scores() {
    let Some(real) = real() else { return };
    let folder = tempfile::tempdir().unwrap();
    let osc = real.join("tests/parquet/oscNext_genie_level7_v02");
    from_files_to_scores(folder.path(), "oscnext.yaml", &osc.join("merged"), "SRTInIcePulses_4", 1);
    // Nested, the same events have the same pulses.
    let out = folder.path().join("nested");
    let run = prepare("oscnext.yaml").args(["test=null", "--raw"]);
    run.arg(&osc).arg("--out").arg(&out).succeeds();
    let nested = TensorFile::open(out.join("train/oscNext_genie_level7_v02_first_5_frames.safetensors")).unwrap();
    assert_eq!(nested.i64("offset").unwrap(), [0, 9, 18, 30, 41, 56]);
    let merged = TensorFile::open(folder.path().join("data/train/SRTInIcePulses_0.safetensors")).unwrap();
    // Files and events are numbered differently.
    let [event] = merged.i64("event_id").unwrap() else { panic!("one event a file") };
    let rows = nested.i64("offset").unwrap()[*event as usize] as usize
        ..nested.i64("offset").unwrap()[*event as usize + 1] as usize;
    assert_eq!(merged.f32("charge").unwrap(), &nested.f32("charge").unwrap()[rows]);
    let (ours, all) = (merged.elements::<f64>("direction").unwrap(), nested.elements::<f64>("direction").unwrap());
    assert_eq!(ours, &all[2 * *event as usize..2 * *event as usize + 2]);
    // `hlc` says the opposite of `auxiliary`: 38 of 56 pulses are confirmed.
    let auxiliary = nested.elements::<i16>("sensor").unwrap().iter().filter(|s| **s < 0).count();
    assert_eq!(auxiliary, 18);
    let table = format!("detector.sensors={}", real.join("geometry_tables/icecube86.parquet").display());
    let full = folder.path().join("full");
    prepare("oscnext.yaml").arg(table).arg("--raw").arg(osc.join("merged")).arg("--out").arg(&full).succeeds();
}

#[test]
fn the_raw_output_of_prometheus_is_read() {
    let Some(real) = real() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = "system: icecube\nlayout: {graphnet: {}}\ndetector: {name: upgrade, ice: none, time: {shift_ns: 0}}\ntest: null\n";
    common::durable::write(folder.path().join("prepare.yaml"), config.as_bytes()).unwrap();
    let run = cmd("prepare-data").arg("icecube").arg(folder.path().join("prepare.yaml")).arg("-q").arg("--raw");
    let run = run.arg(real.join("tests/prometheus")).arg("--out").arg(folder.path().join("out"));
    let manifest = run.succeeds().manifest();
    assert_eq!((&manifest["metrics"]["train_events"], &manifest["metrics"]["pulses"]), (&9.into(), &200.into()));
}

#[test]
fn sensors_in_another_order_make_the_events_anew_and_places_that_are_no_numbers_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let merged = prometheus(folder.path());
    let table = folder.path().join("sensors.csv");
    let rows: Vec<String> = (0..24)
        .map(|s| {
            format!(
                "{},{},{}",
                -4.3 + 20.0 * f64::from(s % 4),
                3.56 + 20.0 * f64::from(s / 4 % 3),
                -95.4 + 50.0 * f64::from(s / 12)
            )
        })
        .collect();
    let write = |rows: &[String]| {
        common::durable::write(&table, format!("x,y,z\n{}\n", rows.join("\n")).as_bytes()).unwrap();
    };
    let run = |out: &str| {
        let named = format!("detector.sensors={}", table.display());
        prepare("prometheus.yaml").arg("--raw").arg(&merged).arg(named).arg("--out").arg(folder.path().join(out))
    };
    write(&rows);
    run("data").succeeds();
    std::fs::remove_file(folder.path().join("data/stage.json")).unwrap();
    write(&rows.iter().rev().cloned().collect::<Vec<_>>());
    run("data").succeeds();
    run("fresh").succeeds();
    let one = |of: &str| {
        std::fs::read_dir(folder.path().join(of).join("train")).unwrap().flatten().map(|e| e.path()).min().unwrap()
    };
    assert!(std::fs::read(one("data")).unwrap() == std::fs::read(one("fresh")).unwrap(), "numbers of the old table");

    let file = merged.join("total/total_3.parquet");
    let pulses = read_parquet(&file, None).unwrap();
    let mut odd = Table::new();
    for (name, column) in pulses.names().iter().zip(pulses.columns()) {
        let column = match (name.as_str(), column.clone()) {
            ("sensor_pos_y", Column::F64(mut values)) => {
                values[2] = f64::NAN;
                Column::F64(values)
            }
            (_, column) => column,
        };
        odd.push(name.clone(), column).unwrap();
    }
    write_parquet(&file, &odd).unwrap();
    let run = prepare("prometheus.yaml").arg("--raw").arg(&merged).arg("--out").arg(folder.path().join("nan"));
    run.fails(3).says("total_3.parquet").says("row 2").says("expected finite numbers");
}
