//! `hill-climb`: weights that are found, weights that are applied, and what is refused.

use std::fs;
use std::path::Path;

use crate::oof::{COLUMNS, metadata, model, predictions, truth};
use crate::support::{Cmd, cmd};

fn three_models(folder: &Path) {
    let y = truth(folder);
    for (name, noise) in [("a", 0.5), ("b", 0.6), ("c", 0.7)] {
        model(folder, name, &y, noise);
    }
}

fn search(folder: &Path, more: &[&str]) -> Cmd {
    let args = ["search", "-t", "valid.safetensors", "a.safetensors", "b.safetensors", "c.safetensors"];
    cmd("hill-climb").args(args).args(more).within(folder)
}

#[test]
fn the_short_helps_are_those_of_the_snapshots() {
    for (mode, snapshot) in [
        ("search", include_str!("snapshots/hill-climb-search.txt")),
        ("blend", include_str!("snapshots/hill-climb-blend.txt")),
    ] {
        let help = cmd("hill-climb").args([mode, "-h"]).succeeds().stdout;
        assert_eq!(help, snapshot, "`hill-climb {mode} -h` changed; update tests/cli/snapshots if it was meant to");
        assert!(help.lines().all(|line| line.chars().count() < 80), "{help}");
    }
}

#[test]
fn a_search_beats_every_model_and_writes_weights_that_sum_to_one() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    let manifest = search(folder.path(), &["-o", "out", "--write-oof"]).succeeds().manifest();
    let metrics = &manifest["metrics"];
    let blend = metrics["blend"].as_f64().unwrap();
    let members = metrics["members"].as_object().unwrap();
    assert_eq!(members.len(), 3);
    assert!(members.values().all(|m| m.as_f64().unwrap() < blend), "{metrics}");
    assert!(metrics["optimum_sum_1"].as_f64().unwrap() >= blend);

    let table = fs::read_to_string(folder.path().join("out/weights.csv")).unwrap();
    let weights: Vec<f64> = table.lines().skip(1).map(|l| l.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert!(table.starts_with("model,weight\n"));
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(weights.is_sorted_by(|a, b| a >= b));

    // The blended predictions have the score that the search promised (they are stored in single precision).
    let args = ["-t", "valid.safetensors", "out/oof.safetensors", "-q"];
    let report = cmd("score").args(args).within(folder.path()).succeeds().stdout;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!((report["scores"][0]["mean_r2"].as_f64().unwrap() - blend).abs() < 1e-6);

    let history = fs::read_to_string(folder.path().join("out/history.csv")).unwrap();
    assert!(history.starts_with("scope,step,kind,model,from,weight,score\nall,0,start,a,,1,0."), "{history}");
}

#[test]
fn a_search_leaves_a_page_that_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    let manifest = search(folder.path(), &["-o", "out"]).succeeds().manifest();
    assert_eq!(manifest["outputs"]["report"]["path"], "report.html");
    let page = fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    for heading in ["Members", "Score per step of the search", "Correlations of the members", "R2 per group of columns"]
    {
        assert!(page.contains(heading), "no `{heading}`");
    }
    assert!(!page.contains("src=") && !page.contains("href=\"http"), "the page needs others");
    let blend = manifest["metrics"]["blend"].as_f64().unwrap();
    assert!(page.contains(&format!("{blend:.6}")), "the page does not say {blend:.6}");
    // Errors of a model correlate with themselves completely.
    let csv = fs::read_to_string(folder.path().join("out/plots/correlations-of-the-members-errors.csv")).unwrap();
    assert!(csv.contains("a,a,1\n"), "{csv}");
}

#[test]
fn the_same_search_writes_the_same_bytes_with_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    let files = |out: &str, threads: &str| {
        search(folder.path(), &["-o", out, "--per-group", "--threads", threads]).succeeds();
        ["weights.csv", "weights.json", "history.csv"].map(|f| fs::read(folder.path().join(out).join(f)).unwrap())
    };
    assert_eq!(files("one", "1"), files("three", "3"));
}

#[test]
fn groups_get_weights_of_their_own_and_never_lose_by_it() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    let global = search(folder.path(), &["-o", "global", "--method", "optimum"]).succeeds().manifest();
    let grouped = search(folder.path(), &["-o", "groups", "--method", "optimum", "--per-group"]).succeeds().manifest();
    let score = |m: &serde_json::Value| m["metrics"]["blend"].as_f64().unwrap();
    assert!(score(&grouped) >= score(&global));
    let text = fs::read_to_string(folder.path().join("groups/weights.json")).unwrap();
    let weights: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names: Vec<_> = weights["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["scalars", "t", "q"]);
}

