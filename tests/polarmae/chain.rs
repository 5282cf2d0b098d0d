//! Every binary's way through the system, in pipes, and what `predict` and `score` give.

use common::store::hdf5::ListFile;
use common::store::tables::read_parquet;

use crate::browser::Browser;
use crate::event_page::{SCENE, look};
use crate::raw::{TINY, config, simulate, store, train};
use crate::support::cmd;

#[test]
fn the_stages_chain_through_pipes_to_classes_and_scores() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let simulated = simulate(&at("sim")).succeeds();
    let prepared = cmd("prepare-data")
        .arg("polarmae")
        .arg(config("demo/prepare.yaml"))
        .args(["--from", "-", "--threads", "1", "selection.min_points=20", "--out"])
        .arg(at("data"))
        .stdin(simulated.stdout)
        .succeeds();
    let schedule = "training.schedule={warmup_cosine: {warmup: 2, max_steps: 4, start: 1.0e-5}}";
    let next = |name: &str, out: &str, stdin: String| {
        let stage = cmd("train-model").arg(config(name)).args(["--from", "-", "--threads", "1", "--out"]).arg(at(out));
        stage.args(TINY).args(["training.max_steps=2", schedule]).stdin(stdin).succeeds()
    };
    let pretrained = next("demo/pretrain.yaml", "mae", prepared.stdout);
    let metrics = pretrained.manifest()["metrics"].clone();
    for key in ["untrained/svm_f1", "svm_f1", "loss", "loss/chamfer", "loss/energy", "svm_f1/michel"] {
        assert!(metrics[key].is_number(), "{key}: {metrics}");
    }
    let tuned = next("demo/segment.yaml", "seg", pretrained.stdout);
    assert!(tuned.manifest()["metrics"]["f1"].is_number());
    let predicted = cmd("predict")
        .args(["--from", "-", "--threads", "1", "--out"])
        .arg(at("classes"))
        .stdin(tuned.stdout)
        .succeeds();
    let manifest = predicted.manifest();
    assert_eq!(manifest["metrics"]["events"], 3);

    if let Some(mut browser) = Browser::start() {
        let seen = look(&mut browser, &at("classes/event.html"), "points");
        assert_eq!(seen.events, 3, "each event can be chosen");
        // Truth and prediction side by side: every point of the event twice.
        let points = browser.js(&format!("{SCENE}.spec.events[0].data.points.n")).as_u64().unwrap();
        assert_eq!(seen.points, 2 * points);
        let units = browser.js(&format!("{SCENE}.spec.units.map(u => u.name).join()"));
        assert_eq!(units, "voxels,cm");
        let classes = browser.js(&format!("{SCENE}.spec.colors[0].names.join()"));
        assert_eq!(classes, browser.js(&format!("{SCENE}.spec.colors[1].names.join()")));
    }

    let table = read_parquet(at("classes/predictions.parquet"), None).unwrap();
    let file = ListFile::open(at("classes/predictions.h5")).unwrap();
    let (mut classes, mut probabilities) = (vec![], vec![]);
    let collect = |_, list: &[i64]| {
        classes.extend_from_slice(list);
        Ok(())
    };
    file.lists("prediction").unwrap().integers(0..3, collect).unwrap();
    let collect = |_, list: &[f32]| {
        probabilities.extend_from_slice(list);
        Ok(())
    };
    file.lists("probability").unwrap().floats(0..3, collect).unwrap();
    assert_eq!(table.i64("prediction").unwrap(), classes);
    assert_eq!(probabilities.len(), 4 * table.rows());
    for (row, class) in probabilities.chunks(4).zip(&classes) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(row.iter().all(|p| *p <= row[*class as usize]));
    }
    // Energies are in MeV again.
    assert!(read_parquet(at("classes/predictions.parquet"), None).unwrap().column("energy_mev").is_ok());
    let page = std::fs::read_to_string(at("classes/event.html")).unwrap();
    assert!(["\"truth\"", "\"prediction\""].iter().all(|name| page.contains(name)));
    assert!(std::fs::read_to_string(at("classes/event.svg")).unwrap().starts_with("<svg"));

    let scored = cmd("score").arg(at("classes")).succeeds().says("mean F1").says("predicted as");
    let value: serde_json::Value = serde_json::from_str(scored.stdout.trim()).unwrap();
    let report = &value["scores"][0];
    assert_eq!(report["f1_mean"], manifest["metrics"]["f1_mean"]);
    assert_eq!(report["points"], table.rows());
    cmd("score").arg(at("classes")).arg("--targets").fails(2).says("`--targets` is not read by `polarmae`");
}

#[test]
fn batches_change_the_classes_of_events_only_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path());
    let run = folder.path().join("seg");
    train("demo/segment.yaml", &data, &run, 2).succeeds();
    let probabilities = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        cmd("predict").arg("--from").arg(&run).arg("--out").arg(&out).args(["--threads", "1"]).args(more).succeeds();
        std::fs::read(out.join("predictions.h5")).unwrap()
    };
    let alone = probabilities("alone", &[]);
    assert!(alone == probabilities("again", &[]));
    let together = probabilities("together", &["--batch-size", "3"]);
    assert!(alone != together);
    assert!(together == probabilities("override", &["batch_size=3"]));
    cmd("predict")
        .arg("--from")
        .arg(&run)
        .args(["--set", "test"])
        .fails(3)
        .says("no prepared events of the set `test`");
    let out = folder.path().join("limited");
    let limited =
        cmd("predict").arg("--from").arg(&run).args(["--limit", "1", "--set", "train", "--out"]).arg(&out).succeeds();
    assert_eq!(limited.manifest()["metrics"]["events"], 1);
}

#[test]
fn a_pretraining_is_no_segmentation_and_a_bare_checkpoint_needs_a_config() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path());
    let run = folder.path().join("mae");
    train("demo/pretrain.yaml", &data, &run, 1).succeeds();
    cmd("predict").arg("--from").arg(&run).fails(3).says("is a pretraining, which knows no classes").says("hint:");
    let Some(golden) = crate::support::golden() else { return };
    let checkpoint = golden.join("polarmae/e2e_segmentation/seg_tiny.ckpt");
    let predict = || cmd("predict").arg("--weights").arg(&checkpoint).arg("--data").arg(&data);
    predict().fails(3).says("does not say which network it holds").says("needs the config");
}

#[test]
fn every_published_config_is_sound() {
    for name in [
        "pretrain/pointmae",
        "pretrain/polarmae",
        "segment/mae_peft",
        "segment/mae_fft",
        "segment/polarmae_peft",
        "segment/polarmae_fft",
    ] {
        let shown = cmd("train-model").arg(config(&format!("{name}.yaml"))).arg("--print-config").succeeds();
        assert!(shown.stdout.contains("max_steps: "), "{name}");
    }
    cmd("prepare-data").arg("polarmae").arg(config("prepare.yaml")).arg("--print-config").succeeds();
}
