//! What a stage remembers of its inputs, in all systems: stages that were run again, raw files that were replaced, runs
//! that were stopped and continued over something else.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Cmd, cmd, root};

/// A system at its smallest: what to type for each stage.
struct System {
    name: &'static str,
    /// Config of the simulation: a file of the repository or a text, and overrides.
    simulate: (&'static str, &'static [&'static str]),
    prepare: (&'static str, &'static [&'static str]),
    /// Overrides that prepare the same raw files to something else.
    otherwise: &'static [&'static str],
    train: (&'static str, &'static [&'static str]),
}

const SYSTEMS: [System; 4] = [
    System {
        name: "leap",
        simulate: (
            "leap/demo/simulate.yaml",
            &[
                "months.0.months=[0001-02..0001-03]",
                "months.1.months=[0008-07..0008-07]",
                "columns=4",
                "kaggle.test_rows=50",
            ],
        ),
        prepare: (
            "leap/demo/prepare.yaml",
            &[
                "train.netcdf.months=[0001-02..0001-03]",
                "valid.netcdf.months=[0008-07..0008-07]",
                "index.draw.months=[0001-02..0001-03]",
            ],
        ),
        otherwise: &["normalisation={fit: {}}"],
        train: (
            "leap/demo/exp195.yaml",
            &["rows.months=[0001-02..0001-03]", "training.epochs=1", "training.batch_size=16"],
        ),
    },
    System {
        name: "icecube",
        simulate: (
            "icecube/demo/simulate.yaml",
            &[
                "train=[{first: 1, files: 2, events: 30}, {first: 655, files: 1, events: 12}]",
                "test=[{first: 661, files: 1, events: 12}]",
                "physics.median_pulses=30",
            ],
        ),
        prepare: ("icecube/demo/prepare.yaml", &[]),
        otherwise: &["train={named: [batch_1.parquet, batch_655.parquet]}"],
        train: ("tiny.yaml", &[]),
    },
    System {
        name: "polarmae",
        simulate: (
            "polarmae/demo/simulate.yaml",
            &["train_events=6", "valid_events=3", "rates.track_length=[20,60]", "rates.shower_voxels=[40,80]"],
        ),
        prepare: ("polarmae/demo/prepare.yaml", &["selection.min_points=20"]),
        otherwise: &["selection.energy_threshold=0.2"],
        train: (
            "polarmae/demo/segment.yaml",
            &[
                "training.max_steps=1",
                "training.batch_size=2",
                "data.max_valid_events=2",
                "training.schedule={warmup_cosine: {warmup: 2, max_steps: 4}}",
            ],
        ),
    },
    System {
        name: "tracknet",
        simulate: ("tracknet/demo/simulate.yaml", &["events=4", "particles=60"]),
        prepare: ("tracknet/demo/prepare.yaml", &["validation_split=0.5"]),
        otherwise: &["filters.min_pt=2.0"],
        train: ("tracknet/demo/step_ahead.yaml", &["training.epochs=1", "training.batch_size=8"]),
    },
];

/// A network of IceCube that trains within a second.
const TINY: &str = "\
system: icecube
member: tiny
seed: 3
model:
  deep_ice: {dim: 16, dim_base: 8, depth: 1, head_size: 8, depth_rel: 1, n_rel: 1}
input: {length: 48}
valid_length: 48
validation: [batch_655.parquet]
sampler: {sub_epochs: 1}
loss: vms
val_batch_size: 8
training: {epochs: 1, batch_size: 8, learning_rate: 1.0e-3, optimizer: {adam_w: {}}}
";

impl System {
    fn stage(&self, binary: &str, (config, overrides): (&str, &[&str]), out: &Path) -> Cmd {
        let file = if config == "tiny.yaml" { out.with_file_name(config) } else { root().join("configs").join(config) };
        let command = match binary {
            "train-model" => cmd(binary).arg(file).args(["--device", "cpu"]),
            _ => cmd(binary).arg(self.name).arg(file),
        };
        command.args(overrides).args(["--threads", "1", "-q", "--out"]).arg(out)
    }

    fn simulate(&self, seed: u64, out: &Path) {
        self.stage("simulate-data", self.simulate, out).args(["--seed", &seed.to_string()]).succeeds();
    }

    fn prepare(&self, raw: &Path, out: &Path) -> Cmd {
        self.stage("prepare-data", self.prepare, out).arg("--raw").arg(raw)
    }

    fn train(&self, data: &Path, out: &Path) -> Cmd {
        common::durable::write(out.with_file_name("tiny.yaml"), TINY.as_bytes()).unwrap();
        self.stage("train-model", self.train, out).arg("--from").arg(data)
    }

    /// The one prepared file of every set, without what tells of the run.
    fn arrays(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![folder.to_path_buf()];
        while let Some(next) = open.pop() {
            for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|e| e == "safetensors" || e == "npy") {
                    found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), fs::read(path).unwrap());
                }
            }
        }
        assert!(!found.is_empty());
        found
    }
}

fn predict(run: &Path, out: &Path) -> Cmd {
    cmd("predict").args(["--threads", "1", "--device", "cpu", "-q", "--from"]).arg(run).arg("--out").arg(out)
}

/// The whole life of prepared data behind a trained network.
fn prepared_again(system: &System) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    system.simulate(1, &at("sim"));
    let raw = at("sim/raw");
    let prepared = system.prepare(&raw, &at("data")).succeeds().manifest();
    assert!(!prepared["inputs"].as_object().unwrap().is_empty(), "raw files are named: {prepared}");
    let trained = system.train(&at("data"), &at("run")).succeeds().manifest();
    assert_eq!(trained["chain"][0]["stage"], "prepare-data");
    assert_eq!(trained["chain"][0]["identity"].as_str().unwrap().len(), 64);
    let names: Vec<&String> = trained["inputs"].as_object().unwrap().keys().collect();
    assert!(names.iter().any(|name| name.starts_with("prepare-data/")), "arrays are named: {names:?}");
    predict(&at("run"), &at("p1")).succeeds();

