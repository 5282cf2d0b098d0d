//! One process and two, the same global batch: a network of each system, trained for twenty steps on the loopback.

use std::path::{Path, PathBuf};

use common::store::tensors::TensorFile;
use serde_json::Value;

use crate::support::{Cmd, cmd, root};

/// Plain SGD: Adam divides by the size of a gradient, which turns rounding of those near zero into steps.
const STEPS: [&str; 5] = [
    "training.max_steps=20",
    "training.print_freq=1",
    "training.optimizer={sgd: {}}",
    "training.schedule=constant",
    "training.learning_rate=0.01",
];

/// A system's training, at a tiny size.
pub struct System {
    config: &'static str,
    data: PathBuf,
    overrides: Vec<&'static str>,
}

impl System {
    pub fn train(&self, processes: usize, out: &Path, more: &[&str]) -> Cmd {
        self.train_on("cpu", processes, out, more)
    }

    pub fn train_on(&self, device: &str, processes: usize, out: &Path, more: &[&str]) -> Cmd {
        let train = cmd("train-model").arg(root().join(self.config)).args(STEPS).args(&self.overrides).args(more);
        let train = train.args(["-q", "--threads", "1", "--device", device, "--from"]).arg(&self.data);
        train.arg(format!("--nproc={processes}")).arg("--out").arg(out)
    }

    /// Trains with one process and with `n`.
    fn assert_same(&self, folder: &Path, n: usize, more: &[&str], tolerance: f64) {
        let (one, many) = (folder.join(format!("one{n}")), folder.join(format!("many{n}")));
        self.train(1, &one, more).succeeds();
        self.train(n, &many, more).succeeds();
        assert_agree(&one, &many, tolerance);
    }
}

/// Holds losses, weights and the validation of two runs against each other.
pub fn assert_agree(one: &Path, many: &Path, tolerance: f64) {
    let (expected, found) = (rows(one), rows(many));
    assert!(expected.iter().filter(|row| row.get("train/batch_loss").is_some()).count() >= 20);
    assert_eq!(expected.len(), found.len());
    for (a, b) in expected.iter().zip(&found) {
        // Counted figures (efficiencies, classes) may jump where a value lies at an edge.
        for (name, looser) in [("train/batch_loss", 1.0), ("train/gradient_norm", 100.0), ("valid/loss", 1.0)] {
            let Some(want) = a.get(name).and_then(Value::as_f64) else { continue };
            let found = b[name].as_f64().unwrap();
            let same = close(want, found, tolerance * looser);
            assert!(same, "{name}: {want} in {}, {found} in {}: {a} {b}", one.display(), many.display());
        }
    }
    let weights = |run: &Path| TensorFile::open(run.join("checkpoints/last/model.safetensors")).unwrap();
    let (a, b) = (weights(one), weights(many));
    let mut compared = 0;
    for name in a.names().filter(|name| !name.contains("num_batches")) {
        let (a, b) = (a.f32(name).unwrap(), b.f32(name).unwrap());
        let scale = a.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        let off = a.iter().zip(b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        // Biases that begin at zero are still tiny: rounding of their gradients is that of larger values.
        assert!(f64::from(off) <= tolerance * f64::from(scale.max(0.3)), "{name}: off by {off} of {scale}");
        compared += 1;
    }
    assert!(compared > 4);
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(1e-3)
}

fn rows(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The losses of the training steps.
fn losses(run: &Path) -> Vec<f64> {
    rows(run).iter().filter_map(|row| row["train/batch_loss"].as_f64()).collect()
}

/// Simulates and prepares the demo of a system, smaller.
fn prepared(system: &str, folder: &Path, simulate: &[&str], prepare: &[&str]) -> PathBuf {
    let demo = |stage: &str| root().join(format!("configs/{system}/demo/{stage}.yaml"));
    let (sim, data) = (folder.join("sim"), folder.join("data"));
    let quiet = ["-q", "--threads", "1", "--out"];
    cmd("simulate-data").arg(system).arg(demo("simulate")).args(simulate).args(quiet).arg(&sim).succeeds();
    let command = cmd("prepare-data").arg(system).arg(demo("prepare")).args(prepare).arg("--from").arg(&sim);
    command.args(quiet).arg(&data).succeeds();
    data
}

pub fn icecube(folder: &Path) -> System {
    let simulate = [
        "train=[{first: 1, files: 1, events: 200}, {first: 655, files: 1, events: 50}]",
        "test=[{first: 661, files: 1, events: 10}]",
    ];
    System {
        config: "configs/icecube/demo/transformer.yaml",
        data: prepared("icecube", folder, &simulate, &[]),
        overrides: vec![
            "model={deep_ice: {dim: 32, dim_base: 32, depth: 1, head_size: 16, depth_rel: 1, n_rel: 1}}",
            "input.length=32",
            "valid_length=32",
            "training.batch_size=9",
            "val_batch_size=8",
        ],
    }
}

pub fn tracknet(folder: &Path) -> System {
    System {
        config: "configs/tracknet/demo/step_ahead.yaml",
        data: prepared("tracknet", folder, &["events=5", "particles=40"], &[]),
        overrides: vec!["training.batch_size=15", "val_batch_size=7", "model.hidden_features=16"],
    }
}

pub const MAE: &str = "configs/polarmae/demo/pretrain.yaml";
pub const SEGMENT: &str = "configs/polarmae/demo/segment.yaml";

pub fn polarmae(config: &'static str, folder: &Path) -> System {
    let simulate = [
        "train_events=12",
        "valid_events=5",
        "rates.track_length=[20,60]",
        "rates.shower_voxels=[40,80]",
        "rates.scatters=[10,30]",
        "events_per_file=6",
    ];
    let network = if config == MAE { "mae" } else { "segmentation" };
    let mut overrides = vec![
        "training.batch_size=5",
        "training.keep_last_batch=true",
        "data.max_valid_events=5",
        "data.val_batch_size=2",
        "training.evaluate_every_steps=10",
    ];
    overrides.extend(match network {
        "mae" => [
            "model.mae.network.encoder.transformer={embed_dim: 32, depth: 1, heads: 2, attn_drop_rate: 0.0, drop_path_rate: 0.0}",
            "model.mae.network.decoder={embed_dim: 32, depth: 1, heads: 2, attn_drop_rate: 0.0, drop_path_rate: 0.0}",
            "model.mae.svm=null",
        ],
        _ => [
            "model.segmentation.network.encoder.transformer={embed_dim: 32, depth: 1, heads: 2, attn_drop_rate: 0.0, drop_path_rate: 0.0}",
            "model.segmentation.network.fetch_layers=[0]",
            "model.segmentation.network.head_dropout=0",
        ],
    });
    System { config, data: prepared("polarmae", folder, &simulate, &["selection.min_points=20"]), overrides }
}

#[test]
fn two_processes_train_an_icecube_transformer_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    icecube(folder.path()).assert_same(folder.path(), 2, &[], 1e-5);
}

/// Tracks have different numbers of hits, so the shares of a batch hold different numbers of terms of the loss.
#[test]
fn two_and_three_processes_train_a_tracknet_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let system = tracknet(folder.path());
    system.assert_same(folder.path(), 2, &[], 1e-5);
    system.assert_same(folder.path(), 3, &["training.accumulation=1"], 1e-5);
}