#[test]
fn flags_win_over_the_config_and_limits_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    common::durable::write(folder.path().join("search.yaml"), b"step: 0.05\nnegative: false\nmax_steps: 1\n").unwrap();
    let printed = search(folder.path(), &["-c", "search.yaml", "--step", "0.1", "--print-config"]).succeeds().stdout;
    for line in ["step: 0.1 # override", "negative: false # search.yaml:2", "max_steps: 1 #", "ridge: 0.0 # default"] {
        let squeezed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(line), "no `{line}` in\n{printed}");
    }
    search(folder.path(), &["-c", "search.yaml", "-o", "one"]).succeeds();
    assert_eq!(fs::read_to_string(folder.path().join("one/history.csv")).unwrap().lines().count(), 3);
    let range = ["-o", "range", "--with-replacement", "--weight-range", "0.2,0.5", "--polish"];
    let manifest = search(folder.path(), &range).succeeds().manifest();
    let weights = manifest["metrics"]["weights"].as_object().unwrap();
    assert!(weights.values().all(|w| (0.2 - 1e-9..=0.5 + 1e-9).contains(&w.as_f64().unwrap())), "{weights:?}");
}

#[test]
fn mistakes_in_the_config_are_all_reported() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    search(folder.path(), &["--step", "0", "--metric", "mae", "--polish"])
        .fails(2)
        .says("the config has 2 mistakes")
        .says("`step` is 0, expected more than 0 and at most 0.5")
        .says("`polish` needs r2, mse or rmse, not `mae`");
    search(folder.path(), &["--set", "stepp=1"]).fails(2).says("step");
    search(folder.path(), &["--metric", "r3"]).fails(2).says("r2");
}

#[test]
fn bad_predictions_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    let mut values = vec![0.0; crate::oof::ROWS * COLUMNS];
    values[3 * COLUMNS + 1] = f32::INFINITY;
    predictions(folder.path(), "c", &values, &metadata());
    search(folder.path(), &["-o", "out"])
        .fails(3)
        .says("`c.safetensors`: row 3, column `t_0`: the value is not finite");
    assert!(!folder.path().join("out/weights.csv").exists() && !folder.path().join("out/stage.json").exists());
    let twice = ["search", "-t", "valid.safetensors", "a.safetensors", "a.safetensors"];
    cmd("hill-climb").args(twice).within(folder.path()).fails(2).says("two models are called `a`");
    let named = ["search", "-t", "valid.safetensors", "x=a.safetensors", "y=a.safetensors", "--method", "optimum"];
    let error = cmd("hill-climb").args(named).within(folder.path()).fails(1);
    error.says("the errors of model `y` are a combination of those of other models").says("ridge");
}

fn submission(folder: &Path, name: &str, rows: &[(&str, f64, f64)]) {
    let lines: String = rows.iter().map(|(id, x, y)| format!("{id},{x},{y}\n")).collect();
    let text = format!("sample_id,x,zero\n{lines}");
    common::durable::write(folder.join(format!("subs/{name}.csv")), text.as_bytes()).unwrap();
}

fn weights(folder: &Path, lines: &str) {
    common::durable::write(folder.join("w.csv"), format!("model,weight\n{lines}").as_bytes()).unwrap();
}

fn blend(folder: &Path, more: &[&str]) -> Cmd {
    cmd("hill-climb").args(["blend", "-w", "w.csv", "subs"]).args(more).within(folder)
}

/// Two submissions of three rows, the second in another order, and their weights.
fn two_submissions() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    submission(folder.path(), "a", &[("r0", 1.0, 0.0), ("r1", 2.0, 0.1), ("r2", 3.0, 0.3)]);
    submission(folder.path(), "b", &[("r2", 30.0, 0.3), ("r0", 10.0, 0.0), ("r1", 20.0, 0.1)]);
    weights(folder.path(), "a.npy,0.7\nb.npy,0.3\n");
    folder
}

