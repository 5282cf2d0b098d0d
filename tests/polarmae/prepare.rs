//! Raw files to the store: what is kept, what is refused, and how.

use std::path::Path;

use common::store::hdf5::ListWriter;
use common::store::npy::NpyArray;
use common::store::tensors::TensorFile;

use crate::raw::{Event, differing, prepare, prepare_on, results, simulate, write};

const LONG: &[f32] = &[1.0; 40];

/// A release of one training file with these events and one sound validation file.
fn release(folder: &Path, events: &[Event]) {
    write(&folder.join("raw/train/a.h5"), events);
    write(&folder.join("raw/val/v.h5"), &[&[(4, &[1.0]), (1, LONG)]]);
}

#[test]
fn the_same_seed_simulates_and_prepares_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        simulate(&folder.path().join(name)).succeeds();
        prepare(&folder.path().join(name).join("raw"), &folder.path().join(format!("{name}-data"))).succeeds();
    }
    let differ = |a: &str, b: &str| differing(&folder.path().join(a), &folder.path().join(b));
    assert!(differ("a", "b").is_empty(), "{:?}", differ("a", "b"));
    let different: Vec<String> = differ("a-data", "b-data").into_iter().filter(|n| n != "config.yaml").collect();
    assert!(different.is_empty(), "{different:?}");
    assert!(results(&folder.path().join("a-data")).iter().any(|(name, _)| name.starts_with("train/")));
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    simulate(&folder.path().join("sim")).succeeds();
    let prepared = |threads: &str| {
        let out = folder.path().join(threads);
        let prepare = prepare_on(&folder.path().join("sim/raw"), &out, threads).arg("events_per_shard=3");
        let metrics = prepare.succeeds().manifest()["metrics"].clone();
        let shards = results(&out).iter().filter(|(name, _)| name.starts_with("train/")).count();
        assert!(shards > 2, "{shards}");
        (out, metrics)
    };
    let (one, counts) = prepared("1");
    for threads in ["2", "5"] {
        let (many, found) = prepared(threads);
        assert_eq!((found, differing(&one, &many)), (counts.clone(), Vec::<String>::new()), "{threads}");
    }
    // A limit that ends within a shard leaves out the same events.
    let limited = |threads: &str| {
        let out = folder.path().join(format!("limited-{threads}"));
        let prepare = prepare_on(&folder.path().join("sim/raw"), &out, threads);
        prepare.args(["events_per_shard=3", "--limit", "5"]).succeeds();
        out
    };
    assert_eq!(differing(&limited("1"), &limited("4")), Vec::<String>::new());
}

#[test]
fn short_and_empty_events_are_left_out_and_the_index_counts_all_voxels() {
    let folder = tempfile::tempdir().unwrap();
    // Weak voxels and scatters only, too few voxels, no voxel at all, one good event, and one of a single voxel.
    let weak: &[f32] = &[0.1; 30];
    release(
        folder.path(),
        &[
            &[(4, LONG), (1, weak)],
            &[(4, &[1.0]), (1, &[1.0; 5])],
            &[],
            &[(4, &[1.0]), (1, LONG)],
            &[(4, LONG), (0, &[2.0])],
        ],
    );
    let out = folder.path().join("data");
    let outcome = prepare(&folder.path().join("raw"), &out).succeeds();
    let metrics = &outcome.manifest()["metrics"];
    assert_eq!((metrics["train/events"].as_u64(), metrics["train/too_short"].as_u64()), (Some(2), Some(1)));
    let index = NpyArray::open(out.join("index/train/a_points.npy")).unwrap();
    assert_eq!((index.shape(), index.to_i64().unwrap()), ([5].as_slice(), vec![70, 6, 0, 41, 41]));
    let shard = TensorFile::open(out.join("train/a_00000.safetensors")).unwrap();
    assert_eq!(
        (shard.i64("event").unwrap(), shard.i64("offsets").unwrap()),
        ([3, 4].as_slice(), [0, 40, 41].as_slice())
    );
    assert!(shard.u8("semantic").unwrap()[40] == 0 && shard.f32("points").unwrap()[3] > -0.725);
}

#[test]
fn an_index_beside_the_file_that_says_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    release(folder.path(), &[&[(4, &[1.0]), (1, LONG)], &[(4, &[1.0]), (1, LONG)]]);
    let index = folder.path().join("raw/train/a_points.npy");
    let counts = [1 + LONG.len() as i64; 2];
    common::store::npy::write_npy(&index, &[2], &counts).unwrap();
    let metrics =
        prepare(&folder.path().join("raw"), &folder.path().join("data")).succeeds().manifest()["metrics"].clone();
    assert_eq!(metrics["train/events"], 2);
    // Of an older file: the first event would have been left out in silence.
    common::store::npy::write_npy(&index, &[2], &[5, counts[1]]).unwrap();
    prepare(&folder.path().join("raw"), &folder.path().join("old")).fails(3).says("gives event 0 5 points");
    common::store::npy::write_npy(&index, &[3], &[1i64, 2, 3]).unwrap();
    prepare(&folder.path().join("raw"), &folder.path().join("other"))
        .fails(3)
        .says("a_points.npy")
        .says("lists 3 events")
        .says("remove it: the events are counted anew");
}

