//! `hill-climb` on directions.

use std::path::{Path, PathBuf};

use common::seed::rng_for;
use common::store::tables::{Table, read_parquet, write_parquet};
use icecube_data::angles;
use icecube_data::directions::calibration::Calibration;
use icecube_data::directions::{self, Predictions};
use rand::RngExt;

use crate::raw;
use crate::support::cmd;

/// Vectors of all simulated events: the truth with noise, as `train-model` and `predict` write them.
fn member(folder: &Path, name: &str, noise: f64, rows: usize) -> PathBuf {
    let truth = read_parquet(folder.join("sim/truth/events.parquet"), None).unwrap();
    let mut rng = rng_for(3, name, 0);
    let (azimuth, zenith) = (truth.f64("azimuth").unwrap(), truth.f64("zenith").unwrap());
    let vectors: Vec<[f32; 3]> = (0..rows)
        .map(|i| angles::vector(azimuth[i], zenith[i]).map(|c| (c + noise * rng.random_range(-1.0..1.0)) as f32))
        .collect();
    let path = folder.join(name).with_extension("parquet");
    icecube_data::directions::write(&path, &truth.i64("event_id").unwrap()[..rows], &vectors).unwrap();
    path
}

fn score(folder: &Path, file: &Path) -> f64 {
    let run = cmd("score").arg("--truth").arg(folder.join("sim")).arg(file).succeeds();
    let value: serde_json::Value = serde_json::from_str(run.stdout.trim()).unwrap();
    value["scores"][0]["mean_rad"].as_f64().unwrap()
}

#[test]
fn weights_are_fitted_and_the_blend_beats_its_members() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let files = [("a", 0.5), ("b", 0.7), ("c", 3.0)].map(|(name, noise)| member(folder.path(), name, noise, 125));
    let out = folder.path().join("weights");
    let search =
        |more: &str| cmd("hill-climb").arg("search").arg("--truth").arg(&sim).args(&files).arg("--out").arg(more);
    let manifest = search(out.to_str().unwrap()).succeeds().says("equal weights").manifest();
    let metrics = &manifest["metrics"];
    let fitted = metrics["blend"].as_f64().unwrap();
    for name in ["a", "b", "c"] {
        assert!(fitted < metrics["members"][name].as_f64().unwrap(), "{metrics}");
    }
    assert!(fitted <= metrics["equal_weights"].as_f64().unwrap());
    let threads = folder.path().join("one");
    search(threads.to_str().unwrap()).args(["--threads", "1"]).succeeds();
    let read = |folder: &Path| std::fs::read(folder.join("weights.csv")).unwrap();
    assert_eq!(read(&out), read(&threads), "the threads change nothing");

    let blend = folder.path().join("blend");
    cmd("hill-climb").arg("blend").arg("--weights").arg(&out).args(&files).arg("--out").arg(&blend).succeeds();
    assert!((score(folder.path(), &blend.join("predictions.parquet")) - fitted).abs() < 1e-5);
    assert!((score(folder.path(), &blend.join("submission.csv")) - fitted).abs() < 1e-5);
    assert!((score(folder.path(), &blend) - fitted).abs() < 1e-5, "the folder stands for its table");
}

#[test]
fn a_blend_of_calibrated_tables_is_that_of_the_others_and_holds_its_own_regions() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let at = |name: &str| folder.path().join(name);
    let plain = [("a", 0.5), ("b", 0.7)].map(|(name, noise)| member(folder.path(), name, noise, 125));
    cmd("hill-climb").arg("search").arg("--truth").arg(&sim).args(&plain).arg("--out").arg(at("weights")).succeeds();
    let named = format!("blend={}", at("weights").display());
    let scored = cmd("score").arg("--truth").arg(&sim).args(&plain).arg(named).arg("--out").arg(at("scores"));
    scored.succeeds().says("right with kappa");
    let calibrated = plain.each_ref().map(|path| {
        let (name, table) = (path.file_stem().unwrap().to_str().unwrap(), Predictions::read(path, None).unwrap());
        let vectors: Vec<[f32; 3]> = table.vectors.unwrap().iter().map(|v| v.map(|c| c as f32)).collect();
        let out = at("calibrated").join(name).with_extension("parquet");
        std::fs::create_dir_all(at("calibrated")).unwrap();
        let calibration = Calibration::read(&at("scores"), name).unwrap();
        directions::write_calibrated(&out, &table.ids, &vectors, &calibration, None).unwrap();
        out
    });
    let blend = |files: &[PathBuf], more: &[&str], out: &str| {
        let run = cmd("hill-climb").arg("blend").arg("--weights").arg(at("weights")).args(files).args(more);
        run.arg("--out").arg(at(out)).succeeds();
        read_parquet(at(out).join("predictions.parquet"), None).unwrap()
    };
    let expected = blend(&plain, &[], "of-plain");
    let found = blend(&calibrated, &[], "of-calibrated");
    for name in ["x", "y", "z", "kappa"] {
        let pairs = expected.f32(name).unwrap().iter().zip(found.f32(name).unwrap());
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{name}: {a} {b}"));
    }
    let scores = at("scores");
    let found = blend(&plain, &["--calibration", scores.to_str().unwrap()], "right");
    assert_eq!(found.f32("length").unwrap(), expected.f32("kappa").unwrap());
    assert_eq!(found.f32("azimuth").unwrap(), expected.f32("azimuth").unwrap());
    let text = cmd("score").arg("--truth").arg(&sim).arg(at("right")).succeeds().says("calibrated").stdout;
    let scores: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    let calibration = &scores["scores"][0]["calibration"];
    for level in ["0.5", "0.9"] {
        let share = calibration["regions"][level].as_f64().unwrap();
        assert!((share - level.parse::<f64>().unwrap()).abs() < 0.01, "{calibration}");
    }
    // What a table of calibrated predictions fits is still what belongs to the network's own kappa.
    let of = |name: &str| Calibration::read(&at(name), "blend").unwrap();
    let again = cmd("score").arg("--truth").arg(&sim).arg(at("right")).arg("--out").arg(at("again"));
    again.succeeds();
    assert!((of("again").temperature / of("scores").temperature - 1.0).abs() < 1e-5);
    common::durable::write(at("w.csv"), b"model,weight\np,1\n").unwrap();
    common::durable::write(at("p.csv"), b"id,value\n1,0.5\n").unwrap();
    let values = cmd("hill-climb").args(["blend", "-w", "w.csv", "p.csv", "--calibration", "scores", "-o", "x"]);
    values.within(folder.path()).fails(2).says("`--calibration`");
}