#[test]
fn submissions_are_blended_by_id_and_columns_that_agree_are_kept() {
    let folder = two_submissions();
    let summed = blend(folder.path(), &["-o", "sum", "--competition", "some-competition"]).succeeds();
    assert!(summed.stderr.contains("`subs/b.csv` has its rows in another order: aligned by id"), "{}", summed.stderr);
    assert!(
        summed.stderr.contains("3 rows, blake3 ") && summed.stderr.contains("\nkaggle competitions submit -c some-")
    );
    let text = fs::read_to_string(folder.path().join("sum/submission.csv")).unwrap();
    let expected: Vec<f64> = [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)].iter().map(|(a, b)| 0.7 * a + 0.3 * b).collect();
    let first: Vec<f64> = text.lines().skip(1).map(|l| l.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(first, expected);
    assert!(text.lines().nth(3).unwrap().starts_with("r2,"));
    // 0.7 * 0.1 + 0.3 * 0.1 is not 0.1.
    assert!(text.lines().nth(2).unwrap().ends_with(",0.09999999999999999"), "{text}");
    let kept = blend(folder.path(), &["-o", "kept", "--keep-equal"]).succeeds();
    assert!(kept.stderr.contains("1 of 2 columns are the same in all submissions and were kept"), "{}", kept.stderr);
    let text = fs::read_to_string(folder.path().join("kept/submission.csv")).unwrap();
    assert!(text.lines().nth(2).unwrap().ends_with(",0.1"), "{text}");
    assert_eq!(
        fs::read_dir(folder.path().join("kept"))
            .unwrap()
            .filter(|e| { e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".podium-tmp") })
            .count(),
        0
    );
}

#[test]
fn tables_and_submissions_that_do_not_fit_are_refused() {
    let folder = two_submissions();
    let fails = |code: i32| blend(folder.path(), &["-o", "out", "-f"]).fails(code);
    weights(folder.path(), "a.npy,0.5\nb.npy,0.25\nc.npy,0.25\n");
    fails(3).says("`w.csv`: no submission for 1 of 3 models: `c`").says("hint: found a, b");
    weights(folder.path(), "a.npy,0.5\na,0.5\n");
    fails(3).says("`w.csv`: row 1: the model `a` appears twice");
    weights(folder.path(), "a.npy,nan\nb,0.5\n");
    fails(3).says("the weight of `a` is NaN");
    weights(folder.path(), "a,0.7\nb,0.3\n");
    submission(folder.path(), "b", &[("r0", 1.0, 0.0), ("r1", 1.0, 0.0)]);
    fails(3).says("`subs/b.csv`: lacks the id `r2`, row 2 of `subs/a.csv`");
    submission(folder.path(), "b", &[("r0", 1.0, 0.0), ("r1", 1.0, 0.0), ("r1", 1.0, 0.0)]);
    fails(3).says("`subs/b.csv`: row 2: the id `r1` appeared in row 1 already");
    submission(folder.path(), "b", &[("r0", 1.0, 0.0), ("r1", f64::INFINITY, 0.0), ("r2", 1.0, 0.0)]);
    fails(3).says("`subs/b.csv`: row 1, column `x`: inf is not finite");
    common::durable::write(folder.path().join("subs/b.csv"), b"sample_id,x\nr0,1\nr1,1\nr2,1\n").unwrap();
    fails(3).says("`subs/b.csv`: lacks the column `zero` of `subs/a.csv`");
    assert!(!folder.path().join("out/submission.csv").exists() && !folder.path().join("out/stage.json").exists());
    cmd("hill-climb").args(["blend", "-w", "none.csv", "subs"]).within(folder.path()).fails(3).says("none.csv");
    blend(folder.path(), &["--base", "z"]).fails(2).says("the base `z` is none of the models");
}

#[test]
fn weights_of_a_search_are_applied_as_they_are() {
    let folder = two_submissions();
    let y = truth(folder.path());
    for (name, noise) in [("a", 0.3), ("b", 0.5)] {
        model(folder.path(), name, &y, noise);
    }
    let args = ["search", "-t", "valid.safetensors", "a.safetensors", "b.safetensors", "-o", "search", "-q"];
    cmd("hill-climb").args(args).within(folder.path()).succeeds();
    for table in ["search/weights.csv", "search/weights.json"] {
        let out = table.replace('/', "_");
        cmd("hill-climb").args(["blend", "-w", table, "subs", "-o", &out, "-q"]).within(folder.path()).succeeds();
    }
    // The same through pipes: search, blend, score.
    let args = ["search", "-t", "valid.safetensors", "a.safetensors", "b.safetensors", "-o", "piped", "-q"];
    let found = cmd("hill-climb").args(args).within(folder.path()).succeeds().stdout;
    let args = ["blend", "-w", "-", "subs", "-o", "piped_blend", "-q"];
    let blended = cmd("hill-climb").args(args).within(folder.path()).stdin(found).succeeds().stdout;
    let score = cmd("score").args(["-t", "subs/a.csv", "-"]).within(folder.path()).stdin(blended).succeeds();
    assert!(score.stdout.contains("\"mean_r2\":"), "{}", score.stdout);

    let read = |out: &str| fs::read_to_string(folder.path().join(out).join("submission.csv")).unwrap();
    assert_eq!(read("piped_blend"), read("search_weights.json"));
    assert_eq!(read("search_weights.csv"), read("search_weights.json"));
}

