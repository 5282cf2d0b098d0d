//! `score`: what it prints, and what it refuses.

use crate::oof::{COLUMNS, metadata, model, predictions, truth};
use crate::support::cmd;

#[test]
fn the_short_help_is_that_of_the_snapshot() {
    let help = cmd("score").arg("-h").succeeds().stdout;
    let snapshot = include_str!("snapshots/score.txt");
    assert_eq!(help, snapshot, "`score -h` changed; update tests/cli/snapshots if it was meant to");
    assert!(help.lines().all(|line| line.chars().count() < 80), "{help}");
}

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
    cmd("score").args(["-t", "valid.safetensors"]).within(folder.path()).fails(2).says("PREDICTIONS>");
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

fn table(folder: &std::path::Path, name: &str, rows: &[(&str, &str, &str)]) {
    let lines: String = rows.iter().map(|(id, x, y)| format!("{id},{x},{y}\n")).collect();
    common::durable::write(folder.join(name), format!("sample_id,t_0,t_1\n{lines}").as_bytes()).unwrap();
}

#[test]
fn a_submission_is_scored_by_id_against_a_solution() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    table(folder, "solution.csv", &[("a", "1", "0"), ("b", "2", "0"), ("c", "3", "0"), ("d", "6", "0")]);
    table(folder, "moved.csv", &[("d", "5", "0"), ("c", "3", "0"), ("a", "1", "0"), ("b", "2", "0")]);
    let outcome = cmd("score").args(["-t", "solution.csv", "moved.csv"]).within(folder).succeeds();
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    // SST = 14, SSE = 1; the constant column is met exactly.
    let targets = &report["scores"][0]["targets"];
    assert!((targets["t_0"].as_f64().unwrap() - 13.0 / 14.0).abs() < 1e-12 && targets["t_1"] == 1.0, "{report}");
    assert!(outcome.stderr.contains("`moved.csv` has its rows in another order: aligned by id"));
}

#[test]
fn submissions_that_do_not_fit_the_solution_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    table(folder, "solution.csv", &[("a", "1", "0"), ("b", "2", "0")]);
    let run = |rows: &[(&str, &str, &str)]| {
        table(folder, "bad.csv", rows);
        cmd("score").args(["-t", "solution.csv", "bad.csv"]).within(folder).fails(3)
    };
    run(&[("a", "1", "0")]).says("`bad.csv`: lacks the id `b`, row 1 of `solution.csv`");
    run(&[("a", "1", "0"), ("b", "1", "0"), ("c", "1", "0")]).says("row 2: the id `c` is not in `solution.csv`");
    run(&[("a", "1", "0"), ("a", "1", "0")]).says("row 1: the id `a` appeared in row 0 already");
    run(&[("a", "1", "0"), ("b", "NaN", "0")]).says("row 1 (`b`), column `t_0`: NaN is not finite");
    run(&[("a", "1", "0"), ("b", "x", "0")]).says("line 3").says("`t_0`");
    common::durable::write(folder.join("bad.csv"), b"sample_id,t_0,t_2\na,1,2\nb,1,2\n").unwrap();
    let outcome = cmd("score").args(["-t", "solution.csv", "bad.csv"]).within(folder).fails(3);
    outcome.says("`bad.csv`: lacks the column `t_1` of `solution.csv`");
}

#[test]
fn a_training_table_is_a_truth_by_its_target_and_rows_without_ids_go_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| common::durable::write(folder.path().join(name), text.as_bytes()).unwrap();
    put("train.csv", "id,user_id,age,y\n7,1,30,1\n8,2,31,2\n9,3,32,4\n");
    put("oof.csv", ",id,y\n0,9,3.5\n1,7,1.5\n2,8,2\n");
    let score = |args: &[&str]| cmd("score").args(args).within(folder.path());
    score(&["-t", "train.csv", "oof.csv"]).fails(3).says("`id`, `user_id`").says("--id id");
    score(&["-t", "train.csv", "oof.csv", "--id", "id"])
        .fails(3)
        .says("lacks the column `user_id`")
        .says("--target COLUMN");
    score(&["-t", "train.csv", "oof.csv", "--id", "id", "--target", "z"]).fails(3).says("has no column `z`");
    let outcome = score(&["-t", "train.csv", "oof.csv", "--id", "id", "--target", "y"]).succeeds();
    let found: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    // 1 - (0.25 + 0 + 0.25) / (1.7777 + 0.1111 + 2.7777)
    assert!((found["scores"][0]["mean_r2"].as_f64().unwrap() - (1.0 - 0.5 / (14.0 / 3.0))).abs() < 1e-12, "{found}");
    put("y.csv", "y\n1\n2\n4\n");
    put("p.csv", "p\n1.5\n2\n3.5\n");
    let outcome = score(&["-t", "y.csv", "p.csv"]).succeeds().says("by their place");
    let found: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!((found["scores"][0]["mean_r2"].as_f64().unwrap() - (1.0 - 0.5 / (14.0 / 3.0))).abs() < 1e-12, "{found}");
}

#[test]
fn rows_that_predictions_lack_are_masked_by_demand_and_files_of_one_name_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        common::durable::write(folder.path().join(name), text.as_bytes()).unwrap();
    };
    let scored = |args: &[&str]| -> (serde_json::Value, String) {
        let outcome = cmd("score").args(["-t", "y.csv"]).args(args).within(folder.path()).succeeds();
        (serde_json::from_str(&outcome.stdout).unwrap(), outcome.stderr)
    };
    put("y.csv", "id,y\n5,1\n6,2\n7,4\n8,9\n");
    put("p.csv", "id,y\n7,3.5\n6,2\n5,1.5\n");
    cmd("score").args(["-t", "y.csv", "p.csv"]).within(folder.path()).fails(3).says("lacks the id `8`");
    let (found, said) = scored(&["p.csv", "--mask-missing"]);
    assert!((found["scores"][0]["mean_r2"].as_f64().unwrap() - (1.0 - 0.5 / (14.0 / 3.0))).abs() < 1e-12, "{found}");
    assert!(said.contains("warning: 1 of 4 rows are left out"), "{said}");
    // Rows of other ids, of which it is said that they go by place.
    put("other/p.csv", "id,y\n1,1\n2,2\n3,4\n4,8\n");
    let (found, said) = scored(&["other/p.csv", "--by-position"]);
    assert!((found["scores"][0]["mean_r2"].as_f64().unwrap() - (1.0 - 1.0 / 38.0)).abs() < 1e-12, "{found}");
    assert!(said.contains("by their place"), "{said}");
    // Names are those of the files; files of one name are told by their folders.
    put("more/p.csv", "id,y\n5,1\n6,2\n7,4\n8,9\n");
    put("p.csv", "id,y\n5,1\n6,2\n7,4\n8,8\n");
    let (found, _) = scored(&["p.csv", "more/p.csv", "--summary", "means.json"]);
    assert_eq!(found["scores"][1]["name"], "more/p.csv");
    let means = std::fs::read_to_string(folder.path().join("means.json")).unwrap();
    assert!(means.contains("\"more/p.csv\": 1.0"), "{means}");
}