#[test]
fn what_heads_say_is_blended_as_an_ensemble_does() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let write = |name: &str, extra: Option<[f32; 5]>| {
        let path = member(folder.path(), name, 0.5, 125);
        let table = Predictions::read(&path, None).unwrap();
        let vectors: Vec<[f32; 3]> = table.vectors.unwrap().iter().map(|v| v.map(|c| c as f32)).collect();
        let extra = extra.map(|extra| vec![extra; table.ids.len()]);
        let plain = Calibration::default();
        directions::write_calibrated(&path, &table.ids, &vectors, &plain, extra.as_deref()).unwrap();
        path
    };
    let files = [
        write("a", Some([100.0, 0.0, 2.0, -4.0, 0.5])),
        write("b", Some([10_000.0, 8.0, 2.0, f32::NAN, 0.9])),
        write("c", None),
    ];
    common::durable::write(folder.path().join("w.csv"), b"model,weight\na,0.25\nb,0.25\nc,0.5\n").unwrap();
    let blend = cmd("hill-climb").args(["blend", "-w", "w.csv", "-o", "out"]).args(&files).within(folder.path());
    blend.succeeds();
    let table = read_parquet(folder.path().join("out/predictions.parquet"), None).unwrap();
    // The logarithm of the energy, the place, and the logit of a track: sqrt(9) to 1.
    for (name, expected) in
        [("energy", 1000.0), ("vertex_x", 4.0), ("vertex_y", 2.0), ("vertex_z", -4.0), ("track", 0.75)]
    {
        let found = table.f32(name).unwrap();
        assert!(found.iter().all(|v| (v / expected - 1.0).abs() < 1e-4), "{name}: {}", found[0]);
    }
    let score = cmd("score").arg("--truth").arg(&sim).arg(folder.path().join("out")).succeeds();
    let scores: serde_json::Value = serde_json::from_str(score.stdout.trim()).unwrap();
    assert!(scores["scores"][0]["targets"]["energy"]["mean_abs_log10"].is_number(), "{scores}");
}

#[test]
fn members_that_do_not_go_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let (a, b) = (member(folder.path(), "a", 0.5, 125), member(folder.path(), "b", 0.5, 100));
    let search = || cmd("hill-climb").arg("search").arg("--truth").arg(&sim).within(folder.path());
    search().args([&a, &b]).fails(3).says("has 100 events").says("has 125");
    search().args([&a, &a]).fails(2).says("two models are called `a`");
    search().arg(&a).args(["--metric", "mse"]).fails(2).says("no settings");
    let bare = folder.path().join("bare.parquet");
    let mut table = Table::new();
    for (name, column) in read_parquet(&a, None)
        .unwrap()
        .schema()
        .iter()
        .map(|(n, _)| n.clone())
        .zip(read_parquet(&a, None).unwrap().columns().to_vec())
    {
        if !["x", "y", "z"].contains(&name.as_str()) {
            table.push(name, column).unwrap();
        }
    }
    write_parquet(&bare, &table).unwrap();
    search().arg(&bare).fails(3).says("has no columns `x`, `y`, `z`");
    common::durable::write(folder.path().join("w.csv"), b"model,weight\na,0.5\nq,0.5\n").unwrap();
    let blend = cmd("hill-climb").args(["blend", "-w", "w.csv", "-o", "out"]).arg(&a).within(folder.path());
    blend.fails(3).says("no predictions of the model `q`");
}
