//! `prepare-data icecube`: the store, what is refused, and going on after a kill.

use std::process::{Command, Stdio};

use common::store::tables::{Column, Table, read_parquet, write_parquet};
use common::store::tensors::TensorFile;

use crate::raw::{self, prepare};
use crate::support::{binary, cmd, root};

#[test]
fn events_are_stored_ascending_whatever_the_order_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let sorted = raw::one_file(folder.path(), &[(3, 2), (7, 5), (9, 1)]);
    prepare().arg("--raw").arg(&sorted).arg("--out").arg(folder.path().join("a")).arg("test=null").succeeds();
    let other = folder.path().join("other");
    raw::detector(&other);
    let events = [(9, 1), (3, 2), (7, 5)];
    write_parquet(other.join("train/batch_1.parquet"), &raw::pulses(&events)).unwrap();
    write_parquet(other.join("train_meta/train_meta_1.parquet"), &raw::meta(&events)).unwrap();
    prepare().arg("--raw").arg(&other).arg("--out").arg(folder.path().join("b")).arg("test=null").succeeds();
    let read = |out: &str| std::fs::read(folder.path().join(out).join("train/batch_1.safetensors")).unwrap();
    assert_eq!(read("a"), read("b"));
    let store = TensorFile::open(folder.path().join("a/train/batch_1.safetensors")).unwrap();
    assert_eq!(store.i64("event_id").unwrap(), [3, 7, 9]);
    assert_eq!(store.i64("offset").unwrap(), [0, 2, 7, 8]);
}

#[test]
fn pulses_of_a_test_event_that_do_not_lie_together_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    raw::detector(&raw);
    write_parquet(raw.join("test/batch_661.parquet"), &raw::pulses(&[(5, 2), (4, 1), (5, 3)])).unwrap();
    prepare().arg("train=null").arg("--raw").arg(&raw).arg("--out").arg(folder.path().join("out")).succeeds();
    let store = TensorFile::open(folder.path().join("out/test/batch_661.safetensors")).unwrap();
    assert_eq!((store.i64("event_id").unwrap(), store.i64("offset").unwrap()), (&[4, 5][..], &[0, 1, 6][..]));
    assert!(!store.contains("direction"));
}

#[test]
fn events_without_a_pulse_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw::one_file(folder.path(), &[(1, 0), (2, 4), (3, 0), (4, 1), (5, 0)]);
    let out = folder.path().join("out");
    let manifest = prepare().arg("--raw").arg(&raw).arg("-o").arg(&out).arg("test=null").succeeds().manifest();
    assert_eq!(manifest["metrics"]["events_without_pulse"], 3);
    assert_eq!(manifest["metrics"]["train_events"], 2);
}

/// What a wrong raw folder is answered with: exit code 3, and a message that names file, place and remedy.
#[test]
fn wrong_raw_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let events = [(3, 2), (7, 5)];
    let raw = raw::one_file(folder.path(), &events);
    let (pulses, meta) = (raw.join("train/batch_1.parquet"), raw.join("train_meta/train_meta_1.parquet"));
    let refused = || {
        let out = folder.path().join("out");
        let outcome = prepare().arg("test=null").arg("--raw").arg(&raw).arg("--out").arg(out).fails(3);
        assert!(!folder.path().join("out/stage.json").exists());
        outcome
    };
    let replaced = |table: &Table, name: &str, column: Column| {
        let mut changed = Table::new();
        for (known, old) in table.names().iter().zip(table.columns()) {
            changed.push(known.clone(), if known == name { column.clone() } else { old.clone() }).unwrap();
        }
        changed
    };
    let (good_pulses, good_meta) = (raw::pulses(&events), raw::meta(&events));

    let last = Column::I64(vec![1, 5]);
    write_parquet(&meta, &replaced(&good_meta, "last_pulse_index", last)).unwrap();
    refused().says("row 1, event 7: rows 2..=5").says("but its pulses are rows 2..=6");
    write_parquet(&meta, &replaced(&good_meta, "event_id", Column::I64(vec![3, 8]))).unwrap();
    refused().says("has no event 7").says("must belong together");
    write_parquet(&meta, &replaced(&good_meta, "event_id", Column::I64(vec![3, 3]))).unwrap();
    refused().says("event 3 stands in rows 0 and 1");
    write_parquet(&meta, &replaced(&good_meta, "zenith", Column::F64(vec![0.0, 3.2]))).unwrap();
    refused().says("event 7: zenith is 3.2, expected 0 to pi");
    std::fs::remove_file(&meta).unwrap();
    refused().says("train_meta_1.parquet`: does not exist").says("train=null");
    write_parquet(&meta, &good_meta).unwrap();

    let sensors = Column::I16(vec![0, 1, 2, 3, 5160, 5, 6]);
    write_parquet(&pulses, &replaced(&good_pulses, "sensor_id", sensors)).unwrap();
    refused().says("row 4: sensor_id is 5160, expected 0 to 5159");
    let charge = Column::F64(vec![1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    write_parquet(&pulses, &replaced(&good_pulses, "charge", charge)).unwrap();
    refused().says("row 2: charge is 0, expected more than 0");
    let mut lacking = good_pulses.clone();
    lacking.take("charge").unwrap();
    write_parquet(&pulses, &lacking).unwrap();
    refused().says("has no column `charge`");
    write_parquet(&pulses, &good_pulses).unwrap();
    let bytes = std::fs::read(&pulses).unwrap();
    for part in [0, 3, bytes.len() / 2, bytes.len() - 1] {
        common::durable::write(&pulses, &bytes[..part]).unwrap();
        refused().says("batch_1.parquet").says("hint:");
    }
    write_parquet(&pulses, &good_pulses).unwrap();

    let geometry = std::fs::read_to_string(raw.join("sensor_geometry.csv")).unwrap();
    let deep = geometry.replacen(",496.03\n", ",-9496.03\n", 1);
    common::durable::write(raw.join("sensor_geometry.csv"), deep.as_bytes()).unwrap();
    refused().says("sensor 0 needs the ice at z = -9496.0 m");
    std::fs::remove_file(raw.join("sensor_geometry.csv")).unwrap();
    refused().says("has no `sensor_geometry.csv`, it holds").says("expected tree");
}

#[test]
fn upstream_event_counts_must_be_those_of_the_files() {
    use icecube::nevents::{Counts, write_pickle};
    let folder = tempfile::tempdir().unwrap();
    let raw = raw::one_file(folder.path(), &[(3, 2), (7, 70), (8, 192)]);
    let counts = |long| vec![("batch_1.parquet".to_owned(), Counts { total: 3, short: 1, medium: 1, long })];
    write_pickle(&raw.join("Nevents.pickle"), &counts(2)).unwrap();
    let run = |out: &str| prepare().arg("test=null").arg("--raw").arg(&raw).arg("--out").arg(folder.path().join(out));
    run("a").fails(3).says("Nevents.pickle").says("long: 2").says("long: 1");
    write_pickle(&raw.join("Nevents.pickle"), &counts(1)).unwrap();
    run("b").succeeds();
    let ours = std::fs::read(folder.path().join("b/Nevents.pickle")).unwrap();
    assert_eq!(ours, std::fs::read(raw.join("Nevents.pickle")).unwrap());
}

#[test]
fn an_event_in_two_test_files_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    raw::detector(&raw);
    write_parquet(raw.join("test/batch_1.parquet"), &raw::pulses(&[(5, 2), (6, 1)])).unwrap();
    write_parquet(raw.join("test/batch_2.parquet"), &raw::pulses(&[(6, 2)])).unwrap();
    let run = prepare().arg("train=null").arg("--raw").arg(&raw).arg("--out").arg(folder.path().join("out"));
    run.fails(3).says("batch_2.parquet`: event 6 stands in `batch_1.parquet` as well");
}

