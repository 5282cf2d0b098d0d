//! `prepare-data leap`: what it writes, what it refuses, how it goes on after a kill, how much memory it takes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::leap_raw::{prepare, prepare_config, rewrite, simulate_config, small, step_file};
use crate::support::{Outcome, binary, cmd};
use common::durable;
use common::store::netcdf::NcKind;
use common::store::tables::ParquetFile;
use common::store::tensors::TensorFile;

/// Content hash of every file below a folder, but for those that hold times.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                walk(root, &path, found);
            } else if !["stage.json", "run.jsonl", ".lock", ".verified.jsonl"].contains(&name.as_str()) {
                found.insert(name, durable::hash_file(&path).unwrap().blake3);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// Nothing that looks finished, and no temporaries.
#[track_caller]
fn assert_nothing_half_written(out: &Path, damaged_set: &str) {
    if !out.exists() {
        return;
    }
    for name in contents(out).keys() {
        assert!(!name.contains(".podium-tmp"), "{name}");
        assert!(!name.contains(damaged_set), "{name}");
    }
    assert!(!out.join("stage.json").exists());
}

#[test]
fn a_pipe_from_simulated_data_gives_all_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let months = "  - {months: [0001-02], days: 2, step_stride: 24}\n  - {months: [0008-07], days: 1, step_stride: 24}";
    let simulate = simulate_config(folder.path(), 3, months, 5, 0);
    let line =
        cmd("simulate-data").arg("leap").arg(simulate).arg("-o").arg(folder.path().join("sim")).succeeds().stdout;
    let config = prepare_config(folder.path(), "index: {draw: {months: [0001-02]}}\n");
    let out = folder.path().join("data");
    let outcome =
        cmd("prepare-data").arg("leap").arg(config).args(["--from", "-"]).arg("-o").arg(&out).stdin(line).succeeds();
    let manifest = outcome.manifest();
    for name in
        ["a/train_01_02", "b/train_08_07", "a/valid", "b/valid", "a/test", "b/test", "valid_table", "a/v3_index"]
    {
        assert!(manifest["outputs"][name].is_object(), "no output `{name}`: {}", manifest["outputs"]);
    }
    assert_eq!(manifest["metrics"]["train_rows"], 27);
    assert_eq!(manifest["metrics"]["valid_rows"], 6);
    let valid = TensorFile::open(out.join("b/valid.safetensors")).unwrap();
    assert_eq!(valid.shape("inputs").unwrap(), [6, 556]);
    assert_eq!(valid.shape("targets").unwrap(), [6, 368]);
    assert_eq!(valid.shape("target_std").unwrap(), [368]);
    let metadata = valid.metadata().unwrap();
    assert_eq!(metadata["chain"], "b");
    assert_eq!(metadata["columns"][0], "cam_out_NETSW");
    assert_eq!(metadata["groups"]["ptend_t"], serde_json::json!([8, 68]));
    assert_eq!(metadata["fixed"].as_array().unwrap().len(), 76);
    let test = TensorFile::open(out.join("a/test.safetensors")).unwrap();
    assert_eq!(test.i32("ids").unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(test.shape("linear").unwrap(), [5, 17]);
    let index = TensorFile::open(out.join("a/v3_index.safetensors")).unwrap();
    assert_eq!(index.i64("01_02").unwrap().len(), 11); // 65 % of 18
    assert_eq!(ParquetFile::open(out.join("valid_table.parquet")).unwrap().rows(), 6);
}

#[test]
fn threads_do_not_change_a_byte() {
    let folder = tempfile::tempdir().unwrap();
    let raw = small(folder.path());
    for (out, threads) in [("one", "1"), ("four", "4")] {
        assert_eq!(prepare(folder.path(), &raw, out, &["--threads", threads]).code, Some(0));
    }
    assert_eq!(contents(&folder.path().join("one")), contents(&folder.path().join("four")));
}

#[test]
fn damaged_files_are_named_and_nothing_is_half_written() {
    type Damage = (&'static str, fn(&Path), &'static str);
    let table: [Damage; 10] = [
        (
            "mlo",
            |p| rewrite(p, NcKind::Cdf5, |_, v| v.retain(|v| v.name != "cam_out_SOLL")),
            "has no variable `cam_out_SOLL`",
        ),
        ("mli", |p| rewrite(p, NcKind::Hdf5, |_, v| v.retain(|v| v.name != "pbuf_CH4")), "has no variable `pbuf_CH4`"),
        (
            "mli",
            |p| {
                rewrite(p, NcKind::Cdf5, |d, v| {
                    d.iter_mut().find(|d| d.0 == "lev").unwrap().1 = 59;
                    v.iter_mut().filter(|v| v.dims.len() == 2).for_each(|v| v.values.truncate(59 * 3));
                });
            },
            "dimension `lev` is 59, expected 60",
        ),
        (
            "mlo",
            |p| {
                rewrite(p, NcKind::Cdf5, |d, v| {
                    d.iter_mut().for_each(|d| d.0 = d.0.replace("ncol", "col"));
                    v.iter_mut().for_each(|v| v.dims.iter_mut().for_each(|d| *d = d.replace("ncol", "col")));
                })
            },
            "has no dimension `ncol`",
        ),
        (
            "mlo",
            |p| {
                rewrite(p, NcKind::Cdf5, |_, v| {
                    v.iter_mut().find(|v| v.name == "state_u").unwrap().values[7] = f64::NAN
                })
            },
            "variable `state_u` holds `NaN` at level 2, column 1",
        ),
        (
            "mli",
            |p| {
                rewrite(p, NcKind::Hdf5, |_, v| {
                    v.iter_mut().find(|v| v.name == "pbuf_LHFLX").unwrap().values[2] = f64::INFINITY
                })
            },
            "variable `pbuf_LHFLX` holds `inf` at column 2",
        ),
        ("mli", |p| durable::write(p, &fs::read(p).unwrap()[..9_000]).map(drop).unwrap(), "download or make it again"),
        (
            "mlo",
            |p| durable::write(p, b"<html>not found</html>").map(drop).unwrap(),
            "is a web page in place of the file",
        ),
        ("mlo", |p| durable::write(p, b"no netCDF file").map(drop).unwrap(), "expected a netCDF file"),
        ("mlo", |p| fs::remove_file(p).unwrap(), "has no partner"),
    ];
    for (kind, damage, message) in table {
        let folder = tempfile::tempdir().unwrap();
        let raw = small(folder.path());
        let file = step_file(&raw, "0008-07", kind, 1);
        let name = file.file_name().unwrap().to_string_lossy().replace(kind, "ml");
        damage(&file);
        let outcome = prepare(folder.path(), &raw, "data", &[]);
        assert_eq!(outcome.code, Some(3), "{message}: {}", outcome.stderr);
        let stderr = outcome.stderr.replace("mli", "ml").replace("mlo", "ml");
        assert!(
            stderr.contains(&name) && outcome.stderr.contains(message),
            "expected `{message}`:\n{}",
            outcome.stderr
        );
        assert!(outcome.stdout.is_empty());
        assert_nothing_half_written(&folder.path().join("data"), "08_07");
    }
}

#[test]
fn damaged_steps_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let raw = small(folder.path());
    let nan = |v: &mut Vec<crate::leap_raw::Variable>| {
        v.iter_mut().find(|v| v.name == "state_t").unwrap().values[0] = f64::NAN
    };
    rewrite(&step_file(&raw, "0001-02", "mli", 2), NcKind::Cdf5, |_, v| nan(v));
    rewrite(&step_file(&raw, "0001-02", "mlo", 4), NcKind::Cdf5, |_, v| nan(v));
    fs::remove_file(step_file(&raw, "0001-02", "mlo", 0)).unwrap();
    let outcome = prepare(folder.path(), &raw, "data", &["non_finite=skip_file", "unpaired=skip"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let manifest = outcome.manifest();
    assert_eq!(manifest["metrics"]["train_rows"], 9 + 9); // 3 of 6 steps of 0001-02, 3 of 0008-07
    assert_eq!(manifest["metrics"]["skipped_files"], 3);
}

#[test]
fn dimensions_in_the_other_order_give_the_same_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let raw = small(folder.path());
    assert_eq!(prepare(folder.path(), &raw, "before", &[]).code, Some(0));
    for (kind, format) in [("mli", NcKind::Hdf5), ("mlo", NcKind::Cdf5)] {
        rewrite(&step_file(&raw, "0008-07", kind, 0), format, |_, variables| {
            for v in variables.iter_mut().filter(|v| v.dims == ["lev", "ncol"]) {
                v.dims.reverse();
                v.values = (0..180).map(|i| v.values[(i % 60) * 3 + i / 60]).collect();
            }
        });
    }
    assert_eq!(prepare(folder.path(), &raw, "after", &[]).code, Some(0));
    let arrays =
        |out: &str| durable::hash_file(folder.path().join(out).join("b/train_08_07.safetensors")).unwrap().blake3;
    assert_eq!(arrays("before"), arrays("after"));
}

#[test]
fn wrong_csv_files_are_refused_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let raw = small(folder.path());
    let path = raw.join("kaggle-data/test.csv");
    let good = fs::read_to_string(&path).unwrap();
    let replace_in_line = |line: usize, from: &str, to: &str| {
        let lines =
            good.lines().enumerate().map(|(i, l)| if i == line { l.replacen(from, to, 1) } else { l.to_owned() });
        lines.collect::<Vec<_>>().join("\n")
    };
    let ps = good.lines().nth(3).unwrap().split(',').nth(361).unwrap();
    let table = [
        (
            replace_in_line(0, "state_u_3,", "state_w_3,"),
            "line 1: column `state_u_3` is missing; column `state_w_3` is unknown",
        ),
        (replace_in_line(0, "sample_id", "id"), "column `sample_id` is missing"),
        (replace_in_line(2, "test_1", "row_1"), "line 3: `sample_id` is `row_1`"),
        (replace_in_line(4, "test_3", "test_1"), "`test_1` is there more than once"),
        (replace_in_line(3, ps, "nan"), "line 4: field 362 is `nan`"),
        (replace_in_line(3, ps, ""), "line 4: field 362 is ``"),
        (replace_in_line(5, ",", ";"), "line 6: "),
        (good.lines().next().unwrap().to_owned(), "has no rows"),
    ];
    for (text, message) in table {
        durable::write(&path, text.as_bytes()).unwrap();
        let outcome = prepare(folder.path(), &raw, "data", &["train=null", "valid=null"]);
        assert_eq!(outcome.code, Some(3), "{message}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains("test.csv") && outcome.stderr.contains(message),
            "expected `{message}`:\n{}",
            outcome.stderr
        );
        assert_nothing_half_written(&folder.path().join("data"), "test.");
    }
}

