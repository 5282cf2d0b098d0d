//! The experiment log: every config loads and trains, the sweep runs from simulation to table.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::config::{self, Resolved};
use common::stage::Manifest;
use icecube::models;
use icecube::train::{self, Options, TrainConfig};
use neural::device;
use neural::trainer::Resume;
use serde_json::Value;
use tch::Device;

use crate::support::{cmd, root};
use crate::{raw, stand_in};

/// Where the experiments train, in the environment.
const DEVICE: &str = "PODIUM_EXPERIMENTS_ON";

fn configs() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("configs/icecube/log")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn id_of(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_string()
}

fn sizes() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(root().join("pipelines/icecube-log.yaml")).unwrap()).unwrap()
}

/// The experiments of the pipeline, with the group that each stands in.
fn experiments(sizes: &Value) -> Vec<(&'static str, String, Value)> {
    let of = |group: &'static str| {
        let items = sizes[group].as_object().unwrap();
        items.iter().map(move |(id, item)| (group, id.clone(), item.clone())).collect::<Vec<_>>()
    };
    ["first", "tuned", "filtered"].into_iter().flat_map(of).collect()
}

fn words(value: &Value) -> Vec<String> {
    value.as_str().unwrap().split_whitespace().map(str::to_string).collect()
}

fn load(path: &Path, overrides: &[String]) -> Resolved<TrainConfig> {
    config::load(Some(path), overrides).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_experiment_has_a_config_and_a_row_of_the_sweep() {
    let sizes = sizes();
    let known: BTreeSet<String> = configs().iter().map(|path| id_of(path)).collect();
    let swept: BTreeSet<String> = experiments(&sizes).into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(known, swept);
    assert_eq!(known.len(), 58);
    let rows: BTreeSet<String> =
        words(&sizes["members"]).iter().map(|run| run.rsplit('/').next().unwrap().to_string()).collect();
    assert_eq!(rows, known);
    let mut published = 0;
    for path in configs() {
        let config = load(&path, &[]).value;
        let about = config.experiment.unwrap_or_else(|| panic!("{} has no `experiment`", path.display()));
        assert_eq!(about.id, id_of(&path));
        assert!(path.ends_with(&about.config), "{} says {}", path.display(), about.config);
        assert!(about.published.is_some() || !about.remark.is_empty(), "{} has no outcome", about.id);
        published += usize::from(about.published.is_some());
    }
    assert!(published >= 38, "{published}");
    for (group, id, item) in experiments(&sizes) {
        let config = load(&root().join(item["config"].as_str().unwrap()), &[]).value;
        assert_eq!(config.weights.is_some(), group != "first", "{id}");
        assert_eq!(config.kappa_filter.is_some(), group == "filtered", "{id}");
        if let Some(weights) = config.weights {
            assert!(weights.ends_with(item["base"].as_str().unwrap()), "{id}: {}", weights.display());
        }
    }
}

#[test]
fn every_network_of_the_log_can_be_built_at_its_size() {
    for path in configs() {
        let config = load(&path, &[]).value;
        let built = models::build(&config.model, Device::Cpu, 1).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(built.params.count() > 50_000, "{}: {} parameters", path.display(), built.params.count());
        for prefix in config.freeze.iter().chain(&config.weights_only) {
            assert!(built.params.named().iter().any(|(name, _)| name.starts_with(prefix.as_str())));
        }
    }
}

#[test]
fn every_experiment_trains_a_step_and_predicts() {
    let device = device::choose(&std::env::var(DEVICE).unwrap_or_else(|_| "cpu".into())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let data = folder.path().join("data");
    raw::prepare().arg("--from").arg(&sim).arg("--out").arg(&data).succeeds();
    let prepared = Manifest::read(&data.to_string_lossy()).unwrap();
    let sizes = sizes();
    for (group, id, item) in experiments(&sizes) {
        let mut overrides = words(&sizes["overrides"]);
        overrides.extend(words(&item["flags"]));
        for more in ["sampler.sub_epochs=1", "training.epochs=1", "training.batch_size=8", "val_batch_size=8"] {
            overrides.push(more.into());
        }
        overrides.push("training.accumulate_rows=null".into());
        if group != "first" {
            overrides.extend(["weights=null", "weights_only=[]", "kappa_filter=null"].map(String::from));
        }
        let config = load(&root().join(item["config"].as_str().unwrap()), &overrides);
        let run = folder.path().join("runs").join(&id);
        common::durable::create_folder(&run).unwrap();
        let events = train::data(&config.value, &prepared, Some(1)).unwrap();
        let options =
            Options { folder: run, device, resume: Resume::Never, max_steps: Some(2), initial: None, observer: None };
        let trained =
            train::train(&config.value, &config.hash, &events, options).unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(trained.outcome.state.skipped, 0, "{id}: a step was not finite");
        assert!((0.0..=std::f64::consts::PI).contains(&trained.measures.angle), "{id}: {}", trained.measures.angle);
        assert!(trained.measures.loss.is_finite(), "{id}");
    }
}

/// The same where operations that mix devices, or that have no deterministic form on a GPU, are refused.
#[test]
fn every_experiment_trains_a_step_on_a_gpu() {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "log::every_experiment_trains_a_step_and_predicts"]).env(DEVICE, "cuda");
    let out = again.env("LD_PRELOAD", stand_in::library()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&out.stderr));
}

