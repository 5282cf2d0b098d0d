//! Every published recipe at a tiny size, several processes, and checkpoints to and from the original's form.

use std::path::Path;

use common::store::pickle::Checkpoint;

use crate::raw::{TINY, config, differing, prepare, simulate, store, train};
use crate::support::{Cmd, cmd, golden};

const WIDTH: &str = "arch: vit_tiny, embed_dim: 16, depth: 2, heads: 2";

/// A published recipe with a network so small that its one step takes no time.
fn one_step(name: &str, from: &Path, out: &Path) -> Cmd {
    let network = if name.starts_with("pretrain") { "model.mae.network" } else { "model.segmentation.network" };
    let run = cmd("train-model").arg(config(&format!("{name}.yaml"))).arg("--from").arg(from).arg("--out").arg(out);
    let run = run.args(["--threads", "1", "training.max_steps=1"]).args(TINY);
    let run = run.arg(format!("{network}.encoder.transformer={{{WIDTH}}}"));
    match network {
        "model.mae.network" => run
            .arg(format!("{network}.decoder={{{WIDTH}, postnorm: true}}"))
            .args(["model.mae.svm={max_tokens: 300, batch_size: 1}"]),
        _ => run.arg(format!("{network}.fetch_layers=[0, 1]")).arg(format!("{network}.head_dim=8")),
    }
}

#[test]
fn every_published_recipe_takes_its_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path());
    for (pretrain, tune) in [("pointmae", "mae"), ("polarmae", "polarmae")] {
        let pretrained = folder.path().join(pretrain);
        let metrics =
            one_step(&format!("pretrain/{pretrain}"), &data, &pretrained).succeeds().manifest()["metrics"].clone();
        assert_eq!((&metrics["steps"], metrics["svm_f1"].is_number()), (&1.into(), true), "{pretrain}: {metrics}");
        assert_eq!(metrics["loss/energy"].is_number(), pretrain == "polarmae");
        for how in ["peft", "fft"] {
            let name = format!("segment/{tune}_{how}");
            let out = folder.path().join(format!("{tune}_{how}"));
            let outcome = one_step(&name, &pretrained, &out).succeeds().says("encoder from `");
            let metrics = outcome.manifest()["metrics"].clone();
            assert_eq!((&metrics["steps"], metrics["f1"].is_number()), (&1.into(), true), "{name}: {metrics}");
        }
    }
}

#[test]
fn two_processes_train_one_network_to_the_same_bytes_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut from = store(folder.path());
    for name in ["pretrain", "segment"] {
        let out = |run: &str| folder.path().join(format!("{name}-{run}"));
        let run = |at: &str| train(&format!("demo/{name}.yaml"), &from, &out(at), 3).arg("--nproc=2");
        let metrics = run("a").succeeds().manifest()["metrics"].clone();
        assert!(metrics["best_score"].as_f64().is_some_and(f64::is_finite), "{metrics}");
        assert_eq!(metrics["steps"], 3);
        run("b").succeeds();
        // The page tells how long it took.
        let different: Vec<String> =
            differing(&out("a"), &out("b")).into_iter().filter(|name| name != "report.html").collect();
        assert!(different.is_empty(), "{name}: {different:?}");
        from = out("a");
    }
}

#[test]
fn a_run_does_not_go_on_with_other_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path());
    let out = folder.path().join("run");
    let run = || train("demo/pretrain.yaml", &data, &out, 3).args(["training.checkpoint.every_steps=1"]);
    run().args(["--limit", "2"]).succeeds();
    std::fs::remove_file(out.join("stage.json")).unwrap();
    run().args(["--limit", "2"]).succeeds();
    std::fs::remove_file(out.join("stage.json")).unwrap();
    // Other events in the same folder, prepared by the same config.
    simulate(&folder.path().join("sim")).args(["--seed", "9", "--force"]).succeeds();
    prepare(&folder.path().join("sim/raw"), &data).arg("--force").succeeds();
    run()
        .args(["--limit", "2"])
        .fails(2)
        .says("was written under another config or from other data")
        .says("--resume never");
    run().args(["--limit", "2", "--resume", "never"]).succeeds();
}

