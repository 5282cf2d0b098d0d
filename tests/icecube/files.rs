//! Raw files as other programs and people leave them: types, extra columns, meta files in one piece, parts of a batch.

use std::path::{Path, PathBuf};

use common::store::tables::{Column, ParquetFile, Table, read_parquet, write_parquet};
use common::store::tensors::TensorFile;

use crate::raw::{self, prepare};
use crate::support::root;

const EVENTS: [raw::Given; 4] = [(3, 2), (7, 5), (9, 1), (12, 4)];

/// A raw folder with these pulses as its one test file.
fn test_folder(folder: &Path, name: &str, pulses: &Path) -> PathBuf {
    let raw = folder.join(name);
    raw::detector(&raw);
    common::durable::write(raw.join("test/batch_661.parquet"), &std::fs::read(pulses).unwrap()).unwrap();
    raw
}

fn tensors(out: &Path, set: &str) -> Vec<Vec<u8>> {
    let store = TensorFile::open(out.join(format!("{set}.safetensors"))).unwrap();
    let names = ["event_id", "offset", "sensor", "time", "charge"];
    let mut all: Vec<Vec<u8>> = names.iter().map(|name| store.view(name).unwrap().bytes.to_vec()).collect();
    all.extend(store.contains("direction").then(|| store.view("direction").unwrap().bytes.to_vec()));
    all
}

#[test]
fn columns_of_every_width_and_type_give_the_same_events() {
    let folder = tempfile::tempdir().unwrap();
    let assets = root().join("tests/icecube/assets");
    let run = |name: &str| {
        let raw = test_folder(folder.path(), name, &assets.join(format!("{name}.parquet")));
        let out = folder.path().join(format!("out-{name}"));
        prepare().arg("train=null").arg("--raw").arg(raw).arg("--out").arg(&out).succeeds();
        tensors(&out, "test/batch_661")
    };
    // Half floats, decimals, 8, 16 and 32 bits, and columns of ten other types beside.
    assert_eq!(run("odd"), run("plain"));
}

#[test]
fn a_column_that_cannot_be_read_is_named_and_the_file_not_called_damaged() {
    let file = ParquetFile::open(root().join("tests/icecube/assets/odd.parquet")).unwrap();
    for column in ["parts", "when", "raw", "nothing"] {
        let error = file.read(Some(&[column]), 0..1).unwrap_err();
        assert!(error.to_string().contains(&format!("column `{column}` has the type")), "{error}");
        assert!(error.hint_text().is_none_or(|hint| !hint.contains("damaged")));
    }
    let table = file.read(Some(&["kind", "half", "price"]), 3..12).unwrap();
    assert_eq!(table.texts("kind").unwrap(), vec!["track"; 9]);
    assert_eq!(*table.numbers("price").unwrap(), [1.25; 9]);
    assert_eq!(*table.numbers("half").unwrap(), [1.0; 9]);
}

#[test]
fn directions_come_from_one_meta_file_or_from_one_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    let split = raw::one_file(folder.path(), &EVENTS);
    let run = |raw: &Path, out: &str| {
        let out = folder.path().join(out);
        prepare().arg("test=null").arg("--raw").arg(raw).arg("--out").arg(&out).succeeds();
        tensors(&out, "train/batch_1")
    };
    let expected = run(&split, "a");
    let whole = folder.path().join("whole");
    raw::detector(&whole);
    write_parquet(whole.join("train/batch_1.parquet"), &raw::pulses(&EVENTS)).unwrap();
    // Its rows between those of other batches, in two pieces.
    let meta = raw::meta(&EVENTS);
    let mut all = Table::new();
    for (name, column) in meta.names().iter().zip(meta.columns()) {
        let column = match (name.as_str(), column) {
            ("batch_id", _) => Column::I16(vec![2, 1, 1, 3, 1, 1]),
            ("event_id", Column::I64(v)) => Column::I64(vec![900, v[0], v[1], 901, v[2], v[3]]),
            (_, Column::I64(v)) => Column::I32([0, v[0], v[1], 0, v[2], v[3]].map(|v| v as i32).to_vec()),
            (_, Column::F64(v)) => Column::F64(vec![0.0, v[0], v[1], 0.0, v[2], v[3]]),
            (_, other) => other.clone(),
        };
        all.push(name.clone(), column).unwrap();
    }
    write_parquet(whole.join("train_meta.parquet"), &all).unwrap();
    assert_eq!(run(&whole, "b"), expected);
    let named = folder.path().join("named");
    raw::detector(&named);
    write_parquet(named.join("train/batch_1.parquet"), &raw::pulses(&EVENTS)).unwrap();
    write_parquet(named.join("train_meta/batch_1.parquet"), &meta).unwrap();
    assert_eq!(run(&named, "c"), expected);
    write_parquet(whole.join("train/batch_9.parquet"), &raw::pulses(&[(77, 1)])).unwrap();
    let refused =
        prepare().arg("test=null").arg("--raw").arg(&whole).arg("--out").arg(folder.path().join("d")).fails(3);
    refused.says("train_meta.parquet").says("has no row of batch 9");
}

