//! Training and prediction on GPUs, on the stand-in for them: what a GPU computes in a way of its own, copies to it, recorded
//! steps, number formats, NCCL, and what is said when its memory is full.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::stand_in::on_gpus;
use crate::support::{Cmd, binary, cmd};
use crate::systems::{MAE, SEGMENT, System, assert_agree, icecube, polarmae, tracknet};
use crate::training::{results, workshop};

/// Trains on the CPU, on a GPU, and on two of them.
fn assert_same_everywhere(system: &System, folder: &Path, more: &[&str], tolerance: f64) {
    let [cpu, gpu, gpus] = ["cpu", "gpu", "gpus"].map(|name| folder.join(name));
    system.train(1, &cpu, more).succeeds();
    on_gpus(system.train_on("cuda", 1, &gpu, more)).succeeds();
    assert_agree(&cpu, &gpu, tolerance);
    on_gpus(system.train_on("cuda", 2, &gpus, more)).succeeds();
    assert_agree(&gpu, &gpus, tolerance);
}

#[test]
fn an_icecube_transformer_trains_on_gpus_as_on_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    assert_same_everywhere(&icecube(folder.path()), folder.path(), &[], 1e-5);
}

#[test]
fn a_tracknet_trains_on_gpus_as_on_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    assert_same_everywhere(&tracknet(folder.path()), folder.path(), &[], 1e-5);
}

#[test]
fn polarmae_pretrains_on_gpus_as_on_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["training.sync_batch_norm=true", "training.learning_rate=1e-4"];
    assert_same_everywhere(&polarmae(MAE, folder.path()), folder.path(), &more, 1e-5);
}

#[test]
fn polarmae_segments_on_gpus_as_on_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["training.sync_batch_norm=true", "model.segmentation.loss=focal_dice", "training.learning_rate=1e-4"];
    assert_same_everywhere(&polarmae(SEGMENT, folder.path()), folder.path(), &more, 1e-5);
}

/// The CPU makes them for the step after, in pieces of the batch as well.
#[test]
fn groups_that_are_made_ahead_are_those_that_a_gpu_makes() {
    let folder = tempfile::tempdir().unwrap();
    let system = polarmae(MAE, folder.path());
    let train = |name: &str, more: &str| {
        let out = folder.path().join(name);
        let train =
            system.train_on("cuda", 1, &out, &[more, "training.accumulation=2", "training.evaluate_every_steps=20"]);
        let counts = on_gpus(train).env("STAND_IN_COUNT", "1").succeeds().stderr;
        let sorts = counts.lines().find_map(|line| line.trim().strip_suffix(" aten::sort.values_stable")?.parse().ok());
        (fs::read(out.join("checkpoints/last/model.safetensors")).unwrap(), sorts.unwrap_or(0))
    };
    let ((ahead, few), (before, many)) =
        (train("ahead", "data.group_ahead=true"), train("before", "data.group_ahead=false"));
    assert!(ahead == before);
    // The first batch is not known ahead, and validation is grouped by the GPU.
    assert!(few + 30 <= many, "points were sorted into cells {few} and {many} times");
}

/// LEAP's tiny 195 on a GPU.
fn leap(out: &Path, more: &[&str]) -> Cmd {
    let train = cmd("train-model").arg("train.yaml").args(more).args(["--from", "data", "--threads", "1"]);
    on_gpus(train.args(["--device", "cuda", "--out"]).arg(out).within(workshop()))
}

#[test]
fn a_run_on_a_gpu_gives_the_same_bytes_twice_and_from_recorded_steps() {
    let folder = tempfile::tempdir().unwrap();
    let [one, again, recorded] = ["one", "again", "recorded"].map(|name| folder.path().join(name));
    leap(&one, &[]).succeeds();
    leap(&again, &[]).succeeds();
    let plain = results(&one);
    assert!(plain.len() > 15);
    assert_eq!(plain, results(&again));
    // Its config says that steps are recorded; weights and figures are those of plain steps.
    let text = leap(&recorded, &["training.cuda_graphs=true", "-vv"]).succeeds().stderr;
    assert!(text.contains("recorded the step of batches of"), "{text}");
    let model = |run: &Path| fs::read(run.join("checkpoints/last/model.safetensors")).unwrap();
    assert!(model(&one) == model(&recorded));
}

/// Its kernels are compiled for the GPU and started by the driver.
#[test]
fn a_mamba_network_gives_the_same_bytes_from_recorded_steps() {
    let folder = tempfile::tempdir().unwrap();
    let model = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let network = ["model={2lstm1mamba: {hidden_state: 4, num_lstm: 1, d_state: 4}}", "training.epochs=1"];
        leap(&out, &[&network, more].concat()).succeeds();
        fs::read(out.join("checkpoints/last/model.safetensors")).unwrap()
    };
    assert!(model("plain", &[]) == model("recorded", &["training.cuda_graphs=true"]));
}

#[test]
fn a_run_on_a_gpu_that_is_killed_continues_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    leap(&whole, &[]).succeeds();
    let mut command = std::process::Command::new(binary("train-model"));
    command.args(["train.yaml", "--from", "data", "-q", "--threads", "1", "--device", "cuda", "--out"]).arg(&cut);
    command.env("LD_PRELOAD", crate::stand_in::library()).current_dir(workshop());
    let mut run = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !cut.join("checkpoints/last/manifest.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint after two minutes");
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    leap(&cut, &[]).succeeds();
    assert_eq!(results(&whole), results(&cut));
}

#[test]
fn half_precision_trains_on_a_gpu_with_loss_scaling() {
    let folder = tempfile::tempdir().unwrap();
    let loss = |precision: &str| {
        let out = folder.path().join(precision);
        leap(&out, &[&format!("training.precision={precision}")]).succeeds().manifest()["metrics"]["r2"]
            .as_f64()
            .unwrap()
    };
    let full = loss("f32");
    for precision in ["bf16", "f16"] {
        let half = loss(precision);
        assert!(half.is_finite() && half != full && (half - full).abs() < 0.05, "{precision}: {half}, f32: {full}");
    }
}

#[test]
fn predictions_from_a_gpu_are_those_from_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let trained = folder.path().join("trained");
    leap(&trained, &[]).succeeds();
    let [cpu, gpu] = ["cpu", "cuda"].map(|device| {
        let out = folder.path().join(device);
        let predict = cmd("predict").args(["-q", "--threads", "1", "--device", device, "--from"]).arg(&trained);
        on_gpus(predict.arg("--out").arg(&out)).succeeds();
        common::store::tables::read_parquet(out.join("tiny.parquet"), None).unwrap()
    });
    for name in leap::columns::submission() {
        let (cpu, gpu) = (cpu.f64(name).unwrap(), gpu.f64(name).unwrap());
        let off = cpu.iter().zip(gpu).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs() / a.abs().max(1e-3)));
        assert!(off < 1e-5, "{name}: {off}");
    }
}

#[test]
fn a_full_gpu_is_answered_with_remedies() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let text = leap(&out, &["training.batch_size=96"]).env("STAND_IN_MIB", "2").fails(5).stderr;
    for part in ["out of memory", "training.batch_size=48", "training.precision=bf16", "training.accumulation="] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

#[test]
fn two_processes_on_one_gpu_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let system = tracknet(folder.path());
    let text = on_gpus(system.train_on("cuda:0", 2, &folder.path().join("out"), &[])).fails(2).stderr;
    assert!(text.contains("ranks 0 and 1 would both train on GPU 0 of one machine"), "{text}");
}
