//! `hill-climb` as a blending tool: folds, starts, bags, spaces, metrics of a user's own, and the page about it.

#[path = "blending_data.rs"]
mod data;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::seed::rng_for;
use data::{Numbers, ROWS, csv, json, labels, mixed, numbers, put, python, python_with, search, weights};
use rand::RngExt;
use serde_json::Value;
use support::{cmd, root};

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
fn starts_limits_bags_and_sums_are_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    numbers(folder.path());
    let found = |out: &str, more: &[&str]| {
        search(folder.path(), out, &[&["--metric", "rmse"][..], more].concat()).succeeds();
        json(folder.path(), out)
    };
    let equal = found("equal", &["--start", "equal", "--max-steps", "0"]);
    assert_eq!(weights(&equal["weights"]), [1.0 / 3.0; 3]);
    put(folder.path(), "start.csv", "model,weight\nc,0.25\na,0.75\n");
    let given = found("given", &["--start", "start.csv", "--max-steps", "0"]);
    assert_eq!(weights(&given["weights"]), [0.75, 0.0, 0.25]);
    let climbed = found("climbed", &["--start", "start.csv"]);
    assert!(climbed["score"].as_f64() < given["score"].as_f64());
    let few = found("few", &["--max-models", "2", "--with-replacement"]);
    assert_eq!(weights(&few["weights"]).iter().filter(|w| **w != 0.0).count(), 2);

    let bagged = found("bags", &["--bags", "7", "--set", "bag_share=0.6"]);
    let bags = bagged["bags"].as_array().unwrap();
    assert_eq!(bags.len(), 7);
    assert!(bags.iter().all(|bag| weights(bag).iter().filter(|w| **w != 0.0).count() <= 2), "{bags:?}");
    for (name, weight) in bagged["weights"].as_object().unwrap() {
        let each: Vec<f64> = bags.iter().map(|bag| bag[name].as_f64().unwrap()).collect();
        let mean = each.iter().sum::<f64>() / 7.0;
        let spread = (each.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / 6.0).sqrt();
        assert!((weight.as_f64().unwrap() - mean).abs() < 1e-12);
        assert!((bagged["weight_spread"][name].as_f64().unwrap() - spread).abs() < 1e-12);
    }
    let history = fs::read_to_string(folder.path().join("bags/history.csv")).unwrap();
    assert!(history.contains("\nall/bag 6,0,start,"), "{history}");
    assert!(fs::read_to_string(folder.path().join("bags/report.html")).unwrap().contains("Weights of 7 bags"));
    assert_eq!(found("again", &["--bags", "7", "--set", "bag_share=0.6"])["bags"], bagged["bags"]);

    // Members are a tenth too large: the free sum is near 1 / 1.1.
    let optimum = ["--method", "optimum"];
    let (one, free) = (found("one", &optimum), found("free", &[&optimum[..], &["--free-sum"]].concat()));
    let sum = |value: &Value| weights(&value["weights"]).iter().sum::<f64>();
    assert!((sum(&one) - 1.0).abs() < 1e-12 && (sum(&free) - 1.0 / 1.1).abs() < 0.03, "{}", sum(&free));
    assert!(free["score"].as_f64() < one["score"].as_f64() && free["sum_one"] == false);
    let climbed = found("free_climb", &["--free-sum", "--with-replacement"]);
    assert!(climbed["score"].as_f64().unwrap() < one["score"].as_f64().unwrap());
    assert!(!fs::read_to_string(folder.path().join("free/weights.csv")).unwrap().contains("nothing"));
    for name in ["a", "b", "c"] {
        let text = fs::read_to_string(folder.path().join(format!("{name}.csv"))).unwrap();
        put(folder.path(), &format!("{name}_test.csv"), &text);
    }
    let args = ["blend", "-w", "free/weights.json", "a=a_test.csv", "b=b_test.csv", "c=c_test.csv", "-o", "sub"];
    let outcome = cmd("hill-climb").args(args).within(folder.path()).succeeds();
    assert!(!outcome.stderr.contains("sum to 1"), "{}", outcome.stderr);

    put(folder.path(), "start.csv", "model,weight\nd,1\n");
    search(folder.path(), "x", &["--start", "start.csv"]).fails(3).says("the model `d` is none of the members");
    put(folder.path(), "start.csv", "model,weight\na,0.5\n");
    search(folder.path(), "x", &["--start", "start.csv"]).fails(3).says("sum to 0.5, expected 1");
    search(folder.path(), "x", &["--start", "start.csv", "--free-sum", "--metric", "rmse"]).succeeds();
    search(folder.path(), "y", &["--start", "equal", "--max-models", "2"]).fails(2).says("starts with 3 models");
}