    // The same again is the same: nothing is refused.
    system.prepare(&raw, &at("data")).arg("--force").succeeds();
    predict(&at("run"), &at("p2")).succeeds();

    // Something else in the same folder is refused by whoever follows the chain, with the stage to run again.
    system.prepare(&raw, &at("data")).arg("--force").args(system.otherwise).succeeds();
    let outcome = predict(&at("run"), &at("p3")).fails(3);
    outcome.says("was run again since `train-model`").says("expected").says("--force").says("data");
    assert!(!at("p3").join("stage.json").exists());

    // Trained again on the data as they are now, everything goes on.
    system.train(&at("data"), &at("run")).arg("--force").succeeds();
    predict(&at("run"), &at("p4")).succeeds();
}

#[test]
fn a_leap_network_does_not_predict_from_data_that_were_prepared_anew() {
    prepared_again(&SYSTEMS[0]);
}

#[test]
fn an_icecube_network_does_not_predict_from_data_that_were_prepared_anew() {
    prepared_again(&SYSTEMS[1]);
}

#[test]
fn a_polarmae_network_does_not_predict_from_data_that_were_prepared_anew() {
    prepared_again(&SYSTEMS[2]);
}

#[test]
fn a_tracknet_network_does_not_predict_from_data_that_were_prepared_anew() {
    prepared_again(&SYSTEMS[3]);
}