/// A folder with the pipeline and its configs, at a size of seconds: some experiments of each kind.
fn project(folder: &Path, kept: &[&str]) -> String {
    for file in fs::read_dir(root().join("configs/icecube/log")).unwrap().map(|e| e.unwrap().path()) {
        copy(folder, &file);
    }
    for file in ["configs/icecube/demo/simulate.yaml", "configs/icecube/demo/prepare.yaml"] {
        copy(folder, &root().join(file));
    }
    copy(folder, &root().join("pipelines/icecube-log/dvc.yaml"));
    let mut sizes = sizes();
    for group in ["first", "tuned", "filtered"] {
        sizes[group].as_object_mut().unwrap().retain(|id, _| kept.contains(&id.as_str()));
        for (_, item) in sizes[group].as_object_mut().unwrap() {
            let flags = item["flags"].as_str().unwrap().replace("accumulate_rows=192", "accumulate_rows=24");
            let flags = flags.replace("batch_size=16", "batch_size=2");
            // Nobody is sure of anything after so few steps.
            item["flags"] = if group == "filtered" { flags + " kappa_filter.least=0.0" } else { flags }.into();
        }
    }
    let runs: Vec<String> = kept.iter().map(|id| format!("demo/icecube-log/runs/{id}")).collect();
    sizes["members"] = runs.join(" ").into();
    sizes["limit"] = "--limit 24".into();
    let small = ["sampler.sub_epochs=2", "training.epochs=1", "training.batch_size=8"].join(" ");
    sizes["overrides"] = format!("{} {small}", sizes["overrides"].as_str().unwrap()).into();
    let text = serde_json::to_string_pretty(&sizes).unwrap();
    common::durable::write(folder.join("pipelines/icecube-log.yaml"), text.as_bytes()).unwrap();
    "pipelines/icecube-log".into()
}

fn copy(folder: &Path, file: &Path) {
    let to = folder.join(file.strip_prefix(root()).unwrap());
    common::durable::create_folder(to.parent().unwrap()).unwrap();
    common::durable::write(&to, &fs::read(file).unwrap()).unwrap();
}