#[test]
fn bad_events_are_named_with_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, out) = (folder.path().join("raw"), folder.path().join("data"));
    let nan: &[f32] = &[1.0, f32::NAN, 1.0];
    release(folder.path(), &[&[(4, &[1.0]), (1, LONG)], &[(4, &[1.0]), (1, LONG), (0, nan)]]);
    prepare(&raw, &out)
        .fails(3)
        .says("train/a.h5")
        .says("data set `point`, element 1: row 42, in cluster 2 has x, y, z, energy")
        .says("selection.unusable=skip");
    prepare(&raw, &out).arg("selection.drop_non_finite=true").succeeds();

    let writer = |points: &[f32], clusters: &[i32]| {
        let mut writer = ListWriter::create(raw.join("train/a.h5"), &["point"], &["cluster"]).unwrap();
        writer.append_floats("point", points).unwrap();
        writer.append_integers("cluster", clusters).unwrap();
        writer.finish().unwrap();
    };
    let fails = |text: &str| {
        let fresh = folder.path().join("fresh");
        prepare(&raw, &fresh).fails(3).says("train/a.h5").says(text);
    };
    writer(&[1.0; 16], &[3, 0, 0, 0, 1]);
    fails("element 0: 5 numbers for 2 points: neither 5 nor 6 columns");
    writer(&[1.0; 169], &[21, 0, 0, 0, 1]);
    fails("element 0: holds 169 numbers, expected rows of 8");
    let mut only = ListWriter::create(raw.join("train/a.h5"), &["points"], &["cluster"]).unwrap();
    only.append_floats("points", &[1.0; 8]).unwrap();
    only.finish().unwrap();
    fails("has no data set `point`; it holds `cluster`, `points`");
    let swapped = ListWriter::create(raw.join("train/a.h5"), &["cluster"], &["point"]).unwrap();
    swapped.finish().unwrap();
    assert!(prepare(&raw, &folder.path().join("swapped")).run().code != Some(0));
    common::durable::write(raw.join("train/a.h5"), b"not hdf5").unwrap();
    fails("is no sound HDF5 file");
    std::fs::remove_file(raw.join("train/a.h5")).unwrap();
    prepare(&raw, &folder.path().join("fresh")).fails(3).says("holds no `.h5` file").says("expected `");
    prepare(&folder.path().join("nowhere"), &folder.path().join("fresh"))
        .fails(3)
        .says("/nowhere`")
        .says("no such folder");
}

#[test]
fn truncated_files_are_errors_and_never_crashes() {
    let folder = tempfile::tempdir().unwrap();
    release(folder.path(), &[&[(4, &[1.0]), (1, LONG)], &[(4, &[1.0]), (1, LONG)]]);
    let raw = folder.path().join("raw");
    let whole = std::fs::read(raw.join("train/a.h5")).unwrap();
    for part in 1..12 {
        let cut = whole.len() * part / 12;
        common::durable::write(raw.join("train/a.h5"), &whole[..cut]).unwrap();
        let outcome = prepare(&raw, &folder.path().join("data")).run();
        assert_eq!(outcome.code, Some(3), "cut at {cut} of {}: {}", whole.len(), outcome.stderr);
    }
}

#[test]
fn six_columns_are_found_out_and_give_the_same_events() {
    let folder = tempfile::tempdir().unwrap();
    for columns in ["5", "6"] {
        let sim = folder.path().join(columns);
        simulate(&sim).arg(format!("cluster_columns={columns}")).succeeds();
        prepare(&sim.join("raw"), &folder.path().join(format!("data{columns}"))).succeeds();
    }
    let tensor = |columns: &str, name: &str| {
        let path = folder.path().join(format!("data{columns}/train/generic_v2_5_v1_00000.safetensors"));
        TensorFile::open(path).unwrap().bytes(name).unwrap().to_vec()
    };
    for name in ["points", "semantic", "cluster", "offsets"] {
        assert!(tensor("5", name) == tensor("6", name), "{name}");
    }
}

#[test]
fn a_killed_preparation_keeps_its_shards_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    simulate(&folder.path().join("sim")).succeeds();
    let raw = folder.path().join("sim/raw");
    let whole = folder.path().join("whole");
    prepare(&raw, &whole).arg("events_per_shard=2").succeeds();
    // What a run killed after its first shards leaves behind: some shards, no manifest.
    let cut = folder.path().join("cut");
    prepare(&raw, &cut).arg("events_per_shard=2").succeeds();
    std::fs::remove_file(cut.join("stage.json")).unwrap();
    std::fs::remove_file(cut.join("train/generic_v2_5_v1_00002.safetensors")).unwrap();
    common::durable::write(cut.join("train/.podium-tmp-x"), b"half").unwrap();
    prepare(&raw, &cut).arg("events_per_shard=2").succeeds().says("shards kept from an earlier run");
    assert!(differing(&whole, &cut).is_empty(), "{:?}", differing(&whole, &cut));
}

#[test]
fn a_limit_takes_the_first_events_of_each_set() {
    let folder = tempfile::tempdir().unwrap();
    simulate(&folder.path().join("sim")).succeeds();
    let metrics = prepare(&folder.path().join("sim/raw"), &folder.path().join("data"))
        .args(["--limit", "6"])
        .succeeds()
        .manifest();
    assert_eq!((&metrics["metrics"]["train/events"], &metrics["metrics"]["valid/events"]), (&6.into(), &3.into()));
}
