//! `predict`: submissions of one network and of seven, and what is refused.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::support::{Cmd, cmd};
use crate::training::{train, workshop};
use tempfile::TempDir;

fn base() -> &'static Path {
    static BASE: OnceLock<TempDir> = OnceLock::new();
    BASE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        train(&folder.path().join("base")).arg("training.epochs=1").succeeds();
        folder
    })
    .path()
}

fn predict(out: &Path) -> Cmd {
    let args = ["--from", "base", "-q", "--threads", "1", "--device=cpu", "--csv", "--out"];
    cmd("predict").args(args).arg(out).within(base())
}

fn sample() -> std::path::PathBuf {
    let mut open = vec![workshop().join("raw")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => open.push(path),
                path if path.ends_with("sample_submission.csv") => return path,
                _ => {}
            }
        }
    }
    panic!("no sample submission was simulated");
}

fn rows(folder: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder.join("tiny.csv")).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn a_submission_has_the_samples_header_ids_and_order() {
    let out = tempfile::tempdir().unwrap();
    let manifest = predict(out.path()).arg("--sample").arg(sample()).succeeds().manifest();
    assert_eq!((manifest["stage"].as_str(), manifest["metrics"]["rows"].as_u64()), (Some("predict"), Some(20)));
    assert_eq!(manifest["outputs"]["submission"]["path"], "tiny.parquet");
    let (ours, sample) = (rows(out.path()), fs::read_to_string(sample()).unwrap());
    let ids: Vec<&str> = sample.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(ours.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ids);
    assert_eq!(ours[0].join(","), sample.lines().next().unwrap());
    let column = |name: &str| ours[0].iter().position(|n| n == name).unwrap();
    assert!(ours[1..].iter().all(|row| row[column("ptend_u_3")].parse::<f64>() == Ok(0.0)));
    assert!(ours[1..].iter().all(|row| row.iter().skip(1).all(|v| v.parse::<f64>().unwrap().is_finite())));
}

#[test]
fn the_batch_size_changes_values_by_rounding_only() {
    // Kernels may sum in another order for another number of rows: equal to rounding is all that is promised.
    let values = |extra: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        predict(out.path()).args(extra).succeeds();
        rows(out.path())
    };
    let sevens = values(&["--batch-size=7"]);
    assert_eq!(sevens, values(&["batch_size=7"]), "the flag is short for the key");
    for (a, b) in values(&[]).iter().zip(sevens).skip(1) {
        for (a, b) in a.iter().zip(b).skip(1) {
            let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
            assert!((a - b).abs() <= 1e-4 * a.abs().max(1e-12), "{a:e} {b:e}");
        }
    }
}

#[test]
fn seven_equal_networks_predict_as_one() {
    let weights = base().join("base/checkpoints/best/ema.safetensors");
    let with = |count: usize| {
        let out = tempfile::tempdir().unwrap();
        let args = ["-q", "--threads", "1", "--device=cpu", "--csv", "--data"];
        let mut run =
            cmd("predict").args(args).arg(workshop().join("data")).arg("--out").arg(out.path()).arg("--weights");
        for _ in 0..count {
            run = run.arg(&weights);
        }
        let outcome = run.run();
        (outcome.code, outcome.stderr, fs::read(out.path().join("tiny.csv")).unwrap_or_default())
    };
    let (one, seven) = (with(1), with(7));
    assert_eq!((one.0, seven.0), (Some(0), Some(0)), "{}{}", one.1, seven.1);
    assert!(one.2 == seven.2 && !one.2.is_empty());
    let two = with(2);
    assert_eq!(two.0, Some(2), "{}", two.1);
    assert!(two.1.contains("expected 1 or 7"), "{}", two.1);
}

#[test]
fn a_sample_of_other_rows_or_columns_is_refused_before_anything_is_written() {
    let text = fs::read_to_string(sample()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("sample.csv");
    for (from, to, says) in [("test_", "row_", "the id"), ("ptend_t_1,", "ptend_t_x,", "ptend_t_1")] {
        common::durable::write(&changed, text.replace(from, to).as_bytes()).unwrap();
        let out = tempfile::tempdir().unwrap();
        predict(out.path()).arg("--sample").arg(&changed).fails(3).says(says);
        assert!(!out.path().join("tiny.parquet").exists() && !out.path().join("stage.json").exists());
    }
}

#[test]
fn a_diverged_network_gives_no_submission() {
    let folder = tempfile::tempdir().unwrap();
    let weights = base().join("base/checkpoints/best/ema.safetensors");
    let file = common::store::tensors::TensorFile::open(&weights).unwrap();
    let names: Vec<String> = file.names().map(str::to_owned).collect();
    let args = ["-q", "--device=cpu", "--out", "out", "--data"];
    let predicted_with = |broken: &str, value: f32| {
        let filled = value.to_le_bytes().repeat(file.bytes(broken).unwrap().len() / 4);
        let views: Vec<_> = names
            .iter()
            .map(|name| {
                let view = file.view(name).unwrap();
                if name == broken { common::store::tensors::TensorView { bytes: &filled, ..view } } else { view }
            })
            .collect();
        let weights = folder.path().join("broken.safetensors");
        common::store::tensors::write(&weights, &views, file.metadata()).unwrap();
        cmd("predict").args(args).arg(workshop().join("data")).arg("--weights").arg(&weights).within(folder.path())
    };
    predicted_with("fc2.weight", f32::MAX).fails(1).says("not finite");
    predicted_with("fc2.bias", f32::NAN).fails(3).says("`fc2.bias`").says("broken.safetensors");
    assert!(!folder.path().join("out/tiny.parquet").exists());
}

#[test]
fn the_zero_list_of_the_checkpoint_becomes_zero_columns() {
    let out = tempfile::tempdir().unwrap();
    let applied = predict(out.path()).succeeds().manifest();
    let ignored = tempfile::tempdir().unwrap();
    let none = predict(ignored.path()).args(["--zero-list", "ignore"]).succeeds().manifest();
    assert!(applied["metrics"]["zero_list"].as_u64().unwrap() > 0, "{applied}");
    assert_eq!(none["metrics"]["zero_list"], 0);
    let zeros = |folder: &Path| rows(folder)[1].iter().filter(|v| v.parse::<f64>() == Ok(0.0)).count();
    assert!(zeros(out.path()) > zeros(ignored.path()));
}

#[test]
fn only_a_complete_submission_comes_with_the_command_that_submits_it() {
    let says = |extra: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let args = ["--from", "base", "--threads", "1", "--device=cpu", "--out"];
        cmd("predict").args(args).arg(out.path()).args(extra).within(base()).succeeds().stderr
    };
    assert!(says(&[]).contains("kaggle competitions submit"));
    let limited = says(&["--limit", "5"]);
    assert!(limited.contains("5 rows") && !limited.contains("kaggle"), "{limited}");
}

#[test]
fn a_config_for_networks_that_take_none_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let config = crate::support::root().join("configs/leap/adam/exp195.yaml");
    let args = ["--from", "base", "-q", "--out"];
    cmd("predict").arg(config).args(args).arg(out.path()).within(base()).fails(2).says("takes no config");
}
