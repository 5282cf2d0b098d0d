//! A folder with a pipeline, and what is done with it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Outcome, cmd};

/// A folder of its own that vanishes with the test.
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        for (name, text) in files {
            project.write(name, text);
        }
        project
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        common::durable::write(path, text.as_bytes()).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Replaces a part of a file that must be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no `{from}`");
        self.write(name, &text.replace(from, to));
    }

    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Outcome {
        cmd("run-pipeline").args(args).within(self.path()).succeeds()
    }

    /// State of every stage in the record of a run.
    #[track_caller]
    pub fn states(&self, args: &[&str]) -> Vec<(String, String)> {
        let outcome = self.run(&[args, &["--json", "-q"]].concat());
        let record: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let text = |stage: &Value, key: &str| stage[key].as_str().unwrap().to_string();
        record["stages"].as_array().unwrap().iter().map(|s| (text(s, "stage"), text(s, "state"))).collect()
    }

    /// Names of the stages that ran.
    #[track_caller]
    pub fn ran(&self, args: &[&str]) -> Vec<String> {
        self.states(args).into_iter().filter(|(_, state)| state == "ran").map(|(stage, _)| stage).collect()
    }

    /// Stages that are not up to date, with the reasons.
    #[track_caller]
    pub fn stale(&self, args: &[&str]) -> Vec<(String, Vec<String>)> {
        let outcome = self.run(&[args, &["--explain", "--json"]].concat());
        let plan: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let stale = plan.as_array().unwrap().iter().filter(|s| s["state"] == "run" || s["state"] == "verify");
        let reasons = |s: &Value| {
            s["reasons"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().to_string()).collect::<Vec<_>>()
        };
        stale.map(|s| (s["stage"].as_str().unwrap().to_string(), reasons(s))).collect()
    }
}