#[test]
fn a_killed_preparation_goes_on_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let whole = folder.path().join("whole");
    prepare().arg("--from").arg(&sim).arg("--out").arg(&whole).succeeds();
    let out = folder.path().join("killed");
    let config = root().join("configs/icecube/prepare.yaml");
    let mut kept = 0;
    for attempt in 0..20 {
        let mut child = Command::new(binary("prepare-data"))
            .arg("icecube")
            .arg(&config)
            .args(["-q", "--threads", "1", "--from"])
            .arg(&sim)
            .arg("--out")
            .arg(&out)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = std::time::Instant::now();
        // Killed as soon as one more file is finished; the last attempts run to their end.
        while attempt < 3 && begun.elapsed().as_secs() < 20 {
            let text = std::fs::read_to_string(out.join("progress.json")).unwrap_or_default();
            if text.matches("\"key\"").count() > kept {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        if attempt < 3 {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        let text = std::fs::read_to_string(out.join("progress.json")).unwrap_or_default();
        kept = text.matches("\"key\"").count();
        if out.join("stage.json").exists() {
            break;
        }
    }
    for name in ["train/batch_1", "train/batch_2", "train/batch_655", "test/batch_661", "sensors"] {
        let file = format!("{name}.safetensors");
        assert_eq!(std::fs::read(out.join(&file)).unwrap(), std::fs::read(whole.join(&file)).unwrap(), "{name}");
    }
    let strays: Vec<_> = std::fs::read_dir(out.join("train")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(strays.len(), 3, "{strays:?}");
}

#[test]
fn stages_chain_in_a_pipe_and_the_store_holds_what_was_simulated() {
    let folder = tempfile::tempdir().unwrap();
    let sim = raw::simulated(folder.path());
    let line = std::fs::read_to_string(sim.join("stage.json")).unwrap().replace('\n', "");
    let out = folder.path().join("data");
    let manifest = prepare().args(["--from", "-", "--out"]).arg(&out).stdin(line + "\n").succeeds().manifest();
    assert_eq!(manifest["metrics"]["train_events"], 100);
    let pulses = read_parquet(sim.join("raw/train/batch_2.parquet"), None).unwrap();
    let store = TensorFile::open(out.join("train/batch_2.safetensors")).unwrap();
    assert_eq!(store.elements::<i16>("sensor").unwrap().len(), pulses.rows());
    let charge: Vec<f32> = pulses.f64("charge").unwrap().iter().map(|q| (q.log10() / 3.0) as f32).collect();
    assert_eq!(store.f32("charge").unwrap(), charge);
    let again = cmd("prepare-data").arg("icecube").arg(root().join("configs/icecube/prepare.yaml"));
    again.arg("--from").arg(&sim).arg("--out").arg(&out).fails(2).says("holds a finished stage already");
}