fn put(folder: &Path, name: &str, text: &str) {
    common::durable::write(folder.join(name), text.as_bytes()).unwrap();
}

#[test]
fn tables_of_other_programs_are_searched_by_id() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        "train.csv",
        "\u{feff}\"id\",\"feature\",\"y\"\r\n7,9,1.0\r\n8,9,2.0\r\n9,9,4.0\r\n10,9,3.0\r\n\r\n",
    );
    put(folder.path(), "a.csv", ",id,pred\n0,10,3.1\n1,9,3.9\n2,8,2.2\n3,7,0.8\n");
    put(folder.path(), "b.csv", "id,pred\n7,1.5\n8,1.5\n9,4.5\n10,2.5\n");
    let args = ["search", "-t", "train.csv", "--target", "y", "a.csv", "b.csv", "--metric", "rmse", "-o", "out"];
    let outcome = cmd("hill-climb").args(args).within(folder.path()).succeeds();
    assert!(outcome.stderr.contains("`a.csv` has its rows in another order: aligned by id"), "{}", outcome.stderr);
    let alone = outcome.manifest()["metrics"]["members"]["a"].as_f64().unwrap();
    assert!((alone - (0.1f64 / 4.0).sqrt()).abs() < 1e-12, "{alone}");
    let args = ["search", "-t", "train.csv", "a.csv", "b.csv", "--metric", "rmse"];
    cmd("hill-climb").args(args).within(folder.path()).fails(3).says("train.csv").says("--target");
}

#[test]
fn whole_ids_stay_whole_and_the_sample_gives_rows_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.csv", "id,x,y\n1,0.5,1\n2,0.25,3\n");
    put(folder.path(), "b.csv", "id,y,x\n2,1,0.75\n1,3,0.5\n");
    put(folder.path(), "sample.csv", "id,y,x\n2,0,0\n1,0,0\n");
    put(folder.path(), "w.csv", "model,weight,y\na,0.5,0\nb,0.5,1\n");
    let args = ["blend", "-w", "w.csv", "a.csv", "b.csv", "--sample", "sample.csv", "--decimals", "3", "-o", "out"];
    let outcome = cmd("hill-climb").args(args).within(folder.path()).succeeds();
    let text = fs::read_to_string(folder.path().join("out/submission.csv")).unwrap();
    assert_eq!(text, "id,y,x\n2,1.000,0.500\n1,3.000,0.500\n");
    assert!(outcome.stderr.contains("kaggle competitions submit -c COMPETITION -f "), "{}", outcome.stderr);
    let parquet = common::store::tables::read_parquet(folder.path().join("out/submission.parquet"), None).unwrap();
    assert_eq!(parquet.i64("id").unwrap(), [2, 1]);
    // Wherever the sample has them.
    put(folder.path(), "sample.csv", "y,id,x\n0,2,0\n0,1,0\n");
    let args = ["blend", "-w", "w.csv", "a.csv", "b.csv", "--sample", "sample.csv", "-o", "out", "-f"];
    cmd("hill-climb").args(args).within(folder.path()).succeeds();
    let text = fs::read_to_string(folder.path().join("out/submission.csv")).unwrap();
    assert_eq!(text, "y,id,x\n1.0,2,0.5\n3.0,1,0.5\n");
    let parquet = common::store::tables::read_parquet(folder.path().join("out/submission.parquet"), None).unwrap();
    assert_eq!((parquet.names(), parquet.i64("id").unwrap()), (&["y", "id", "x"].map(String::from)[..], &[2, 1][..]));
}

