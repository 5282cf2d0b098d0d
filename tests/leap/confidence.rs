//! Networks that expect errors of themselves, and predictions that are corrected.

use common::store::tables::read_parquet;

use crate::support::cmd;
use crate::train;
use crate::training::workshop;

const NARROW: [&str; 4] = [
    "model.squeezeformer.dim=8",
    "model.squeezeformer.head_dim=16",
    "model.squeezeformer.blocks=1",
    "model.squeezeformer.heads=2",
];

#[test]
fn expected_errors_are_trained_judged_and_written_and_predictions_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let manifest = train("first/squeezeformer.yaml", &NARROW, &at("run")).succeeds().manifest();
    let correlation = manifest["metrics"]["confidence"].as_f64().unwrap();
    assert!((-1.0..=1.0).contains(&correlation), "{manifest}");

    let sample = workshop().join("raw/raw/kaggle-data/sample_submission.csv");
    let predict = |name: &str| {
        let args = ["-q", "--threads=1", "--device=cpu", "--sample"];
        cmd("predict")
            .args(args)
            .arg(&sample)
            .arg("--from")
            .arg(at("run"))
            .arg("--out")
            .arg(at(name))
            .within(workshop())
    };
    let plain = predict("plain").succeeds().manifest();
    assert!(plain["metrics"].get("rain_below_zero").is_none() && plain["outputs"].get("expected_errors").is_none());
    let rules = ["constraints.non_negative=true", "constraints.microphysics=true", "expected_errors=true"];
    let corrected = predict("corrected").args(rules).succeeds().manifest();
    let count = |name: &str| corrected["metrics"][name].as_u64().unwrap_or_else(|| panic!("{name}: {corrected}"));
    assert!(count("condensate_divided") > 0, "{corrected}");
    let table = |of: &serde_json::Value, name: &str, output: &str| {
        let path = of["outputs"][output]["path"].as_str().unwrap().to_string();
        read_parquet(at(name).join(path), None).unwrap()
    };
    let (before, after) = (table(&plain, "plain", "submission"), table(&corrected, "corrected", "submission"));
    let mut below_zero = 0;
    for name in leap::columns::submission() {
        let (before, after) = (before.f64(name).unwrap(), after.f64(name).unwrap());
        match name.starts_with("cam_out_") {
            true => {
                below_zero += before.iter().filter(|x| **x < 0.0).count() as u64;
                assert!(before.iter().zip(after).all(|(b, a)| *a == b.max(0.0)), "{name}");
            }
            false if name.starts_with("ptend_q0002_") || name.starts_with("ptend_q0003_") => {}
            false => assert_eq!(before, after, "{name}"),
        }
    }
    assert_eq!(count("rain_below_zero") + count("radiation_below_zero"), below_zero);
    let errors = table(&corrected, "corrected", "expected_errors");
    assert_eq!(errors.f64("ptend_t_40").unwrap().len(), after.f64("ptend_t_40").unwrap().len());

    // The targets of the simulation are there, too: errors in their own units and in W/m2.
    let score = cmd("score").arg("--truth").arg("raw").args(["--errors"]).arg(at("errors.csv")).args(["-q"]);
    score
        .arg(format!("a={}", at("plain").display()))
        .arg(format!("b={}", at("corrected").display()))
        .within(workshop())
        .succeeds();
    let text = std::fs::read_to_string(at("errors.csv")).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 1 + 3 * 368);
    assert_eq!(lines[0][..8], ["target", "predictions", "rows", "r2", "rmse", "mae", "bias", "crps"]);
    let of = |target: &str, predictions: &str| {
        lines.iter().find(|l| l[0] == target && l[1] == predictions).unwrap_or_else(|| panic!("{target} {predictions}"))
    };
    assert_eq!(of("ptend_u_30", "ensemble")[8], "");
    let number = |line: &[&str], place: usize| line[place].parse::<f64>().unwrap();
    let warming = of("ptend_t_30", "ensemble");
    assert!((number(warming, 9) / (number(warming, 4) * number(warming, 8)) - 1.0).abs() < 1e-9);
    // Two members that agree: the score of the ensemble is their error.
    assert!((number(warming, 7) / number(of("ptend_t_30", "a"), 5) - 1.0).abs() < 1e-9);
    cmd("score")
        .args(["--truth", "data", "--errors", "x.csv"])
        .arg(at("run"))
        .within(workshop())
        .fails(2)
        .says("--errors");
}

