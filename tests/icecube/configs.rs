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
        } else if holds("physics:") {
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
    for shared in ["configs", "pipelines"] {
        std::os::unix::fs::symlink(root().join(shared), folder.path().join(shared)).unwrap();
    }
    common::durable::write(folder.path().join("data/icecube/stage.json"), b"{}").unwrap();
    for (member, stages) in [("b32", 4), ("b64", 5), ("b-4rel", 5), ("s-gnn", 5), ("b-gnn", 5)] {
        let pipeline = format!("pipelines/icecube-{member}");
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
