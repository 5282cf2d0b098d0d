//! Training: determinism, kills, bad configs, and where a fine-tuning starts from.

use std::time::Duration;

use crate::raw::{config, differing, store, train};
use crate::support::{binary, cmd};

#[test]
fn a_killed_pretraining_and_a_killed_fine_tuning_end_with_the_same_bytes_as_undisturbed_ones() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path());
    let mut from = data;
    for name in ["pretrain", "segment"] {
        let file = format!("demo/{name}.yaml");
        let whole = folder.path().join(format!("{name}-whole"));
        let run = |out: &std::path::Path| train(&file, &from, out, 5).arg("training.checkpoint.every_steps=1");
        let begun = std::time::Instant::now();
        run(&whole).succeeds();
        let took = begun.elapsed();
        let killed = folder.path().join(format!("{name}-killed"));
        let mut kills = 0;
        for part in [3, 5, 7] {
            let mut command = std::process::Command::new(binary("train-model"));
            let steps = "training.max_steps=5";
            command.arg(config(&file)).arg("--from").arg(&from).arg("--out").arg(&killed).args(["--threads", "1"]);
            command.args(crate::raw::TINY).arg(steps);
            command.arg("training.schedule={warmup_cosine: {warmup: 2, max_steps: 7, start: 1.0e-5}}");
            command.arg("training.checkpoint.every_steps=1");
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut child = command.spawn().unwrap();
            std::thread::sleep(took.mul_f64(f64::from(part) / 9.0).max(Duration::from_millis(50)));
            if child.try_wait().unwrap().is_none() {
                kills += 1;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(kills > 0, "no kill found a running process");
        if !killed.join("stage.json").exists() {
            run(&killed).succeeds();
        }
        let differing: Vec<String> = differing(&whole, &killed).into_iter().filter(|n| n != "report.html").collect();
        assert!(differing.is_empty(), "{name}: {differing:?}");
        from = whole;
    }
}

#[test]
fn a_fine_tuning_starts_from_the_pretraining_before_it_and_probing_leaves_the_encoder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path());
    let (mae, peft) = (folder.path().join("mae"), folder.path().join("peft"));
    train("demo/pretrain.yaml", &data, &mae, 2).succeeds().says("SVM F1 of the encoder as it was drawn");
    train("demo/segment.yaml", &mae, &peft, 2)
        .args(["model.segmentation.encoder=frozen", "training.scale_learning_rate={reference_batch: 8}"])
        .succeeds()
        .says("encoder from `")
        .says("with 2 it is 1e-3, times sqrt(2 / 8)");
    let tensors = |run: &std::path::Path| {
        let path = run.join("checkpoints/last/model.safetensors");
        let file = common::store::tensors::TensorFile::open(path).unwrap();
        let names: Vec<String> = file.names().filter(|n| n.starts_with("encoder.")).map(String::from).collect();
        names.into_iter().map(|n| (file.bytes(&n).unwrap().to_vec(), n)).collect::<Vec<_>>()
    };
    // The fine-tuning began with the best weights; both runs end with their last ones.
    let best = common::store::tensors::TensorFile::open(mae.join("checkpoints/best/model.safetensors")).unwrap();
    let after = tensors(&peft);
    assert!(after.len() > 40);
    for (bytes, name) in after {
        assert!(best.bytes(&name).unwrap() == bytes, "`{name}` has moved");
    }
    // `--init` names either, for a fine-tuning and for another pretraining, which goes on from all of its weights.
    train("demo/segment.yaml", &data, &folder.path().join("init"), 1)
        .arg("--init")
        .arg(&mae)
        .succeeds()
        .says("encoder from `");
    let again = folder.path().join("again");
    let still = ["training.schedule=constant", "training.learning_rate=1e-30", "--init"];
    train("demo/pretrain.yaml", &data, &again, 1).args(still).arg(&mae).succeeds().says("begins with `");
    let last = common::store::tensors::TensorFile::open(again.join("checkpoints/best/model.safetensors")).unwrap();
    for name in best.names().filter(|name| name.ends_with(".weight")) {
        let (before, after) = (best.f32(name).unwrap(), last.f32(name).unwrap());
        assert!(before.iter().zip(after).all(|(a, b)| (a - b).abs() < 1e-6), "`{name}` was not taken over");
    }
    train("demo/pretrain.yaml", &data, &folder.path().join("x"), 1)
        .args(["--init", "nowhere.pt"])
        .fails(3)
        .says("nowhere.pt");
    // Another file, named in the config, and one that does not fit.
    let path = mae.join("checkpoints/last/model.safetensors");
    let named = format!("model.segmentation.pretrained={}", path.display());
    train("demo/segment.yaml", &data, &folder.path().join("named"), 1).arg(&named).succeeds().says("encoder from `");
    train("demo/segment.yaml", &data, &folder.path().join("wide"), 1)
        .arg(&named)
        .arg("model.segmentation.network.encoder.transformer.embed_dim=32")
        .fails(3)
        .says("model.safetensors")
        .says("shape");
}

#[test]
fn wrong_configs_are_refused_with_key_found_and_expected() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path());
    let out = folder.path().join("out");
    for (change, text) in [
        ("model.mae.network.masking_ratio=1.5", "is 1.5, expected 0 <= ratio < 1"),
        ("model.mae.network.encoder.transformer.heads=5", "is 5, expected a divisor of the width 64"),
        ("model.mae.network.decoder.embed_dim=32", "is 32 wide, the encoder 64"),
        ("model.mae.network.encoder.tokenizer.slots=0", "is 0, expected at least 1"),
        ("training.max_steps=0", "is 0, expected at least 1"),
        ("data.max_evnts=3", "max_evnts"),
    ] {
        train("demo/pretrain.yaml", &data, &out, 2).arg(change).fails(2).says(text);
    }
    let config = config("demo/pretrain.yaml");
    cmd("train-model").arg(&config).arg("--out").arg(&out).fails(2).says("`--from` is missing");
    train("demo/pretrain.yaml", &data, &out, 2)
        .arg("training.batch_size=64")
        .fails(2)
        .says("less than one batch of 64");
    // A store whose bytes were changed.
    let shard = data.join("train/generic_v2_5_v1_00000.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    common::durable::write(&shard, &bytes).unwrap();
    train("demo/pretrain.yaml", &data, &out, 2).fails(3).says("was changed since `prepare-data` wrote it");
}

#[test]
fn events_of_one_point_train_and_predict() {
    let folder = tempfile::tempdir().unwrap();
    let event: crate::raw::Event = &[(4, &[1.0]), (1, &[2.0])];
    for set in ["train", "val"] {
        crate::raw::write(&folder.path().join("raw").join(set).join("a.h5"), &[event; 4]);
    }
    let (data, out) = (folder.path().join("data"), folder.path().join("seg"));
    crate::raw::prepare(&folder.path().join("raw"), &data).arg("selection.min_points=1").succeeds();
    train("demo/segment.yaml", &data, &out, 2).succeeds();
    cmd("predict").arg("--from").arg(&out).arg("--out").arg(folder.path().join("classes")).succeeds();
    // Of a single token nothing can be hidden: that is said, and not a crash.
    train("demo/pretrain.yaml", &data, &folder.path().join("mae"), 2)
        .arg("model.mae.svm=null")
        .fails(3)
        .says("no validation event has a token to hide");
}