/// A file of the benchmark's constants: every profile with a dimension of its own.
fn constants(path: &std::path::Path, value: f64, liquid: bool) {
    use common::store::netcdf::{NcKind, NcValues, NcWriter};
    let names = [
        "state_t",
        "state_rh",
        "state_qn",
        "liq_partition",
        "state_u",
        "state_v",
        "pbuf_ozone",
        "pbuf_CH4",
        "pbuf_N2O",
    ];
    let values = [value; 60];
    let mut writer = NcWriter::new(NcKind::Hdf5);
    for name in names.into_iter().filter(|name| liquid || *name != "liq_partition") {
        writer.dimension(name, 60).unwrap();
        writer.variable(name, &[name], NcValues::F64(&values)).unwrap();
    }
    writer.write(path).unwrap();
}

#[test]
fn representations_take_the_benchmarks_files_and_the_checkpoint_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run = || {
        let more = ["model.squeezeformer.features.representations=true", "training.epochs=1"];
        train("first/squeezeformer.yaml", &NARROW, &at("run")).args(more)
    };
    run().fails(2).says("representations").says("level_sub");
    let mut files = Vec::new();
    for (key, value) in
        [("level_sub", 1.0), ("level_div", 100.0), ("level_min", -1.0), ("column_sub", 0.5), ("column_div", 50.0)]
    {
        constants(&at(key), value, key.starts_with("level_") && key != "level_min");
        files.push(format!("{key}: {}", at(key).display()));
    }
    let files = format!("representations={{{}}}", files.join(", "));
    train("first/squeezeformer.yaml", &NARROW, &at("run")).arg(&files).fails(2).says("features.representations=true");
    let manifest = run().arg(&files).succeeds().manifest();
    assert!(manifest["inputs"]["representations/column_div"]["path"].is_string(), "{manifest}");
    // The files may be gone when it predicts.
    std::fs::remove_file(at("level_sub")).unwrap();
    let weights = manifest["outputs"]["model"]["path"].as_str().unwrap();
    let kept = common::store::tensors::TensorFile::open(at("run").join(weights)).unwrap();
    assert!(kept.f32("features.representations.level_factor").unwrap().iter().all(|factor| *factor == 0.01));
    let predict = cmd("predict").args(["-q", "--threads=1", "--device=cpu", "--from"]).arg(at("run"));
    predict.arg("--out").arg(at("p")).within(workshop()).succeeds();
}

#[test]
fn a_second_output_and_its_loss_come_together() {
    let folder = tempfile::tempdir().unwrap();
    let run = |more: &str| train("first/squeezeformer.yaml", &NARROW, &folder.path().join("run")).arg(more);
    run("loss.confidence=0").fails(2).says("loss.confidence").says("model.squeezeformer.confidence");
    run("model.squeezeformer.confidence=false").fails(2).says("loss.confidence");
    run("model.squeezeformer.features.soft_clip=0").fails(2).says("features.soft_clip");
    run("model.squeezeformer.heads=3").fails(2).says("model.squeezeformer.heads").says("a divisor of 8");
    // A network without such an output has nothing to write.
    let plain = ["model.squeezeformer.confidence=false", "loss.confidence=0", "training.epochs=1"];
    train("first/squeezeformer.yaml", &NARROW, &folder.path().join("plain")).args(plain).succeeds();
    let predict =
        cmd("predict").arg("--from").arg(folder.path().join("plain")).args(["expected_errors=true", "--device=cpu"]);
    predict.arg("--out").arg(folder.path().join("p")).within(workshop()).fails(2).says("expected_errors");
}
