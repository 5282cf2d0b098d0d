//! `convert-weights` on a Lightning checkpoint of the original.

use common::store::tensors::TensorFile;

use crate::support::{cmd, golden, root};
use crate::{eprintln_skip, prepare, simulate, training};

#[test]
fn a_lightning_checkpoint_becomes_safetensors_with_the_same_bits_and_the_same_tracks() {
    let Some(case) = golden().map(|g| g.join("tracknet/checkpoint_e2e")).filter(|c| c.is_dir()) else {
        return eprintln_skip("the golden checkpoint is not here");
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let checkpoint = case.join("epoch=5-val_loss=0.04.ckpt");
    let convert = |to: &str, more: &[&str]| {
        cmd("convert-weights").arg(&checkpoint).arg(at(to)).args(more).arg("-q").within(root())
    };
    // It says itself which network it holds; a config that says the same is compared with it.
    convert("a.safetensors", &[]).succeeds();
    convert("b.safetensors", &["--config", "configs/tracknet/published/step_ahead.yaml"]).succeeds();
    convert("c.safetensors", &["--config", "configs/tracknet/published/step_ahead.yaml", "model.hidden_features=16"])
        .fails(3)
        .says("12 of another shape");
    let expected = TensorFile::open(case.join("weights.safetensors")).unwrap();
    for name in ["a.safetensors", "b.safetensors"] {
        let converted = TensorFile::open(at(name)).unwrap();
        assert_eq!(converted.names().count(), 16);
        for tensor in converted.names() {
            assert_eq!(
                converted.bytes(tensor).unwrap(),
                expected.bytes(&format!("model.{tensor}")).unwrap(),
                "{tensor}"
            );
        }
        let about = converted.metadata().unwrap();
        assert_eq!(about["normalizer"]["max_xyz"][2], 3000.0, "{about}");
    }
    convert("a.safetensors", &[]).fails(2).says("exists");
    cmd("convert-weights").arg(at("a.safetensors")).arg(at("d.pt")).arg("-q").succeeds();

    // A Lightning checkpoint of ours keeps the box, whichever it is.
    let mut about = TensorFile::open(at("a.safetensors")).unwrap().metadata().unwrap().clone();
    about["normalizer"]["max_xyz"] = serde_json::json!([500.0, 400.0, 1500.0]);
    neural::weights::save(at("box.safetensors"), &neural::weights::read(at("a.safetensors")).unwrap(), Some(&about))
        .unwrap();
    cmd("convert-weights").arg(at("box.safetensors")).arg(at("box.ckpt")).succeeds();
    cmd("convert-weights").arg(at("box.ckpt")).arg(at("back.safetensors")).succeeds();
    let back = TensorFile::open(at("back.safetensors")).unwrap();
    for key in ["normalizer", "model", "loss_alpha"] {
        assert_eq!(back.metadata().unwrap()[key], about[key], "{key}");
    }

    simulate(folder.path());
    let tracks = |weights: &std::path::Path, out: &str| {
        let predict = cmd("predict").arg("configs/tracknet/published/predict.yaml").within(root()).arg("--weights");
        let predict = predict.arg(weights).args(["-q", "--threads", "1", "--device", "cpu", "--limit", "2", "--data"]);
        predict.arg(at("sim/raw")).arg("--out").arg(at(out)).succeeds();
        std::fs::read(at(out).join("submission.csv")).unwrap()
    };
    let first = tracks(&checkpoint, "tracks_ckpt");
    assert_eq!(first, tracks(&at("b.safetensors"), "tracks_b"));
    assert_eq!(first, tracks(&at("d.pt"), "tracks_d"));
}

#[test]
fn a_training_begins_with_given_weights_unless_their_positions_are_other_places() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    simulate(folder.path());
    prepare(folder.path());
    training(folder.path(), "first").succeeds();
    // A rate of almost nothing leaves the weights where they began.
    let still = ["training.learning_rate=1e-30", "--init"];
    training(folder.path(), "second").args(still).arg(at("first")).succeeds();
    let model = |run: &str| neural::weights::read(at(run).join("checkpoints/best/model.safetensors")).unwrap();
    for ((name, before), (_, after)) in model("first").iter().zip(&model("second")) {
        assert!((before - after).abs().max().double_value(&[]) < 1e-6, "`{name}` was not taken over");
    }
    let model = at("first/checkpoints/best/model.safetensors");
    let third = training(folder.path(), "third").args(still).arg(&model).args(["--drop", "radius_2.*"]);
    third.succeeds();
    training(folder.path(), "x").args(["--init", "nowhere.pt"]).fails(3).says("nowhere.pt");

    // Positions in another box are other places to the network.
    let other = cmd("prepare-data").args(["tracknet", "configs/tracknet/demo/prepare.yaml", "-q", "--threads", "1"]);
    let normalize = "{normalize: {min_xyz: [-500, -500, -3000], max_xyz: [500, 500, 3000]}}";
    let other = other.arg(format!("transforms=[drop_repeated_layers, {normalize}]")).within(root());
    other.arg("--from").arg(at("sim")).arg("--out").arg(at("other")).succeeds();
    let begins = cmd("train-model").arg("configs/tracknet/demo/step_ahead.yaml").within(root()).arg("--from");
    let begins = begins.arg(at("other")).arg("--init").arg(&model).arg("--out").arg(at("x"));
    begins.fails(3).says("learned from positions in the box").says("transforms=[drop_repeated_layers, {normalize");
}