#[test]
fn a_part_of_a_batch_is_prepared_with_the_meta_file_of_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw::one_file(folder.path(), &EVENTS);
    let kept = [EVENTS[1], EVENTS[3]];
    write_parquet(raw.join("train/batch_1.parquet"), &raw::pulses(&kept)).unwrap();
    let out = folder.path().join("out");
    let manifest = prepare().arg("test=null").arg("--raw").arg(&raw).arg("--out").arg(&out).succeeds().manifest();
    assert_eq!(manifest["metrics"]["train_events"], 2);
    let store = TensorFile::open(out.join("train/batch_1.safetensors")).unwrap();
    assert_eq!(store.i64("event_id").unwrap(), [7, 12]);
    let direction = store.elements::<f64>("direction").unwrap();
    assert_eq!(direction, [1.0, 1.0, 0.0, 0.0]);
    // Pulses that are missing inside of an event are another matter, until the meta file no longer counts them.
    write_parquet(raw.join("train/batch_1.parquet"), &raw::pulses(&[(7, 4), (12, 4)])).unwrap();
    let again = || prepare().arg("test=null").arg("--raw").arg(&raw).arg("--out").arg(folder.path().join("b"));
    again().fails(3).says("event 7").says("first_pulse_index");
    let mut meta = read_parquet(raw.join("train_meta/train_meta_1.parquet"), None).unwrap();
    meta.take("first_pulse_index").unwrap();
    meta.take("last_pulse_index").unwrap();
    write_parquet(raw.join("train_meta/train_meta_1.parquet"), &meta).unwrap();
    again().succeeds();
}

#[test]
fn hidden_files_are_nobodys_data() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw::one_file(folder.path(), &EVENTS);
    for name in ["._batch_1.parquet", ".batch_1.parquet.swp.parquet", ".DS_Store"] {
        common::durable::write(raw.join("train").join(name), b"Mac OS X").unwrap();
    }
    // A table in parts is no file, and nothing is left out without a word.
    std::fs::create_dir(raw.join("train/batch_2.parquet")).unwrap();
    let out = folder.path().join("out");
    let made = prepare().arg("test=null").arg("--raw").arg(&raw).arg("--out").arg(&out).succeeds();
    made.says("train/batch_2.parquet`: a folder");
    let files: Vec<_> = std::fs::read_dir(out.join("train")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn copies_and_unfinished_downloads_are_left_out_and_equal_files_told() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw::one_file(folder.path(), &EVENTS);
    let content = std::fs::read(raw.join("train/batch_1.parquet")).unwrap();
    for name in ["batch_1 (1).parquet", "batch_1-checkpoint.parquet", "batch_9.parquet.part"] {
        common::durable::write(raw.join("train").join(name), &content).unwrap();
    }
    let run = |out: &str| prepare().arg("test=null").arg("--raw").arg(&raw).arg("--out").arg(folder.path().join(out));
    let made = run("a").succeeds();
    assert_eq!(made.manifest()["metrics"]["train_events"], 4);
    made.says("batch_1 (1).parquet").says("batch_1-checkpoint.parquet").says("batch_9.parquet.part");
    // Under a name of its own it is another file, and said to be none.
    common::durable::write(raw.join("train/batch_2.PARQUET"), &content).unwrap();
    let meta = std::fs::read(raw.join("train_meta/train_meta_1.parquet")).unwrap();
    common::durable::write(raw.join("train_meta/train_meta_2.parquet"), &meta).unwrap();
    let made = run("b").succeeds();
    assert_eq!(made.manifest()["metrics"]["train_events"], 8);
    made.says("have the same content");
    common::durable::write(raw.join("train_meta/batch_1.parquet"), &meta).unwrap();
    run("c").fails(3).says("train_meta_1.parquet").says("keep one of them");
}

