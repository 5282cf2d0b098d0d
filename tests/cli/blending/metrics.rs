//! Metrics: a searched threshold, and commands of a user's own.

use super::data::{ROWS, block, csv, json, labels, mixed, numbers, put, python, search, weights};

#[test]
fn a_searched_threshold_is_stored_and_beats_the_usual_one() {
    let folder = tempfile::tempdir().unwrap();
    let (y, members) = labels(folder.path());
    let all: Vec<&[f64]> = members.iter().map(Vec::as_slice).collect();
    search(folder.path(), "half", &["--metric", "f1"]).succeeds();
    let flags = ["--metric", "f1", "--search-threshold", "--folds", "4"];
    search(folder.path(), "out", &flags).succeeds().says("threshold");
    let (half, found) = (json(folder.path(), "half"), json(folder.path(), "out"));
    assert!(found["score"].as_f64() >= half["score"].as_f64());
    let (threshold, w) = (found["threshold"].as_f64().unwrap(), weights(&found["weights"]));
    let (mut hits, mut said, mut there) = (0.0, 0.0, 0.0);
    for (row, label) in y.iter().enumerate() {
        let positive = mixed(&all, w, row) >= threshold;
        said += f64::from(positive);
        there += label;
        hits += f64::from(positive) * label;
    }
    assert!((2.0 * hits / (said + there) - found["score"].as_f64().unwrap()).abs() < 1e-12);
    search(folder.path(), "x", &["--metric", "auc", "--search-threshold"]).fails(2).says("needs a score of labels");
}

#[test]
fn members_that_are_no_probabilities_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (y, members) = labels(folder.path());
    let doubled: Vec<f64> = members[1].iter().map(|p| 2.0 * p).collect();
    csv(folder.path(), "b.csv", "y", &[&doubled]);
    let row = doubled.iter().position(|p| *p > 1.0).unwrap();
    let outcome = search(folder.path(), "out", &["--metric", "logloss"]).succeeds();
    let said = format!("warning: `b.csv`: row {row}, column `y`: {} is no probability", doubled[row]);
    assert!(outcome.stderr.contains(&said) && !outcome.stderr.contains("warning: `a.csv`"), "{}", outcome.stderr);
    // Only the order counts.
    let outcome = search(folder.path(), "order", &["--metric", "auc"]).succeeds();
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    let half = |p: &[f64]| p.iter().map(|p| p / 2.0).collect::<Vec<f64>>();
    let rest = |p: &[f64]| p.iter().map(|p| 1.0 - p).collect::<Vec<f64>>();
    for (name, p) in ["a", "b", "c"].iter().zip(&members) {
        csv(folder.path(), &format!("{name}.csv"), "p0,p1", &[&rest(p), p]);
    }
    csv(folder.path(), "c.csv", "p0,p1", &[&half(&rest(&members[2])), &half(&members[2])]);
    let outcome = search(folder.path(), "sums", &["--metric", "logloss"]).succeeds();
    let said =
        format!("warning: `c.csv`: the probabilities of row 0 sum to 0.5, those of {ROWS} of {ROWS} rows not to 1");
    assert!(outcome.stderr.contains(&said) && y.len() == ROWS, "{}", outcome.stderr);
}

#[test]
fn failures_of_a_metric_command_are_told() {
    let folder = tempfile::tempdir().unwrap();
    numbers(folder.path());
    let fails = |command: &str, code: i32, said: &str| {
        let flags = ["--metric-command", command, "--minimize", "--set", "metric_timeout_s=1"];
        search(folder.path(), "x", &flags).fails(code).says(said);
        assert!(!folder.path().join("x/stage.json").exists());
    };
    fails("exit 3", 1, "the metric command `exit 3` ended before it answered (exit status: 3)");
    fails("no-such-program-here", 1, "ended before it answered (exit status: 127)");
    fails("echo score: 5; cat > /dev/null", 1, "answered `score: 5`, expected one number");
    fails("cat > /dev/null", 1, "gave no answer in 1 s");
    search(folder.path(), "x", &["--metric-command", "true"]).fails(2).says("should the number of `metric_command`");
    search(folder.path(), "x", &["--minimize"]).fails(2).says("belongs to `metric_command`");
    let weighted = ["--metric-command", "true", "--maximize", "--sample-weight", "fold"];
    search(folder.path(), "x", &weighted).fails(2).says("gets no weights of rows");
}

#[test]
fn the_metric_in_python_of_the_page_is_the_built_in_one() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    numbers(folder.path());
    let script = block("python", "mean_pinball_loss");
    assert!(script.contains("alpha=0.9"));
    // The pinball loss of the median is half the absolute error.
    put(folder.path(), "my_metric.py", &script.replace("alpha=0.9", "alpha=0.5"));
    let command = format!("{} my_metric.py", python.to_string_lossy());
    let flags = ["--metric-command", &command, "--minimize", "--step", "0.05", "--folds", "3"];
    let outcome = search(folder.path(), "command", &flags).succeeds();
    search(folder.path(), "mae", &["--metric", "mae", "--step", "0.05", "--folds", "3"]).succeeds();
    let (ours, theirs) = (json(folder.path(), "mae"), json(folder.path(), "command"));
    assert_eq!(ours["weights"], theirs["weights"]);
    let both = [&ours, &theirs].map(|found| found["score"].as_f64().unwrap());
    assert!((both[0] - 2.0 * both[1]).abs() < 1e-12, "{both:?}");
    let both = [&ours, &theirs].map(|found| found["out_of_fold"]["blend"]["mean"].as_f64().unwrap());
    assert!((both[0] - 2.0 * both[1]).abs() < 1e-12, "{both:?}");
    assert_eq!(theirs["metric"], "command");
    assert!(outcome.stderr.contains("command"), "{}", outcome.stderr);
}
