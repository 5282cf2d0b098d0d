//! Folds: searched on the other rows, judged on their own; wrong ones are refused.

use std::fs;

use common::seed::rng_for;
use rand::RngExt;

use super::data::{Numbers, ROWS, csv, json, labels, mixed, numbers, put, search, weights};
use crate::support::cmd;

#[test]
fn folds_search_on_the_other_rows_and_judge_on_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let Numbers { y, folds, members } = numbers(folder.path());
    let flags = ["--metric", "rmse", "--fold-column", "fold"];
    let outcome = search(folder.path(), "out", &flags).succeeds();
    let found = json(folder.path(), "out");
    let honest = &found["out_of_fold"];
    let all: Vec<&[f64]> = members.iter().map(|(_, p)| p.as_slice()).collect();
    let mut scores = vec![];
    for fold in 0..3 {
        let held: Vec<usize> = (0..ROWS).filter(|row| row % 3 == fold).collect();
        let others: Vec<usize> = (0..ROWS).filter(|row| row % 3 != fold).collect();
        let rmse = |p: &dyn Fn(usize) -> f64, rows: &[usize]| {
            (rows.iter().map(|&row| (y[row] - p(row)).powi(2)).sum::<f64>() / rows.len() as f64).sqrt()
        };
        // The same search on a table of the other rows.
        let name = format!("others{fold}.csv");
        let lines: String = others.iter().map(|row| format!("{},{},{}\n", row + 100, y[*row], folds[*row])).collect();
        put(folder.path(), &name, &format!("id,y,fold\n{lines}"));
        let out = format!("other{fold}");
        let args = ["search", "-t", &name, "--target", "y", "a.csv", "b.csv", "c.csv", "-o", &out, "--metric", "rmse"];
        cmd("hill-climb").args(args).within(folder.path()).succeeds();
        let own = weights(&json(folder.path(), &out)["weights"]);
        let best = (0..3).min_by(|&a, &b| rmse(&|r| all[a][r], &others).total_cmp(&rmse(&|r| all[b][r], &others)));
        let best = best.unwrap();
        let third = [1.0 / 3.0; 3];
        let expected = [
            rmse(&|row| mixed(&all, own, row), &held),
            rmse(&|row| all[best][row], &held),
            rmse(&|row| mixed(&all, third, row), &held),
        ];
        let said = &honest["folds"][fold];
        assert_eq!((said["rows"].as_u64(), said["best_member"].as_str()), (Some(80), Some(members[best].0)));
        for (which, expected) in expected.iter().enumerate() {
            assert!((said["scores"][which].as_f64().unwrap() - expected).abs() < 1e-12, "{said} {expected}");
        }
        scores.push(expected);
    }
    let mean = |which: usize| scores.iter().map(|s| s[which]).sum::<f64>() / 3.0;
    for (which, name) in ["blend", "best_member", "equal_weights"].iter().enumerate() {
        assert!((honest[name]["mean"].as_f64().unwrap() - mean(which)).abs() < 1e-12);
    }
    let gains: Vec<f64> = scores.iter().map(|s| s[1] - s[0]).collect();
    let middle = gains.iter().sum::<f64>() / 3.0;
    let error = (gains.iter().map(|g| (g - middle).powi(2)).sum::<f64>() / 2.0 / 3.0).sqrt();
    assert!((honest["gain"]["standard_error"].as_f64().unwrap() - error).abs() < 1e-12);
    assert_eq!(honest["better"], middle > error);
    let manifest = outcome.manifest();
    assert_eq!(manifest["metrics"]["out_of_fold"]["blend"], honest["blend"]);
    for said in ["out of 3 folds", "std error", "best member", "gain over best member"] {
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
    // The final weights come from all rows.
    search(folder.path(), "plain", &["--metric", "rmse"]).succeeds();
    assert_eq!(json(folder.path(), "plain")["weights"], found["weights"]);
}