#[test]
fn every_target_may_have_weights_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let Numbers { y, members, .. } = numbers(folder.path());
    let turned: Vec<f64> = y.iter().map(|y| 10.0 - y).collect();
    csv(folder.path(), "train.csv", "y,z", &[&y, &turned]);
    // For `z`, the members change places.
    for (k, (name, p)) in members.iter().enumerate() {
        let z: Vec<f64> = members[2 - k].1.iter().map(|p| 10.0 - p).collect();
        csv(folder.path(), &format!("{name}.csv"), "y,z", &[p, &z]);
    }
    let args = ["search", "-t", "train.csv", "a.csv", "b.csv", "c.csv", "--metric", "mae", "-o", "out", "--per-target"];
    cmd("hill-climb").args(args).within(folder.path()).succeeds();
    let found = json(folder.path(), "out");
    let own = |k: usize| weights(&found["groups"][k]["weights"]);
    assert_eq!((found["groups"][0]["name"].as_str(), found["groups"][1]["name"].as_str()), (Some("y"), Some("z")));
    assert!(own(0)[0] > own(0)[2] && own(1)[2] > own(1)[0], "{found}");
    let table = fs::read_to_string(folder.path().join("out/weights.csv")).unwrap();
    assert!(table.starts_with("model,weight,y,z\n"), "{table}");
    cmd("hill-climb")
        .args(args)
        .args(["--per-group", "-f"])
        .within(folder.path())
        .fails(2)
        .says("excludes `per_group`");
}

fn numbers_of(folder: &Path, file: &str) -> Vec<Vec<f64>> {
    let text = fs::read_to_string(folder.join(file)).unwrap();
    text.lines().skip(1).map(|line| line.split(',').skip(1).map(|v| v.parse().unwrap()).collect()).collect()
}

#[test]
fn spaces_are_searched_stored_and_applied() {
    let folder = tempfile::tempdir().unwrap();
    let (y, members) = labels(folder.path());
    let all: Vec<&[f64]> = members.iter().map(Vec::as_slice).collect();
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let spaced = |space: &str, w: [f64; 3], row: usize| -> f64 {
        match space {
            "logit" => {
                let z: f64 = (0..3).map(|k| w[k] * logit(all[k][row])).sum();
                1.0 / (1.0 + (-z).exp())
            }
            "geometric" => (0..3).map(|k| w[k] * all[k][row].ln()).sum::<f64>().exp(),
            "rank" => {
                let rank = |k: usize| all[k].iter().filter(|p| **p <= all[k][row]).count() as f64 / ROWS as f64;
                (0..3).map(|k| w[k] * rank(k)).sum()
            }
            _ => mixed(&all, w, row),
        }
    };
    for (space, metric) in [("value", "logloss"), ("logit", "logloss"), ("geometric", "logloss"), ("rank", "auc")] {
        let out = format!("out_{space}");
        let args = ["--metric", metric, "--space", space, "--write-oof", "--folds", "3"];
        search(folder.path(), &out, &args).succeeds();
        let found = json(folder.path(), &out);
        let w = weights(&found["weights"]);
        let p: Vec<f64> = (0..ROWS).map(|row| spaced(space, w, row)).collect();
        let expected = if metric == "auc" {
            let (mut right, mut pairs) = (0.0, 0.0);
            for i in (0..ROWS).filter(|&i| y[i] == 1.0) {
                for j in (0..ROWS).filter(|&j| y[j] == 0.0) {
                    pairs += 1.0;
                    right += if p[i] > p[j] {
                        1.0
                    } else if p[i] == p[j] {
                        0.5
                    } else {
                        0.0
                    };
                }
            }
            right / pairs
        } else {
            // As scikit-learn: a blend of values may leave the probabilities.
            let q = |row: usize| p[row].clamp(f64::EPSILON, 1.0 - f64::EPSILON);
            let one = |row: usize| -if y[row] == 1.0 { q(row).ln() } else { (1.0 - q(row)).ln() };
            (0..ROWS).map(one).sum::<f64>() / ROWS as f64
        };
        assert!((found["score"].as_f64().unwrap() - expected).abs() < 1e-9, "{space}: {found} {expected}");
        // Members stand for submissions: the blend has the same numbers, from both tables of weights.
        for table in ["weights.json", "weights.csv"] {
            let (table, sub) = (format!("{out}/{table}"), format!("sub_{space}"));
            let args = ["blend", "-w", &table, "a.csv", "b.csv", "c.csv", "-o", &sub, "-f"];
            cmd("hill-climb").args(args).within(folder.path()).succeeds();
            for (row, found) in numbers_of(folder.path(), &format!("{sub}/submission.csv")).iter().enumerate() {
                assert!((found[0] - p[row]).abs() < 1e-12, "{space} {row}: {found:?} {}", p[row]);
            }
        }
    }
    let table = fs::read_to_string(folder.path().join("out_logit/weights.csv")).unwrap();
    assert!(table.starts_with("model,weight,space\n") && table.lines().nth(1).unwrap().ends_with(",logit"), "{table}");
    let plain = fs::read_to_string(folder.path().join("out_value/weights.csv")).unwrap();
    assert!(plain.starts_with("model,weight\n"), "{plain}");
    // Another space than that of the weights only where it is asked for.
    let args = ["blend", "-w", "out_logit", "a.csv", "b.csv", "c.csv", "-o", "other", "--space", "value"];
    cmd("hill-climb").args(args).within(folder.path()).succeeds();
    let w = weights(&json(folder.path(), "out_logit")["weights"]);
    let other = numbers_of(folder.path(), "other/submission.csv");
    assert!((other[7][0] - mixed(&all, w, 7)).abs() < 1e-12);
    let args = ["blend", "-w", "out_logit", "a.csv", "b.csv", "c.csv", "-o", "x", "--space", "logits"];
    cmd("hill-climb").args(args).within(folder.path()).fails(2).says("`--space logits` is none of value, rank");
    search(folder.path(), "x", &["--metric", "logloss", "--space", "rank"]).fails(2).says("which only auc");
    search(folder.path(), "x", &["--metric", "auc", "--space", "log"]).fails(2).says("geometric");
}

