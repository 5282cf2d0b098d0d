//! Small competitions for the tests of blending, and how they are searched.

use std::fs;
use std::path::Path;
use std::process::Command;

use common::seed::rng_for;
use rand::RngExt;
use serde_json::Value;

use crate::support::{Cmd, cmd, root};

pub const ROWS: usize = 240;

/// A Python with scikit-learn: `$PY`, or the one of the system. Where there is none, the test says that it is skipped.
pub fn python() -> Option<std::ffi::OsString> {
    python_with("sklearn, scipy")
}

/// The same with these packages.
pub fn python_with(packages: &str) -> Option<std::ffi::OsString> {
    let python = std::env::var_os("PY").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python).args(["-c", &format!("import {packages}")]).output();
    let there = found.is_ok_and(|output| output.status.success());
    #[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
    if !there {
        println!("skipped: no Python with {packages}; name one with PY");
    }
    there.then_some(python)
}

pub fn put(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    common::durable::write(path, text.as_bytes()).unwrap();
}

pub fn csv(folder: &Path, name: &str, header: &str, columns: &[&[f64]]) {
    let line = |row: usize| {
        let fields: Vec<String> = columns.iter().map(|column| column[row].to_string()).collect();
        format!("{},{}\n", row + 100, fields.join(","))
    };
    let lines: String = (0..columns[0].len()).map(line).collect();
    put(folder, name, &format!("id,{header}\n{lines}"));
}

pub struct Numbers {
    pub y: Vec<f64>,
    pub folds: Vec<f64>,
    pub members: Vec<(&'static str, Vec<f64>)>,
}

/// A number and three members that see it with noise of their own; fold `row % 3`.
pub fn numbers(folder: &Path) -> Numbers {
    let mut rng = rng_for(3, "blending", 0);
    let y: Vec<f64> = (0..ROWS).map(|_| rng.random_range(1.0..3.0)).collect();
    let folds: Vec<f64> = (0..ROWS).map(|row| (row % 3 + 5) as f64).collect();
    csv(folder, "train.csv", "y,fold", &[&y, &folds]);
    let mut members = vec![];
    for (name, noise) in [("a", 0.5), ("b", 0.6), ("c", 0.7)] {
        let p: Vec<f64> = y.iter().map(|y| 1.1 * y + rng.random_range(-noise..noise)).collect();
        csv(folder, &format!("{name}.csv"), "y", &[&p]);
        members.push((name, p));
    }
    Numbers { y, folds, members }
}

/// Two classes and three members' probabilities.
pub fn labels(folder: &Path) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut rng = rng_for(4, "blending", 0);
    let t: Vec<f64> = (0..ROWS).map(|_| rng.random_range(-1.0..1.0)).collect();
    let y: Vec<f64> = t.iter().map(|t| f64::from(*t > 0.2)).collect();
    csv(folder, "train.csv", "y", &[&y]);
    let mut members = vec![];
    for (name, noise) in [("a", 0.6), ("b", 0.8), ("c", 1.0)] {
        let p: Vec<f64> =
            t.iter().map(|t| 1.0 / (1.0 + (-3.0 * (t - 0.2 + rng.random_range(-noise..noise))).exp())).collect();
        csv(folder, &format!("{name}.csv"), "y", &[&p]);
        members.push(p);
    }
    (y, members)
}

pub fn search(folder: &Path, out: &str, more: &[&str]) -> Cmd {
    let args = ["search", "-t", "train.csv", "--target", "y", "a.csv", "b.csv", "c.csv", "-o", out];
    cmd("hill-climb").args(args).args(more).within(folder)
}

pub fn json(folder: &Path, out: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join(out).join("weights.json")).unwrap()).unwrap()
}

pub fn weights(value: &Value) -> [f64; 3] {
    ["a", "b", "c"].map(|name| value[name].as_f64().unwrap())
}

pub fn mixed(members: &[&[f64]], weights: [f64; 3], row: usize) -> f64 {
    members.iter().zip(weights).map(|(p, w)| w * p[row]).sum()
}

pub fn numbers_of(folder: &Path, file: &str) -> Vec<Vec<f64>> {
    let text = fs::read_to_string(folder.join(file)).unwrap();
    text.lines().skip(1).map(|line| line.split(',').skip(1).map(|v| v.parse().unwrap()).collect()).collect()
}

/// The blocks of a kind below a line of the page about blending.
pub fn block(kind: &str, with: &str) -> String {
    let page = fs::read_to_string(root().join("docs/blending.md")).unwrap();
    let fence = format!("```{kind}\n");
    let mut blocks = page.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.find(|block| block.contains(with)).unwrap_or_else(|| panic!("no `{kind}` block with `{with}`"))
}