#[test]
fn a_checkpoint_of_the_original_is_converted_and_comes_back_bit_by_bit() {
    let Some(golden) = golden() else { return };
    let folder = tempfile::tempdir().unwrap();
    let original = golden.join("polarmae/e2e_segmentation/seg_tiny.ckpt");
    let (ours, back) = (folder.path().join("seg.safetensors"), folder.path().join("back.ckpt"));
    let network = "model.segmentation.network";
    let convert = |from: &Path, to: &Path| cmd("convert-weights").arg(from).arg(to);
    let describe = |command: Cmd| {
        command
            .arg("--config")
            .arg(config("segment/polarmae_fft.yaml"))
            .arg(format!("{network}.encoder.transformer={{arch: vit_tiny, embed_dim: 24, depth: 3, heads: 3}}"))
            .arg(format!("{network}.encoder.tokenizer.slots=12"))
            .args([format!("{network}.fetch_layers=[0, 1, 2]"), format!("{network}.head_dim=16")])
    };
    convert(&original, &ours).fails(2).says("`--config` is missing");
    describe(convert(&original, &ours)).succeeds();
    convert(&ours, &back).succeeds();
    let (before, after) = (Checkpoint::open(&original).unwrap(), Checkpoint::open(&back).unwrap());
    assert!(after.value().tensors().unwrap().iter().all(|t| t.name.starts_with("state_dict.")));
    let (before, after) = (before.tensors().unwrap(), after.tensors().unwrap());
    assert_eq!(before.len(), after.len());
    for tensor in &before {
        let same = after.iter().find(|t| t.name == tensor.name).unwrap_or_else(|| panic!("`{}` is gone", tensor.name));
        assert!(same.bytes == tensor.bytes && same.shape == tensor.shape, "`{}` has changed", tensor.name);
    }
    // The converted file says itself which network it holds.
    let data = store(folder.path());
    let out = folder.path().join("classes");
    let classes = cmd("predict").arg("--weights").arg(&ours).arg("--data").arg(&data).arg("--out").arg(&out);
    assert_eq!(classes.args(["--threads", "1"]).succeeds().manifest()["metrics"]["events"], 3);
}

/// What the original's configs look like: nested classes, interpolations, formulas.
const LIGHTNING: &str = "\
seed_everything: 3
trainer: {max_steps: 9, precision: 32-true, val_check_interval: 4, gradient_clip_val: 3}
model:
  encoder:
    class_path: polarmae.layers.encoder.TransformerEncoder
    init_args:
      arch: vit_tiny
      voxel_size: 5
      masking_ratio: 0.5
      masking_type: rand
      tokenizer_kwargs:
        num_init_groups: 64
        context_length: 512
        group_max_points: 12
        group_upscale_points: 40
        group_radius: ${eval:'${model.encoder.init_args.voxel_size} * ${model.transformation_scale_factor}'}
      apply_relative_position_bias: false
      transformer_kwargs: {embed_dim: 24, num_heads: 3, depth: 3, attn_drop_rate: 0.05, drop_path_rate: 0.25}
  decoder:
    class_path: polarmae.layers.decoder.TransformerDecoder
    init_args:
      arch: vit_tiny
      transformer_kwargs: {embed_dim: 24, num_heads: 3, depth: 2, postnorm: true}
  loss_weights: {ae: 0.0, chamfer: 1.0, energy: 1.0}
  mae_prediction: full
  learning_rate: 0.001
  lr_scheduler_linear_warmup_epochs: 2
  lr_scheduler_linear_warmup_start_lr: 8.6e-06
  lr_scheduler_cosine_eta_min: ${.lr_scheduler_linear_warmup_start_lr}
  lr_scheduler_stepping: step
  train_transformations: [center_and_scale, rotate]
  val_transformations: [center_and_scale]
  transformation_center: [384, 384, 384]
  transformation_scale_factor: ${eval:'1/ (${.transformation_center[0]} * (3**0.5))'}
data:
  class_path: polarmae.datasets.PILArNetDataModule
  init_args:
    data_path: data/train/*.h5
    batch_size: 2
    dataset_kwargs: {maxlen: 6, min_points: 200}
";

#[test]
fn a_config_of_the_original_trains_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = store(folder.path());
    let file = folder.path().join("polarmae.yml");
    common::durable::write(&file, LIGHTNING.as_bytes()).unwrap();
    let run = || cmd("train-model").arg(&file).arg("--from").arg(&data);
    let shown = run().arg("--print-config").succeeds().stdout;
    for line in
        ["radius: 0.00751758", "slots: 12", "heads: 3", "max_events: 6", "eta_min: 8.6e-6", "masking_ratio: 0.5"]
    {
        assert!(shown.contains(line), "no `{line}` in\n{shown}");
    }
    let out = folder.path().join("run");
    let trained = run().args(["training.max_steps=2", "--threads", "1", "--out"]).arg(&out).succeeds();
    assert_eq!((&trained.manifest()["metrics"]["steps"], &trained.manifest()["seed"]), (&2.into(), &3.into()));
    for (from, to, told) in [
        ("masking_type: rand", "masking_type: fps+nms", "is `fps+nms`, expected `rand`"),
        ("voxel_size: 5", "voxel_size: 7", "is `7`, expected 2.5, 5 or 25"),
        ("3**0.5", "3**x", "is no formula"),
        ("${.lr_scheduler_linear_warmup_start_lr}", "${.start}", "there is no such key"),
    ] {
        assert!(LIGHTNING.contains(from));
        common::durable::write(&file, LIGHTNING.replace(from, to).as_bytes()).unwrap();
        run().fails(2).says(told);
    }
}