#[test]
fn wrong_configs_and_arguments_end_with_code_2_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepare_config(folder.path(), "");
    let run = |more: &[&str]| cmd("prepare-data").arg("leap").arg(&config).args(more).within(folder.path());
    run(&["trian=null"]).fails(2).says("train");
    run(&["train.netcdf.stride=0"]).fails(2).says("train.netcdf.stride");
    run(&["train.netcdf.months=[0001-13]"]).fails(2).says("0001-13");
    run(&[]).fails(2).says("--raw");
    run(&["--raw", "nowhere"]).fails(3).says("nowhere");
    cmd("prepare-data").args(["leap", "missing.yaml"]).within(folder.path()).fails(2).says("missing.yaml");
    let outcome = run(&["--print-config"]).succeeds();
    assert!(outcome.stdout.contains("stride: 2"), "{}", outcome.stdout);
}

#[test]
fn missing_raw_data_is_answered_with_the_tree_that_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let outcome: Outcome = prepare(folder.path(), &folder.path().join("empty"), "data", &["test=null"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains("train/YYYY-MM/E3SM-MMF.{mli,mlo}"), "{}", outcome.stderr);
}

#[test]
fn a_finished_folder_is_refused_and_a_dry_run_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let raw = small(folder.path());
    let outcome = prepare(folder.path(), &raw, "data", &["--dry-run"]);
    assert_eq!((outcome.code, folder.path().join("data").exists()), (Some(0), false));
    assert!(outcome.stderr.contains("train_01_02: 6 time steps"), "{}", outcome.stderr);
    assert_eq!(prepare(folder.path(), &raw, "data", &[]).code, Some(0));
    let refused = prepare(folder.path(), &raw, "data", &[]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert_eq!(prepare(folder.path(), &raw, "data", &["--force"]).code, Some(0));
    let quick = prepare(folder.path(), &raw, "quick", &["--fast-dev-run"]).manifest();
    assert_eq!(quick["metrics"]["train_rows"], 12);
}

