//! Weights: of models, as starts, limits and bags are asked for, with what the result says of them; and of rows.

use std::fs;

use serde_json::Value;

use super::data::{Numbers, ROWS, csv, json, labels, numbers, put, search, weights};
use crate::support::cmd;

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