#[test]
fn classes_sum_to_one_and_no_probability_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = rng_for(6, "classes", 0);
    let names = ["cat", "dog", "owl"];
    let classes: Vec<usize> = (0..ROWS).map(|_| rng.random_range(0..3)).collect();
    let lines: String = classes.iter().enumerate().map(|(i, c)| format!("{},{}\n", i + 100, names[*c])).collect();
    put(folder.path(), "train.csv", &format!("id,y\n{lines}"));
    for (name, noise) in [("a", 0.6), ("b", 1.0), ("c", 1.5)] {
        let mut columns = vec![vec![]; 3];
        for class in &classes {
            let e = [0, 1, 2].map(|c| (f64::from(c == *class) + rng.random_range(0.0..noise)).exp());
            let sum: f64 = e.iter().sum();
            columns.iter_mut().zip(e).for_each(|(column, e)| column.push(e / sum));
        }
        csv(folder.path(), &format!("{name}.csv"), "cat,dog,owl", &[&columns[0], &columns[1], &columns[2]]);
    }
    for space in ["geometric", "logit"] {
        let out = format!("out_{space}");
        search(folder.path(), &out, &["--metric", "logloss", "--space", space, "--folds", "3"]).succeeds();
        let found = json(folder.path(), &out);
        assert_eq!(found["space"], format!("{space}_classes"));
        let (table, sub) = (format!("{out}/weights.csv"), format!("sub_{space}"));
        let args = ["blend", "-w", &table, "a.csv", "b.csv", "c.csv", "-o", &sub];
        cmd("hill-climb").args(args).within(folder.path()).succeeds();
        let blended = numbers_of(folder.path(), &format!("{sub}/submission.csv"));
        let mut loss = 0.0;
        for (row, p) in blended.iter().enumerate() {
            assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{p:?}");
            loss -= p[classes[row]].ln() / ROWS as f64;
        }
        assert!((loss - found["score"].as_f64().unwrap()).abs() < 1e-12, "{space}: {loss} {found}");
    }
    let text = fs::read_to_string(folder.path().join("b.csv")).unwrap();
    let broken: String = text
        .lines()
        .map(|l| if l.starts_with("103,") { "103,1.5,0.1,0.1\n".into() } else { format!("{l}\n") })
        .collect();
    put(folder.path(), "b.csv", &broken);
    let problem = "`b.csv`: row 3, column `cat`: the value is 1.5; the space `logit` needs probabilities";
    search(folder.path(), "x", &["--metric", "logloss", "--space", "logit"]).fails(3).says(problem);
    let args = ["blend", "-w", "out_logit", "a.csv", "b.csv", "c.csv", "-o", "x"];
    cmd("hill-climb").args(args).within(folder.path()).fails(3).says(problem);
}

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