#[test]
fn one_table_holds_all_models_and_arrays_go_by_the_place_of_the_sample() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "w.csv", "model,weight\na,0.25\nb,0.75\n");
    put(folder.path(), "test.csv", "id,a,b,c\n8,4,8,0\n7,2,6,0\n");
    put(folder.path(), "sample.csv", "id,y\n7,0\n8,0\n");
    let blend = |args: &[&str]| {
        cmd("hill-climb").args(["blend", "-w", "w.csv", "-o", "out", "-f"]).args(args).within(folder.path())
    };
    let text = || fs::read_to_string(folder.path().join("out/submission.csv")).unwrap();
    blend(&["test.csv", "--sample", "sample.csv"]).succeeds().says("every model is a column of `test.csv`");
    assert_eq!(text(), "id,y\n7,5.0\n8,7.0\n");
    blend(&["test.csv"]).fails(3).says("--sample FILE");
    common::store::npy::write_npy(folder.path().join("a.npy"), &[2], &[2.0f32, 4.0]).unwrap();
    put(folder.path(), "b.csv", "id,y\n8,8\n7,6\n");
    blend(&["a.npy", "b.csv", "--sample", "sample.csv"])
        .succeeds()
        .says("the rows of 1 arrays are matched by their place");
    assert_eq!(text(), "id,y\n7,5.0\n8,7.0\n");
    common::store::npy::write_npy(folder.path().join("a.npy"), &[3], &[2.0f64, 4.0, 5.0]).unwrap();
    blend(&["a.npy", "b.csv", "--sample", "sample.csv"]).fails(3).says("holds 3 rows, but `sample.csv` has 2");
    common::store::npy::write_npy(folder.path().join("a.npy"), &[2], &[2.0f64, f64::NAN]).unwrap();
    blend(&["a.npy", "b.csv", "--sample", "sample.csv"]).fails(3).says("row 1, column `y`: NaN is not finite");
    // Ids keep their type: numbers with a point, texts with zeros in front.
    for (first, second, more) in [("7.5", "8.25", &["--decimals", "1"][..]), ("007", "008", &[][..])] {
        put(folder.path(), "sample.csv", &format!("id,y\n{first},0\n{second},0\n"));
        put(folder.path(), "a.csv", &format!(",id,y\n5,{second},4\n6,{first},2\n"));
        put(folder.path(), "b.csv", &format!("id,y\n{first},6\n{second},8\n"));
        blend(&[&["a.csv", "b.csv", "--sample", "sample.csv"], more].concat()).succeeds();
        assert_eq!(text(), format!("id,y\n{first},5.0\n{second},7.0\n"));
    }
    let parquet = common::store::tables::read_parquet(folder.path().join("out/submission.parquet"), None).unwrap();
    assert_eq!(parquet.texts("id").unwrap(), ["007", "008"]);
}

#[test]
fn the_table_of_weights_keeps_what_groups_were_given() {
    let folder = tempfile::tempdir().unwrap();
    three_models(folder.path());
    search(folder.path(), &["-o", "out", "--method", "optimum", "--per-group"]).succeeds();
    let table = fs::read_to_string(folder.path().join("out/weights.csv")).unwrap();
    assert!(table.starts_with("model,weight,flux,t_0,t_1,q_0"), "{table}");
}

/// A Python with scikit-learn: `$PY`, or the one of the system.
fn python() -> Option<std::ffi::OsString> {
    let python = std::env::var_os("PY").unwrap_or_else(|| "python3".into());
    let found = std::process::Command::new(&python).args(["-c", "import sklearn, scipy"]).output();
    found.is_ok_and(|output| output.status.success()).then_some(python)
}

#[test]
fn metrics_agree_with_scikit_learn_on_ties_constants_and_weights() {
    let Some(python) = python() else {
        #[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
        {
            println!("skipped: no Python with scikit-learn; name one with PY");
        }
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/metrics.py");
    let output = std::process::Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(cases.len() > 150, "only {} cases", cases.len());
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap().to_owned();
        let (truth, a, b) = (text("truth"), format!("a={}", text("a")), format!("b={}", text("b")));
        let metric = text("metric");
        let mut args = vec!["search", "-t", &truth, &a, &b, "--metric", &metric, "-o", "out", "-f", "-q"];
        for target in case["targets"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str) {
            args.extend(["--target", target]);
        }
        args.extend(["--max-steps", "0"]);
        if case["weighted"] == true {
            args.extend(["--sample-weight", "w"]);
        }
        args.extend(case["flags"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str));
        let members = &cmd("hill-climb").args(args).within(folder.path()).succeeds().manifest()["metrics"]["members"];
        for name in ["a", "b"] {
            let (ours, theirs) = (members[name].as_f64().unwrap(), case["scores"][name].as_f64().unwrap());
            assert!((ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0), "{case}: {name} is {ours}");
        }
    }
}
