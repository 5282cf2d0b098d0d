//! Files of other programs.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::data::{Numbers, csv, numbers, put, python_with, search};
use crate::support::{cmd, root};

#[test]
fn files_of_pandas_numpy_and_safetensors_are_read() {
    let Some(python) = python_with("pandas, pyarrow, safetensors") else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = root().join("tests/cli/dialects.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cases: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(cases.len() > 25, "only {} cases", cases.len());
    for case in cases {
        let args: Vec<&str> = case["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let outcome = cmd("hill-climb")
            .arg("search")
            .args(&args)
            .args(["--metric", "rmse", "-o", "out", "-f"])
            .within(folder.path());
        let manifest = outcome.succeeds().manifest();
        let members = manifest["metrics"]["members"].as_object().unwrap();
        assert!(members.keys().eq(["a", "b"].iter()), "{args:?}: {members:?}");
        let (found, expected) = (members["a"].as_f64().unwrap(), case["rmse"].as_f64().unwrap());
        assert!((found - expected).abs() < 1e-12, "{args:?}: {found}, expected {expected}");
    }
}

#[test]
fn what_is_no_prediction_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let Numbers { y, .. } = numbers(folder.path());
    csv(folder.path(), "b.csv", "y", &[&y]);
    search(folder.path(), "out", &["--metric", "rmse"]).succeeds().says("`b` predicts every row exactly");
    put(folder.path(), "model.pkl", "\u{1}\u{2} no table at all");
    let args = ["search", "-t", "train.csv", "--target", "y", "a.csv", "model.pkl", "-o", "x"];
    cmd("hill-climb").args(args).within(folder.path()).fails(3).says("is no kind of file that is read here");
}

#[test]
fn what_only_looks_like_rows_that_match_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Numbers { y, .. } = numbers(folder.path());
    let lines = |from: usize| -> String { (from..y.len()).map(|row| format!("{},{}\n", row + 100, y[row])).collect() };
    // A row in place of the header would be lost without a word.
    for (name, from) in [("train.csv", 0), ("a.csv", 0), ("b.csv", 0)] {
        put(folder.path(), name, &lines(from));
    }
    let args = ["search", "-t", "train.csv", "a.csv", "b.csv", "-o", "x", "--metric", "rmse"];
    let outcome = cmd("hill-climb").args(args).within(folder.path()).fails(3);
    let said = format!("`train.csv`: line 1: holds the row `100,{}` in place of the names of columns", y[0]);
    assert!(outcome.stderr.contains(&said) && outcome.stderr.contains("hint: write a line"), "{}", outcome.stderr);
    // Columns of different names: the odd one is named.
    numbers(folder.path());
    let text = fs::read_to_string(folder.path().join("b.csv")).unwrap();
    put(folder.path(), "b.csv", &text.replacen("id,", "row_id,", 1));
    let outcome = search(folder.path(), "x", &["--metric", "rmse"]).fails(3);
    let said = "`b.csv`: the ids are in the column `row_id`, in `train.csv` in `id`";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    // A target of several that a member lacks.
    csv(folder.path(), "two.csv", "y,z", &[&y, &y]);
    let args = ["search", "-t", "two.csv", "--target", "y", "--target", "z", "two.csv", "a.csv", "-o", "x"];
    cmd("hill-climb").args(args).within(folder.path()).fails(3).says("`a.csv`: has no column `z`");
    // Numbers whose squares no double holds.
    let huge: String = (0..y.len()).map(|row| format!("{},1e200\n", row + 100)).collect();
    put(folder.path(), "a.csv", &format!("id,y\n{huge}"));
    let args = ["search", "-t", "train.csv", "--target", "y", "a.csv", "c.csv", "-o", "x", "--metric", "rmse"];
    let said = "`a.csv`: row 0, column `y`: the square of 1e200 is too large";
    cmd("hill-climb").args(args).within(folder.path()).fails(3).says(said);
}