#[test]
fn a_raw_folder_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw::one_file(folder.path(), &EVENTS);
    for name in ["a, b #1", "[x]", "null", "c: d", "*"] {
        let other = folder.path().join(name);
        std::os::unix::fs::symlink(&raw, &other).unwrap();
        let run = prepare().arg("test=null").arg("--raw").arg(name).within(folder.path());
        run.arg("--out").arg(format!("out {name}")).succeeds();
    }
}

#[test]
fn a_sample_of_the_raw_folder_may_be_csv_and_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let pulses = folder.path().join("p.parquet");
    write_parquet(&pulses, &raw::pulses(&EVENTS)).unwrap();
    let raw = test_folder(folder.path(), "raw", &pulses);
    let run = |out: &str| prepare().arg("train=null").arg("--raw").arg(&raw).arg("--out").arg(folder.path().join(out));
    common::durable::write(raw.join("sample_submission.csv"), b"event_id,azimuth,zenith\n12,1,1\n3.0,1,1\n").unwrap();
    run("a").succeeds();
    let kept = read_parquet(folder.path().join("a/sample_submission.parquet"), None).unwrap();
    assert_eq!(kept.i64("event_id").unwrap(), [12, 3]);
    common::durable::write(raw.join("sample_submission.csv"), b"event_id\n12\n12\n").unwrap();
    run("b").fails(3).says("event 12 is there twice");
}

#[test]
fn directions_that_are_none_and_tables_in_other_forms_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw::one_file(folder.path(), &EVENTS);
    let meta = raw.join("train_meta/train_meta_1.parquet");
    let with = |name: &str, column: Column| {
        let mut table = raw::meta(&EVENTS);
        if table.names().iter().any(|known| known == name) {
            table.take(name).unwrap();
        }
        table.push(name, column).unwrap();
        write_parquet(&meta, &table).unwrap();
    };
    let run = |out: &str| prepare().arg("test=null").arg("--raw").arg(&raw).arg("--out").arg(folder.path().join(out));
    with("azimuth", Column::F64(vec![57.0, 10.0, 300.0, 4.0]));
    run("a").fails(3).says("azimuth is 57, expected 0 to 2 pi").says("degrees times 0.01745329");
    with("azimuth", Column::F32(vec![-1.0, 1.0, 3.0, 4.0]));
    run("a").fails(3).says("azimuth is -1, expected 0 to 2 pi").says("add 2 pi");
    // The ends of the range, as floats of 32 bits round them.
    with("azimuth", Column::F32(vec![std::f32::consts::TAU, 0.0, 3.0, 4.0]));
    run("b").succeeds();
    // A kind that is not known of an event.
    let kinds = root().join("tests/icecube/assets/kinds.parquet");
    common::durable::write(&meta, &std::fs::read(kinds).unwrap()).unwrap();
    run("c").succeeds();
    let store = TensorFile::open(folder.path().join("c/train/batch_1.safetensors")).unwrap();
    let known: Vec<f32> = store.f32("extra").unwrap().chunks(5).map(|extra| extra[4]).collect();
    assert!(known[0] == 1.0 && known[1].is_nan() && known[2] == 0.0 && known[3].is_nan(), "{known:?}");
    std::fs::remove_file(&meta).unwrap();
    common::durable::write(raw.join("train_meta.csv"), b"batch_id,event_id,azimuth,zenith\n").unwrap();
    run("d").fails(3).says("train_meta.csv").says("read as parquet");
    std::fs::remove_file(raw.join("train/batch_1.parquet")).unwrap();
    common::durable::write(raw.join("train/batch_1.csv"), b"event_id\n").unwrap();
    run("d").fails(3).says("holds no `batch_<k>.parquet`, but").says("`batch_1.csv`");
}