#[test]
fn resume_after_kill_keeps_finished_months_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let months = "  - {months: [0001-02..0002-01], days: 3, step_stride: 4}";
    let simulate = simulate_config(folder.path(), 8, months, 5, 0);
    cmd("simulate-data").arg("leap").arg(simulate).arg("-o").arg(folder.path().join("sim")).succeeds();
    let raw = folder.path().join("sim/raw");
    let config = folder.path().join("p.yaml");
    durable::write(&config, b"system: leap\nvalid: null\n").unwrap();
    let arguments = |out: &str| -> Vec<std::ffi::OsString> {
        let out = folder.path().join(out);
        ["leap".as_ref(), config.as_os_str(), "--raw".as_ref(), raw.as_os_str(), "-o".as_ref(), out.as_os_str()]
            .map(Into::into)
            .to_vec()
    };
    cmd("prepare-data").args(arguments("whole")).succeeds();
    let mut child = Command::new(binary("prepare-data"))
        .args(arguments("killed"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let progress = folder.path().join("killed/progress.json");
    let start = Instant::now();
    while fs::read_to_string(&progress).unwrap_or_default().matches("\"key\"").count() < 3 {
        assert!(start.elapsed() < Duration::from_secs(120), "no progress");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("killed/stage.json").exists(), "it was too fast to be killed");
    let outcome = cmd("prepare-data").args(arguments("killed")).succeeds();
    assert!(outcome.stderr.contains("kept from an earlier run"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("; 0 sets kept"), "{}", outcome.stderr);
    assert_eq!(contents(&folder.path().join("whole")), contents(&folder.path().join("killed")));
}

#[test]
fn kaggle_train_rows_give_training_validation_and_fitted_constants() {
    let folder = tempfile::tempdir().unwrap();
    let simulate = simulate_config(folder.path(), 3, "  - {months: [0001-02], days: 1, step_stride: 24}", 4, 50);
    cmd("simulate-data").arg("leap").arg(simulate).arg("-o").arg(folder.path().join("sim")).succeeds();
    let config = folder.path().join("p.yaml");
    let text = "system: leap\nnormalisation: {fit: {rows: 40}}\ntrain: {csv: {rows: 40, rows_per_file: 25}}\nvalid: {csv: {skip: 40}}\n";
    durable::write(&config, text.as_bytes()).unwrap();
    let run = |out: &str, more: &[&str]| {
        let raw = folder.path().join("sim/raw");
        cmd("prepare-data")
            .arg("leap")
            .arg(&config)
            .args(more)
            .arg("--raw")
            .arg(raw)
            .arg("-o")
            .arg(folder.path().join(out))
            .succeeds()
            .manifest()
    };
    let manifest = run("data", &[]);
    assert_eq!((&manifest["metrics"]["train_rows"], &manifest["metrics"]["valid_rows"]), (&40.into(), &10.into()));
    assert!(manifest["outputs"]["norm/mean_a.json"].is_object());
    let mut sums = vec![(0.0f64, 0.0f64); 556];
    for (file, rows) in [("0000", 25), ("0001", 15)] {
        let file = TensorFile::open(folder.path().join(format!("data/b/train_csv_{file}.safetensors"))).unwrap();
        assert_eq!(file.shape("targets").unwrap(), [rows, 368]);
        for row in file.f32("inputs").unwrap().chunks(556) {
            sums.iter_mut().zip(row).for_each(|(s, x)| *s = (s.0 + f64::from(*x), s.1 + f64::from(*x).powi(2)));
        }
    }
    // Normalised with their own constants: mean 0, sample variance 1, less only where the std was raised to the floor.
    let mut unit = 0;
    for (sum, square) in sums {
        let variance = (square - sum * sum / 40.0) / 39.0;
        assert!((sum / 40.0).abs() < 1e-3 && variance < 1.001, "{sum} {variance}");
        unit += usize::from(variance > 0.999);
    }
    assert!(unit > 300, "{unit} columns of 556 have unit variance");
    // The constants that were written can be given back.
    let again = run("again", &[&format!("normalisation={{files: {}}}", folder.path().join("data/norm").display())]);
    assert_eq!(again["outputs"]["b/valid"]["blake3"], manifest["outputs"]["b/valid"]["blake3"]);
}

#[test]
fn peak_memory_does_not_grow_with_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let months = "  - {months: [0001-02..0001-05], days: 1, step_stride: 6}";
    let simulate = simulate_config(folder.path(), 384, months, 5, 0);
    cmd("simulate-data").arg("leap").arg(simulate).arg("-o").arg(folder.path().join("sim")).succeeds();
    let config = folder.path().join("p.yaml");
    durable::write(&config, b"system: leap\nvalid: null\n").unwrap();
    let peak = |out: &str, months: &str| {
        let raw = folder.path().join("sim/raw");
        let months = format!("train.netcdf.months=[{months}]");
        let run = cmd("prepare-data").arg("leap").arg(&config).arg(months).arg("--raw").arg(raw).args([
            "--threads",
            "2",
            "-o",
        ]);
        run.arg(folder.path().join(out)).succeeds().manifest()["peak_anonymous_bytes"].as_u64().unwrap()
    };
    let (one, four) = (peak("one", "0001-02"), peak("four", "0001-02..0001-05"));
    assert!(four < 512 << 20, "{four} bytes");
    // 4 months are 136 MB of arrays a month and chain set more; the peak stays.
    assert!(four < one + (48 << 20), "{one} bytes for one month, {four} for four");
}
