//! `score`: what it prints, and what it refuses.

#[path = "../support/oof.rs"]
mod oof;
#[path = "../support/mod.rs"]
mod support;

use oof::{COLUMNS, metadata, model, predictions, truth};
use support::cmd;

#[test]
fn figures_go_to_stdout_as_json_and_the_table_to_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let y = truth(folder.path());
    model(folder.path(), "good", &y, 0.1);
    model(folder.path(), "poor", &y, 0.8);
    let outcome = cmd("score")
        .args(["-t", "valid.safetensors", "good.safetensors", "poor.safetensors"])
        .within(folder.path())
        .succeeds();
    let report: serde_json::Value = serde_json::from_str(outcome.stdout.trim()).unwrap();
    assert_eq!(outcome.stdout.lines().count(), 1);
    let scores = report["scores"].as_array().unwrap();
    assert_eq!((scores[0]["name"].as_str(), scores[1]["name"].as_str()), (Some("good"), Some("poor")));
    let mean = |i: usize| scores[i]["mean_r2"].as_f64().unwrap();
    assert!(mean(0) > 0.98 && mean(0) < 1.0 && mean(1) < 0.7, "{report}");
    // The fixed column counts one whatever was predicted.
    assert_eq!(scores[1]["targets"]["q_1"], 1.0);
    let of = |name: &str| scores[1]["targets"][name].as_f64().unwrap();
    let expected = ["flux", "t_0", "t_1", "q_0", "q_1"].iter().map(|n| of(n)).sum::<f64>() / 5.0;
    assert!((mean(1) - expected).abs() < 1e-12);
    assert!((scores[1]["groups"]["t"].as_f64().unwrap() - (of("t_0") + of("t_1")) / 2.0).abs() < 1e-12);
    assert!((scores[1]["levels"]["0"].as_f64().unwrap() - (of("t_0") + of("q_0")) / 2.0).abs() < 1e-12);
    assert!(outcome.stderr.starts_with("R2                        good          poor\nmean "), "{}", outcome.stderr);

    let pretty = cmd("score")
        .args(["-t", "valid.safetensors", "good.safetensors", "--json", "-q"])
        .within(folder.path())
        .succeeds();
    assert!(pretty.stderr.is_empty() && pretty.stdout.starts_with("{\n  \"metric\": \"r2\",\n"), "{pretty:?}");
}

#[test]
fn with_out_the_manifest_goes_to_stdout_and_a_second_run_needs_force() {
    let folder = tempfile::tempdir().unwrap();
    let y = truth(folder.path());
    model(folder.path(), "a", &y, 0.3);
    let run = || cmd("score").args(["-t", "valid.safetensors", "a.safetensors", "-o", "s"]).within(folder.path());
    let manifest = run().succeeds().manifest();
    assert_eq!(manifest["stage"], "score");
    assert_eq!(manifest["metrics"]["score"], manifest["metrics"]["members"]["a"]);
    assert!(folder.path().join("s/score.json").exists() && folder.path().join("s/stage.json").exists());
    run().fails(2).says("holds a finished stage already").says("hint: ");
    run().arg("--force").succeeds();
}

#[test]
fn a_value_that_is_not_finite_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut y = truth(folder.path());
    y[7 * COLUMNS + 3] = f32::NAN;
    predictions(folder.path(), "bad", &y, &metadata());
    let outcome = cmd("score").args(["-t", "valid.safetensors", "bad.safetensors"]).within(folder.path()).fails(3);
    assert_eq!(
        outcome.stderr,
        "error: `bad.safetensors`: row 7, column `q_0`: the value is not finite\n\nhint: predict again; a diverged \
         network gives NaN\n"
    );
    assert!(outcome.stdout.is_empty());
}

#[test]
fn rows_columns_and_files_that_do_not_go_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let y = truth(folder.path());
    predictions(folder.path(), "short", &y[COLUMNS..], &metadata());
    let mut swapped = metadata();
    swapped["columns"] = serde_json::json!(["flux", "t_1", "t_0", "q_0", "q_1"]);
    predictions(folder.path(), "swapped", &y, &swapped);
    let run = |file: &str| cmd("score").args(["-t", "valid.safetensors", file]).within(folder.path()).fails(3);
    run("short.safetensors").says("holds [119, 5] predictions, but the truth `valid.safetensors` is [120, 5]");
    run("swapped.safetensors").says("column 1 is `t_1`, in the truth it is `t_0`");
    run("none.safetensors").says("`none.safetensors`: no such file or folder");
    run("valid.safetensors").says("has no tensor `predictions`");
    cmd("score").args(["-t", "valid.safetensors"]).within(folder.path()).fails(2).says("<PREDICTIONS>");
}

#[test]
fn the_number_of_threads_does_not_change_a_digit() {
    let folder = tempfile::tempdir().unwrap();
    let y = truth(folder.path());
    model(folder.path(), "a", &y, 0.3);
    let run = |threads: &str| {
        let args = ["-t", "valid.safetensors", "a.safetensors", "--threads", threads];
        cmd("score").args(args).within(folder.path()).succeeds().stdout
    };
    assert_eq!(run("1"), run("3"));
}