/// An unfinished folder is continued over the same raw files, and over others nothing of the first remains.
#[test]
fn an_unfinished_preparation_never_keeps_what_was_made_of_other_raw_files() {
    for system in &SYSTEMS {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // One place for both simulations: the cache of TrackNET says where its event lies.
        for seed in [1, 2] {
            let _ = fs::remove_dir_all(at("raw"));
            system.simulate(seed, &at("sim"));
            copy(&at("sim/raw"), &at("raw"));
            fs::remove_dir_all(at("sim")).unwrap();
            system.prepare(&at("raw"), &at(&format!("fresh{seed}"))).succeeds();
            if seed == 1 {
                copy(&at("fresh1"), &at("data"));
                fs::remove_file(at("data/stage.json")).unwrap();
                system.prepare(&at("raw"), &at("data")).succeeds();
                assert!(System::arrays(&at("data")) == System::arrays(&at("fresh1")), "{}", system.name);
                fs::remove_file(at("data/stage.json")).unwrap();
            }
        }
        assert!(System::arrays(&at("fresh1")) != System::arrays(&at("fresh2")), "{}", system.name);
        system.prepare(&at("raw"), &at("data")).succeeds();
        assert!(System::arrays(&at("data")) == System::arrays(&at("fresh2")), "{}", system.name);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            common::durable::write(&target, &fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

#[test]
fn a_raw_file_that_was_edited_after_the_simulation_is_refused_behind_from() {
    let system = &SYSTEMS[3];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    system.simulate(1, &at("sim"));
    let hits = at("sim/raw/event000001000-truth.csv");
    let text = fs::read_to_string(&hits).unwrap();
    let prepare = || system.stage("prepare-data", system.prepare, &at("data")).arg("--from").arg(at("sim"));
    let cut: Vec<&str> = text.lines().collect();
    common::durable::write(&hits, (cut[..cut.len() - 1].join("\n") + "\n").as_bytes()).unwrap();
    prepare().fails(3).says("event000001000-truth.csv").says("was changed since `simulate-data` wrote it");
    common::durable::write(&hits, text.as_bytes()).unwrap();
    prepare().succeeds();
    // Prediction reads the raw events again: they must be those that were prepared.
    system.train(&at("data"), &at("run")).succeeds();
    predict(&at("run"), &at("p1")).succeeds();
    let hits = at("sim/raw/event000001000-hits.csv");
    let text = fs::read_to_string(&hits).unwrap();
    let cut: Vec<&str> = text.lines().collect();
    common::durable::write(&hits, (cut[..cut.len() - 1].join("\n") + "\n").as_bytes()).unwrap();
    predict(&at("run"), &at("p2")).fails(3).says("event000001000-hits.csv").says("was changed since `prepare-data`");
}

#[test]
fn events_of_one_number_in_two_folders_are_refused_with_both_places() {
    let system = &SYSTEMS[3];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for seed in [1, 2] {
        system.simulate(seed, &at(&format!("s{seed}")));
    }
    let dirs = |a: &str, b: &str| format!("data_dirs=[{:?}, {:?}]", at(a).join("raw"), at(b).join("raw"));
    let prepare = |dirs: String| system.stage("prepare-data", system.prepare, &at("data")).arg(dirs);
    prepare(dirs("s1", "s2")).fails(3).says("s1/raw/event000001000").says("s2/raw/event000001000");
    system.stage("simulate-data", system.simulate, &at("s3")).arg("first_event=5000").succeeds();
    let manifest = prepare(dirs("s1", "s3")).succeeds().manifest();
    assert_eq!(manifest["metrics"]["events"], 8);
}

#[test]
fn scores_and_weights_are_not_made_from_a_run_and_a_truth_that_was_prepared_anew() {
    let system = &SYSTEMS[0];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    system.simulate(1, &at("sim"));
    system.prepare(&at("sim/raw"), &at("data")).succeeds();
    system.train(&at("data"), &at("run")).succeeds();
    let score = || cmd("score").arg("--truth").arg(at("data")).arg(at("run"));
    let search = |out: &str| {
        cmd("hill-climb")
            .arg("search")
            .arg("--truth")
            .arg(at("data"))
            .arg(at("run"))
            .arg("--out")
            .arg(at(out))
            .arg("-q")
    };
    score().succeeds();
    search("w1").succeeds();
    system.prepare(&at("sim/raw"), &at("data")).arg("--force").args(system.otherwise).succeeds();
    score().fails(3).says("was run again since `train-model`");
    search("w2").fails(3).says("was run again since `train-model`");
}

#[test]
fn predictions_that_choose_the_training_events_belong_to_the_identity_of_the_run() {
    let system = &SYSTEMS[1];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    system.simulate(1, &at("sim"));
    system.prepare(&at("sim/raw"), &at("data")).succeeds();
    system.train(&at("data"), &at("first")).succeeds();
    for (seed, table) in [("1", "a"), ("2", "b")] {
        // Another seed draws other pulses of long events, and so other kappas.
        predict(&at("first"), &at(table)).args(["--set", "train", "--seed", seed]).succeeds();
    }
    let filter = at("kappa.parquet");
    let use_table = |table: &str| {
        let content = fs::read(at(table).join("predictions.parquet")).unwrap();
        common::durable::write(&filter, &content).unwrap();
        content
    };
    let filtered =
        || system.train(&at("data"), &at("run")).arg(format!("kappa_filter={{predictions: {filter:?}, least: 0.0}}"));
    let first = use_table("a");
    let manifest = filtered().succeeds().manifest();
    let hash = manifest["inputs"]["kappa_filter.predictions"]["blake3"].as_str().unwrap();
    assert_eq!(hash, common::durable::hash_file(&filter).unwrap().blake3);
    fs::remove_file(at("run/stage.json")).unwrap();
    filtered().succeeds();
    fs::remove_file(at("run/stage.json")).unwrap();
    let other = use_table("b");
    assert_ne!(first, other);
    filtered().fails(2).says("from other data");
}

#[test]
fn a_stage_of_an_earlier_version_is_read_and_said_to_know_no_identities() {
    let system = &SYSTEMS[3];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    system.simulate(1, &at("sim"));
    system.prepare(&at("sim/raw"), &at("data")).succeeds();
    system.train(&at("data"), &at("run")).succeeds();
    let path = at("run/stage.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("chain");
    common::durable::write(&path, manifest.to_string().as_bytes()).unwrap();
    predict(&at("run"), &at("p")).succeeds().says("does not say what it read");
}