/// The blocks of a kind below a line of the page about blending.
fn block(kind: &str, with: &str) -> String {
    let page = fs::read_to_string(root().join("docs/blending.md")).unwrap();
    let fence = format!("```{kind}\n");
    let mut blocks = page.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.find(|block| block.contains(with)).unwrap_or_else(|| panic!("no `{kind}` block with `{with}`"))
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

#[test]
fn the_commands_of_the_page_on_blending_run() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    // Not a link: a Python of a virtual environment looks beside its own path for its packages.
    let starter = format!("#!/bin/sh\nexec {} \"$@\"\n", python.to_string_lossy());
    put(&programs, "python3", &starter);
    fs::set_permissions(programs.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(root().join("docs"), folder.path().join("docs")).unwrap();
    put(folder.path(), "my_metric.py", &block("python", "mean_pinball_loss"));
    let page = fs::read_to_string(root().join("docs/blending.md")).unwrap();
    let tested = page.split("<!-- test -->\n```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let mut blocks: Vec<String> = tested.collect();
    assert_eq!(blocks.len(), 4, "one makes the competitions, three blend them");
    blocks.push(block("sh", "--metric-command"));
    let mut search = programs.into_os_string();
    search.push(":");
    search.push(support::binary("hill-climb").parent().unwrap());
    search.push(":");
    search.push(std::env::var_os("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &format!("set -euo pipefail\n{}", blocks.join("\n"))])
        .current_dir(folder.path())
        .env("PATH", search)
        .env("NO_COLOR", "1")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    for (name, columns) in [("churn", 1), ("prices", 1), ("animals", 3)] {
        let rows = numbers_of(folder.path(), &format!("{name}/final/submission.csv"));
        assert!(rows.len() == 400 && rows.iter().all(|row| row.len() == columns), "{name}: {}", rows.len());
        let found = json(folder.path(), &format!("{name}/weights"));
        assert_eq!(found["out_of_fold"]["folds"].as_array().unwrap().len(), 5);
    }
}

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
fn the_result_holds_history_correlations_and_the_spread_of_weights() {
    let folder = tempfile::tempdir().unwrap();
    let Numbers { y, members, .. } = numbers(folder.path());
    let flags = ["--metric", "mae", "--bootstrap", "12", "--folds", "3", "--with-replacement"];
    search(folder.path(), "out", &flags).succeeds();
    let found = json(folder.path(), "out");
    // The history is that of the table.
    let steps = found["history"].as_array().unwrap();
    let table = fs::read_to_string(folder.path().join("out/history.csv")).unwrap();
    assert_eq!(table.lines().count(), steps.len() + 1);
    for (step, line) in steps.iter().zip(table.lines().skip(1)) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!((step["step"].to_string().as_str(), step["model"].as_str()), (fields[1], Some(fields[3])));
        assert_eq!(step["score"].as_f64().unwrap(), fields[6].parse::<f64>().unwrap());
    }
    assert_eq!(steps.last().unwrap()["score"], found["score"]);
    // Errors go together as they do by the definition.
    let errors: Vec<Vec<f64>> = members.iter().map(|(_, p)| p.iter().zip(&y).map(|(p, y)| y - p).collect()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert_eq!(found["correlations"]["of"], "errors");
    assert_eq!(found["correlations"]["models"], serde_json::json!(["a", "b", "c"]));
    for k in 0..3 {
        for m in 0..3 {
            let scale = (dot(&errors[k], &errors[k]) * dot(&errors[m], &errors[m])).sqrt();
            let said = found["correlations"]["matrix"][k][m].as_f64().unwrap();
            assert!((said - dot(&errors[k], &errors[m]) / scale).abs() < 1e-9, "{k} {m}: {said}");
        }
    }
    // Weights of resamples: quantiles rise, and hang on the seed alone.
    let bootstrap = &found["bootstrap"];
    assert_eq!((bootstrap["resamples"].as_u64(), bootstrap["levels"][2].as_f64()), (Some(12), Some(0.5)));
    for (name, _) in &members {
        let of = &bootstrap["weights"][name];
        let quantiles: Vec<f64> = of["quantiles"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        assert!(quantiles.len() == 5 && quantiles.windows(2).all(|pair| pair[0] <= pair[1]), "{of}");
        let (mean, std, taken) = (of["mean"].as_f64(), of["std"].as_f64().unwrap(), of["taken"].as_f64().unwrap());
        assert!(mean.unwrap() >= quantiles[0] - 3.0 * std && (0.0..=1.0).contains(&taken), "{of}");
    }
    let stds = members.iter().map(|(name, _)| bootstrap["weights"][name]["std"].as_f64().unwrap());
    assert!(stds.sum::<f64>() > 0.0, "{bootstrap}");
    search(folder.path(), "again", &flags).succeeds();
    assert_eq!(&json(folder.path(), "again")["bootstrap"], bootstrap);
    let page = fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("Weights of 12 resamples of the rows") && page.contains("Correlations of the members"));
    // Figures beside each other; folds say their weights.
    let figures = &found["in_sample"];
    assert_eq!(figures["blend"], found["score"]);
    let best = ["a", "b", "c"].iter().map(|name| found["alone"][name].as_f64().unwrap()).fold(f64::INFINITY, f64::min);
    assert_eq!(figures["best_member"].as_f64(), Some(best));
    let equal: Vec<f64> = (0..ROWS).map(|row| errors.iter().map(|e| e[row]).sum::<f64>() / 3.0).collect();
    let equal = equal.iter().map(|e| e.abs()).sum::<f64>() / ROWS as f64;
    assert!((figures["equal_weights"].as_f64().unwrap() - equal).abs() < 1e-12);
    for fold in found["out_of_fold"]["folds"].as_array().unwrap() {
        assert!((weights(&fold["weights"]).iter().sum::<f64>() - 1.0).abs() < 1e-9, "{fold}");
    }
    // Where only the order counts, it is the predictions that are compared.
    labels(folder.path());
    search(folder.path(), "order", &["--metric", "auc"]).succeeds();
    let found = json(folder.path(), "order");
    assert_eq!(found["correlations"]["of"], "predictions");
    assert!((found["correlations"]["matrix"][1][1].as_f64().unwrap() - 1.0).abs() < 1e-12);
    assert!(found["bootstrap"].is_null());
}

#[test]
fn a_weight_counts_as_a_repetition_and_takes_all_methods() {
    let folder = tempfile::tempdir().unwrap();
    let Numbers { y, members, .. } = numbers(folder.path());
    let times = |row: usize| 1 + row % 3;
    let weights_of_rows: Vec<f64> = (0..ROWS).map(|row| times(row) as f64).collect();
    csv(folder.path(), "train.csv", "y,w", &[&y, &weights_of_rows]);
    fs::create_dir(folder.path().join("long")).unwrap();
    let long = |values: &[f64]| -> Vec<f64> {
        (0..ROWS).flat_map(|row| std::iter::repeat_n(values[row], times(row))).collect()
    };
    csv(folder.path(), "long/train.csv", "y", &[&long(&y)]);
    for (name, p) in &members {
        csv(folder.path(), &format!("long/{name}.csv"), "y", &[&long(p)]);
    }
    for (metric, more) in [
        ("rmse", ""),
        ("r2", "--polish --with-replacement"),
        ("mse", "--method optimum"),
        ("mae", ""),
        ("pearson", ""),
        ("spearman", "--max-steps 0"),
        ("rmsle", "--space geometric"),
        ("smape", ""),
    ] {
        let flags: Vec<&str> = ["--metric", metric].into_iter().chain(more.split_whitespace()).collect();
        search(folder.path(), "w", &[&flags[..], &["-f", "--sample-weight", "w"]].concat()).succeeds();
        search(&folder.path().join("long"), "w", &[&flags[..], &["-f"]].concat()).succeeds();
        let (one, other) = (json(folder.path(), "w"), json(&folder.path().join("long"), "w"));
        if metric != "spearman" {
            assert!((one["score"].as_f64().unwrap() - other["score"].as_f64().unwrap()).abs() < 1e-12, "{metric}");
        }
        for (a, b) in weights(&one["weights"]).iter().zip(weights(&other["weights"])) {
            assert!((a - b).abs() < 1e-9, "{metric}: {one} {other}");
        }
    }
}
