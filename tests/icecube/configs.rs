//! The recipes in `configs/icecube` and the pipelines that chain them.

use std::path::{Path, PathBuf};

use common::config::{self, Config};
use icecube::predict::PredictConfig;
use icecube::prepare::PrepareConfig;
use icecube::simulate::SimulateConfig;
use icecube::train::TrainConfig;

use crate::support::{cmd, root};

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(below(&path));
        } else if path.extension().is_some_and(|e| e == "yaml") {
            files.push(path);
        }
    }
    files
}

fn resolves<C: Config>(path: &Path) {
    config::load::<C>(Some(path), &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

#[test]
fn every_config_resolves_and_says_how_to_run_it() {
    let files = below(&root().join("configs/icecube"));
    assert!(files.len() >= 29, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let holds = |key: &str| text.lines().any(|line| line.starts_with(key));
        if holds("model:") {
            resolves::<TrainConfig>(&path);
        } else if holds("members:") {
            resolves::<PredictConfig>(&path);
        } else if path.ends_with("simulate.yaml") {
            resolves::<SimulateConfig>(&path);
        } else {
            resolves::<PrepareConfig>(&path);
        }
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let command = text.lines().any(|line| line.starts_with("#   ") && line.contains(&name));
        assert!(command, "{name}: no command in its header");
    }
}

/// A dry run of every published chain, from an empty project with a finished preparation.
#[test]
fn every_pipeline_lists_its_stages_in_order() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("configs"), folder.path().join("configs")).unwrap();
    let copied = |path: &str| {
        let text = std::fs::read(root().join("pipelines").join(path)).unwrap();
        common::durable::write(folder.path().join("pipelines").join(path), &text).unwrap();
    };
    copied("icecube.published.yaml");
    common::durable::write(folder.path().join("data/icecube/stage.json"), b"{}").unwrap();
    for (member, stages) in [("b32", 4), ("b64", 5), ("b-4rel", 5), ("s-gnn", 5), ("b-gnn", 5)] {
        let pipeline = format!("pipelines/icecube-{member}");
        copied(&format!("icecube-{member}/dvc.yaml"));
        let dry = cmd("run-pipeline").args([&pipeline, "--dry-run"]).within(folder.path()).run();
        assert_eq!(dry.code, Some(0), "{pipeline}: {}", dry.stderr);
        let shown = format!("{}{}", dry.stdout, dry.stderr);
        let places: Vec<usize> = (1..=stages)
            .map(|i| shown.find(&format!("stage{i}")).unwrap_or_else(|| panic!("{pipeline}: no stage{i} in {shown}")))
            .collect();
        assert!(places.is_sorted(), "{shown}");
        assert!(!shown.contains(&format!("stage{}", stages + 1)), "{shown}");
    }
}

/// The demo as a pipeline, at a size of seconds.
#[test]
fn the_blend_pipeline_runs_from_simulation_to_scores() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("configs"), folder.path().join("configs")).unwrap();
    // The root of a project, below which pipelines find one another.
    common::durable::create_folder(folder.path().join(".git")).unwrap();
    for file in ["icecube.demo.yaml", "icecube-data/dvc.yaml", "icecube-blend/dvc.yaml"] {
        let text = std::fs::read_to_string(root().join("pipelines").join(file)).unwrap();
        let small = "overrides: sampler.sub_epochs=1 training.epochs=1 training.batch_size=8";
        let text = text.replace("limit: \"\"", "limit: --limit 24").replace("overrides: \"\"", small);
        let to = folder.path().join("pipelines").join(file);
        common::durable::create_folder(to.parent().unwrap()).unwrap();
        common::durable::write(&to, text.as_bytes()).unwrap();
    }
    let run = cmd("run-pipeline").args(["pipelines/icecube-blend", "-j", "2", "--result"]);
    let result = run.within(folder.path()).succeeds().stdout;
    let result: serde_json::Value = serde_json::from_str(result.lines().last().unwrap()).unwrap();
    assert!(std::path::Path::new(result["outputs"]["submission"]["path"].as_str().unwrap()).is_file(), "{result}");
    assert!(result["metrics"]["blend"].is_number() && result["metrics"]["valid"]["members"]["graph"].is_number());
    let scores = folder.path().join("demo/icecube/scores/test.json");
    let scores: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(scores).unwrap()).unwrap();
    for angle in [&scores["members"]["transformer"], &scores["members"]["graph"], &scores["blend"]] {
        let angle = angle.as_f64().unwrap_or_else(|| panic!("a figure is missing: {scores}"));
        assert!((0.0..std::f64::consts::PI).contains(&angle), "{scores}");
    }
    // Kappa and regions of members and blend are calibrated on the validation events.
    for table in ["predictions/transformer", "predictions/graph", "blend"] {
        let path = folder.path().join("demo/icecube").join(table).join("predictions.parquet");
        let table = common::store::tables::read_parquet(&path, None).unwrap();
        assert!(table.f32("length").unwrap() != table.f32("kappa").unwrap(), "{}", path.display());
    }
    let again = cmd("run-pipeline").args(["pipelines/icecube-blend", "--json", "-q"]).within(folder.path()).succeeds();
    assert!(!again.stdout.contains("\"ran\""), "{}", again.stdout);
}

#[test]
fn an_order_of_rows_that_the_sampler_decides_is_refused() {
    let config = root().join("configs/icecube/demo/transformer.yaml");
    let run = cmd("train-model").arg(config).arg("training.shuffle=global").args(["--from", "none", "--dry-run"]);
    run.fails(2).says("`training.shuffle` is set, but events come in the order of `sampler`");
}