#[test]
fn a_blend_that_is_no_better_than_its_best_member_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let Numbers { y, .. } = numbers(folder.path());
    let mut rng = rng_for(9, "junk", 0);
    for (name, noise) in [("a", 0.01), ("b", 4.0), ("c", 4.0)] {
        let p: Vec<f64> = y.iter().map(|y| y + rng.random_range(-noise..noise)).collect();
        csv(folder.path(), &format!("{name}.csv"), "y", &[&p]);
    }
    let said = "out of fold the blend is not better than the best member beyond noise";
    let args = ["--metric", "rmse", "--folds", "5", "--step", "0.0005", "--step-range", "-0.01,0.01"];
    let outcome = search(folder.path(), "junk", &args).succeeds().says(said);
    assert_eq!(outcome.manifest()["metrics"]["out_of_fold"]["better"], false);
    numbers(folder.path());
    let outcome = search(folder.path(), "good", &["--metric", "rmse", "--folds", "5"]).succeeds();
    assert!(!outcome.stderr.contains(said) && outcome.manifest()["metrics"]["out_of_fold"]["better"] == true);
    // Folds hang on the seed alone.
    let folds = |out: &str, seed: &str| {
        search(folder.path(), out, &["--metric", "mae", "--folds", "4", "--seed", seed]).succeeds();
        json(folder.path(), out)["out_of_fold"].clone()
    };
    let first = folds("one", "1");
    assert!(first == folds("again", "1") && first != folds("two", "2"));
    search(folder.path(), "x", &["--folds", "1"]).fails(2).says("`folds` is below 2");
    search(folder.path(), "x", &["--folds", "300"]).fails(2).says("300 folds for 240 rows");
    search(folder.path(), "x", &["--fold-column", "y", "--folds", "3"]).fails(2);
    search(folder.path(), "x", &["--fold-column", "z"]).fails(3).says("z");
}

#[test]
fn wrong_folds_weights_and_ids_are_bad_input_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (y, _) = labels(folder.path());
    let refused = |column: &str, values: &dyn Fn(usize) -> String, flags: &[&str], says: &[&str]| {
        let lines: String = (0..ROWS).map(|row| format!("{},{},{}\n", row + 100, y[row], values(row))).collect();
        put(folder.path(), "odd.csv", &format!("id,y,{column}\n{lines}"));
        let args =
            ["search", "-t", "odd.csv", "--target", "y", "a.csv", "b.csv", "c.csv", "-o", "x", "--metric", "auc"];
        let outcome = cmd("hill-climb").args(args).args(flags).within(folder.path()).fails(3);
        assert!(
            says.iter().chain(&["odd.csv", "hint: "]).all(|text| outcome.stderr.contains(text)),
            "{}",
            outcome.stderr
        );
        assert!(!folder.path().join("x/stage.json").exists());
    };
    let weights = ["--sample-weight", "w"];
    refused("w", &|_| "0".into(), &weights, &["column `w`: all rows have the weight 0", "--sample-weight"]);
    refused("w", &|row| if row == 7 { "-1".into() } else { "1".into() }, &weights, &["row 7, column `w`"]);
    refused("w", &|row| if row == 7 { String::new() } else { "1".into() }, &weights, &["row 7, column `w`"]);
    refused("w", &|row| y[row].to_string(), &weights, &["all rows with a weight are 1"]);
    let folds = ["--fold-column", "fold"];
    refused("fold", &|row| y[row].to_string(), &folds, &["fold 0: column `y`: `auc` needs two classes"]);
    refused(
        "fold",
        &|row| if row == 9 { String::new() } else { (row % 2).to_string() },
        &folds,
        &["row 9, column `fold`"],
    );
    refused("fold", &|_| "only".into(), &folds, &["all rows are in one fold"]);
    // Folds may have names.
    let lines: String = (0..ROWS).map(|row| format!("{},{},f{}\n", row + 100, y[row], row % 3)).collect();
    put(folder.path(), "odd.csv", &format!("id,y,fold\n{lines}"));
    let args = ["search", "-t", "odd.csv", "--target", "y", "a.csv", "b.csv", "-o", "named", "--metric", "auc"];
    cmd("hill-climb").args(args).args(folds).within(folder.path()).succeeds();
    assert_eq!(json(folder.path(), "named")["out_of_fold"]["folds"].as_array().unwrap().len(), 3);
    // An id twice: the column and the flag.
    let text = fs::read_to_string(folder.path().join("b.csv")).unwrap().replace("\n107,", "\n106,");
    put(folder.path(), "b.csv", &text);
    let twice = search(folder.path(), "x", &["--metric", "auc"]).fails(3);
    for said in ["`b.csv`: row 7: the id `106` appeared in row 6", "column `id`", "--id COLUMN"] {
        assert!(twice.stderr.contains(said), "{}", twice.stderr);
    }
}