/// Its tokens pass a batch normalisation, and its other norms run over all tokens of a batch as published: the statistics of
/// the whole batch are those of one process. Rotations and masks go by the place of an event in the whole batch.
#[test]
fn two_processes_with_shared_statistics_pretrain_polarmae_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let system = polarmae(MAE, folder.path());
    // As below: large steps enlarge differences of rounding, which running means collect.
    system.assert_same(folder.path(), 2, &["training.sync_batch_norm=true", "training.learning_rate=1e-4"], 1e-5);
    // Without them each process normalises by its own rows: another run, though of the same recipe.
    let own = folder.path().join("own");
    system.train(2, &own, &["training.learning_rate=1e-4"]).succeeds();
    let (shared, own) = (losses(&folder.path().join("many2")), losses(&own));
    assert!(shared.iter().zip(&own).any(|(a, b)| (a - b).abs() > 1e-4), "{shared:?} {own:?}");
    assert!(own.iter().all(|loss| loss.is_finite()));
}

/// Events have different numbers of labelled points; both terms of the loss count by theirs.
#[test]
fn two_processes_with_shared_statistics_segment_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let system = polarmae(SEGMENT, folder.path());
    // Larger steps would enlarge differences of rounding: its gradients are hundreds long at the start.
    let more = ["training.sync_batch_norm=true", "model.segmentation.loss=focal_dice", "training.learning_rate=1e-4"];
    system.assert_same(folder.path(), 2, &more, 1e-5);
}

#[test]
fn two_processes_with_pieces_and_a_scaled_rate_give_the_same_bytes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let system = polarmae(MAE, folder.path());
    let more = [
        "training.accumulation=2",
        "training.scale_learning_rate={reference_batch: 20, rule: linear}",
        "training.max_steps=6",
        "training.evaluate_every_steps=3",
    ];
    let bytes = |name: &str| {
        let out = folder.path().join(name);
        let trained = system.train(2, &out, &more).succeeds().manifest();
        assert_eq!(trained["metrics"]["learning_rate_factor"], 0.25);
        ["checkpoints/last/model.safetensors", "checkpoints/last/optimizer.safetensors", "metrics.jsonl"]
            .map(|file| std::fs::read(out.join(file)).unwrap())
    };
    assert!(bytes("first") == bytes("second"));
}

#[test]
fn a_batch_smaller_than_the_number_of_processes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let system = tracknet(folder.path());
    let out = folder.path().join("out");
    let text = system.train(3, &out, &["training.batch_size=2"]).fails(2).stderr;
    assert!(text.contains("a batch of 2 rows is too small for 3 processes"), "{text}");
}
