//! Spaces: searched, stored with the weights and applied.

use std::fs;

use common::seed::rng_for;
use rand::RngExt;

use super::data::{ROWS, csv, json, labels, mixed, numbers_of, put, search, weights};
use crate::support::cmd;

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