#[test]
fn the_sweep_runs_from_simulation_to_table() {
    let folder = tempfile::tempdir().unwrap();
    let kept = ["00", "16", "17", "23", "25", "25_ft", "100", "33", "33_ft", "33_ft_3"];
    let pipeline = project(folder.path(), &kept);
    let run = |more: &[&str]| cmd("run-pipeline").arg(&pipeline).args(more).within(folder.path()).succeeds();
    run(&["-j", "2"]);
    let scores = folder.path().join("demo/icecube-log/scores");
    let table: Value = serde_json::from_str(&fs::read_to_string(scores.join("log.json")).unwrap()).unwrap();
    let rows = table["experiments"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["experiment"].as_str().unwrap()).collect::<Vec<_>>(), kept);
    for row in rows {
        for column in ["score", "track", "cascade"] {
            let angle = row[column].as_f64().unwrap();
            assert!((0.0..std::f64::consts::PI).contains(&angle), "{row}");
        }
        let config = folder.path().join(row["config"].as_str().unwrap());
        assert!(config.is_file() && !row["description"].as_str().unwrap().is_empty(), "{row}");
        assert!(row["training_set"].as_str().unwrap().contains("files"), "{row}");
    }
    assert_eq!(rows[1]["published"], 1.043);
    assert!(rows[9]["published"].is_null() && rows[9]["remark"] == "not evaluated");
    let text = fs::read_to_string(scores.join("log.md")).unwrap();
    assert!(text.lines().count() == 12 && text.contains("| published |"), "{text}");
    let csv = fs::read_to_string(scores.join("log.csv")).unwrap();
    assert!(csv.starts_with("experiment,score,published,remark,track,cascade,description,config,training_set\n"));

    // The frozen part is the base's, bit for bit; the rest learnt.
    let tensors = |run: &str| {
        let manifest =
            Manifest::read(&folder.path().join("demo/icecube-log/runs").join(run).to_string_lossy()).unwrap();
        neural::weights::read(manifest.output("model").unwrap()).unwrap()
    };
    let (base, frozen) = (tensors("25_ft"), tensors("100"));
    let graph: Vec<_> = base.iter().filter(|(name, _)| name.starts_with("graph.")).collect();
    assert!(graph.len() > 10);
    for (name, tensor) in graph {
        assert!(frozen.iter().any(|(other, values)| other == name && values == tensor), "`{name}` moved");
    }
    let again: Value = serde_json::from_str(&run(&["--json", "-q"]).stdout).unwrap();
    let states: BTreeSet<&str> =
        again["stages"].as_array().unwrap().iter().map(|stage| stage["state"].as_str().unwrap()).collect();
    assert!(!states.contains("ran"), "{states:?}");
}

#[test]
fn the_whole_sweep_can_be_planned() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<String> = configs().iter().map(|path| id_of(path)).collect();
    let pipeline = project(folder.path(), &all.iter().map(String::as_str).collect::<Vec<_>>());
    copy(folder.path(), &root().join("pipelines/icecube-log.yaml"));
    let run = cmd("run-pipeline").arg(pipeline).args(["--explain", "--json"]).within(folder.path()).succeeds();
    let plan: Value = serde_json::from_str(&run.stdout).unwrap();
    let stages: Vec<&str> = plan.as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(stages.len(), 2 + 58 + 1 + 1, "{stages:?}");
    let place = |end: &str| stages.iter().position(|stage| stage.ends_with(end)).unwrap_or_else(|| panic!("{end}"));
    assert!(place("first@25") < place("tuned@25_ft") && place("tuned@25_ft") < place("tuned@100"));
    assert!(place("kappa@33_ft_3") < place("filtered@33_ft_3"));
}

#[test]
fn parts_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let data = folder.path().join("data");
    raw::prepare().arg("--from").arg(&sim).arg("--out").arg(&data).succeeds();
    let config = root().join("configs/icecube/log/16.yaml");
    let train = |more: &[&str]| {
        let run = cmd("train-model").arg(&config).args(["validation=[batch_655.parquet]", "--limit", "1"]).args(more);
        run.arg("--from").arg(&data).arg("--out").arg(folder.path().join("run")).args(["--device", "cpu"])
    };
    train(&["input.length=200"]).fails(2).says("`input.length` is 200, more than `model.encoder.max_length` = 150");
    train(&["weights_only=[graph]"]).fails(2).says("`weights` names no file");
    train(&["files=[9, 3]"]).fails(2).says("expected the lower number first");
    train(&["files=[90, 99]"]).fails(2).says("holds no training files");
    train(&["freeze=[grapf]", "files=[1, 2]", "training.batch_size=8", "training.precision=f32"])
        .fails(2)
        .says("no parameter's name begins with `grapf`");
    let text = cmd("score").arg("--truth").arg(&sim).arg(&data).args(["--table", "log.txt"]).run();
    assert_eq!(text.code, Some(2), "{}", text.stderr);
    assert!(text.stderr.contains("`--table log.txt`: not a table"), "{}", text.stderr);
}
