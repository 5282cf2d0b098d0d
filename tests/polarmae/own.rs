//! Data of one's own detector: other names, widths, labels, formats and places, with no labels, or with something else in a
//! file's place.

use std::path::Path;

use common::store::hdf5::ListWriter;
use common::store::tables::{Column, Table, write_parquet};
use common::store::tensors::TensorFile;
use serde_json::Value;

use crate::raw::{Event, prepare, train, write};

const LONG: &[f32] = &[1.0; 40];
const SOUND: Event = &[(4, &[1.0]), (1, LONG)];

fn metrics(manifest: &Value) -> &Value {
    &manifest["metrics"]
}

/// A file of events of 30 points in rows of four, energy first, without clusters or with rows of (semantic type, points).
fn narrow(path: &Path, labels: Option<i32>) {
    let sets: &[&str] = if labels.is_some() { &["truth"] } else { &[] };
    let mut writer = ListWriter::create(path, &["hits"], sets).unwrap();
    for event in 0..3 {
        let rows: Vec<f32> = (0..30).flat_map(|i| [1.5, 300.0 + i as f32, 100.0 + event as f32, 30.0]).collect();
        writer.append_floats("hits", &rows).unwrap();
        if let Some(label) = labels {
            writer.append_integers("truth", &[label, 20, 13, 10]).unwrap();
        }
    }
    writer.finish().unwrap();
}

const NARROW: [&str; 6] = [
    "layout.points=hits",
    "layout.point_columns={width: 4, energy: 0, x: 1, y: 2, z: 3}",
    "layout.clusters=truth",
    "layout.cluster_columns={width: 2, semantic: 0, size: 1}",
    "layout.labels={values: {11: 0, 13: 1}, ignore: [0], names: [electron, muon]}",
    "selection.remove_low_energy_scatters=false",
];

#[test]
fn files_without_labels_are_enough_for_pretraining_and_refused_for_a_segmentation() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for set in ["train", "val"] {
        narrow(&at("raw").join(set).join("a.h5"), None);
    }
    prepare(&at("raw"), &at("data"))
        .args(&NARROW[..5])
        .fails(3)
        .says("has no labels")
        .says("low_energy_scatters=false");
    prepare(&at("raw"), &at("data")).args(NARROW).succeeds().says("have no labels");
    let trained = train("demo/pretrain.yaml", &at("data"), &at("mae"), 1).succeeds().says("no probe").manifest();
    assert!(metrics(&trained)["loss"].is_number() && metrics(&trained)["svm_f1"].is_null());
    let pixels = "model.segmentation.network.num_classes=2";
    train("demo/segment.yaml", &at("data"), &at("seg"), 1)
        .args([pixels, "model.segmentation.class_weights=[1,1]"])
        .fails(3)
        .says("the training events have no labels")
        .says("they need none");
}

#[test]
fn names_widths_and_labels_come_from_the_layout() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    narrow(&at("raw/train/a.h5"), Some(11));
    narrow(&at("raw/val/a.h5"), Some(0));
    prepare(&at("raw"), &at("data")).args(NARROW).succeeds();
    let classes = |set: &str| {
        let shard = TensorFile::open(at("data").join(set).join("a_00000.safetensors")).unwrap();
        shard.u8("semantic").unwrap()[18..22].to_vec()
    };
    assert_eq!((classes("train"), classes("valid")), (vec![0, 0, 1, 1], vec![255, 255, 1, 1]));
    narrow(&at("raw/val/a.h5"), Some(7));
    prepare(&at("raw"), &at("other"))
        .args(NARROW)
        .fails(3)
        .says("val/a.h5")
        .says("element 0: row 0, in cluster 0 has the semantic type 7, expected 11, 13")
        .says("layout.labels.ignore");
    let skipped = prepare(&at("raw"), &at("skipped")).args(NARROW).arg("selection.unusable=skip").succeeds();
    assert_eq!(metrics(&skipped.manifest())["valid/left_out/unknown_label"], 60);
    prepare(&at("raw"), &at("other")).fails(3).says("has no data set `point`; it holds `hits`, `truth`");
}

#[test]
fn points_that_cannot_be_right_are_told_with_event_and_row_or_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("raw/val/v.h5"), &[SOUND]);
    write(&at("raw/train/a.h5"), &[SOUND, &[(4, &[1.0]), (1, &[f32::NAN; 40]), (0, &[-1.0; 5]), (0, LONG)]]);
    let told = prepare(&at("raw"), &at("data")).fails(3);
    told.says("train/a.h5").says("element 1: row 1, in cluster 1 has x, y, z, energy").says("selection.unusable=skip");
    let box_of = "layout.detector={low: [0, 0, 0], high: [768, 310, 768]}";
    let skipped = prepare(&at("raw"), &at("data")).args(["selection.unusable=skip", box_of]).succeeds();
    let skipped = skipped.says("40 points with a place or an energy that is no number").says("outside of the detector");
    let manifest = skipped.manifest();
    let left_out = |reason: &str| metrics(&manifest)[&format!("train/left_out/{reason}")].as_u64();
    assert_eq!((left_out("non_finite"), left_out("negative"), left_out("outside")), (Some(40), Some(5), Some(40)));
}

#[test]
fn events_below_the_minimum_are_counted_and_a_set_without_any_event_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("raw/val/v.h5"), &[SOUND]);
    write(&at("raw/train/a.h5"), &[SOUND, &[(4, &[1.0]), (1, &[1.0; 5])], &[(4, LONG), (1, &[0.1])]]);
    let prepared = prepare(&at("raw"), &at("data")).succeeds().manifest();
    let count = |key: &str| metrics(&prepared)[key].as_u64();
    assert_eq!(
        (count("train/events"), count("train/below_minimum"), count("train/too_short")),
        (Some(1), Some(1), Some(1))
    );
    assert_eq!((count("train/left_out/scatters"), count("train/left_out/weak")), (Some(41), Some(1)));
    prepare(&at("raw"), &at("none"))
        .arg("selection.min_points=1000")
        .fails(3)
        .says("keeps none of its 3 events: 3 have fewer than 1000 voxels");
}

#[test]
fn a_leading_track_is_told_and_kept_by_its_label() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("raw/val/v.h5"), &[SOUND]);
    write(&at("raw/train/a.h5"), &[&[(1, LONG), (4, &[1.0; 3]), (0, LONG)]]);
    prepare(&at("raw"), &at("data"))
        .succeeds()
        .says("the first cluster of 1 events is not of low-energy scatters and was left out with its 40 points")
        .says("`train/a.h5` is the first such file");
    let kept = prepare(&at("raw"), &at("labelled")).arg("selection.scatters=labelled").succeeds();
    assert_eq!(metrics(&kept.manifest())["train/points"], 80);
}

#[test]
fn nested_folders_patterns_and_files_of_one_name_are_all_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (i, name) in
        ["train/a.h5", "train/a.hdf5", "train/run1/a.h5", "train/.trash/b.h5", "val/v.h5"].iter().enumerate()
    {
        let energies = [1.0 + i as f32; 3];
        write(&at("raw").join(name), &[&[(4, &energies), (1, LONG)]]);
    }
    common::durable::write(at("raw/train/._a.h5"), b"not a data file").unwrap();
    let prepared = prepare(&at("raw"), &at("data")).succeeds().manifest();
    assert_eq!(metrics(&prepared)["train/events"], 3);
    for name in ["a.h5_00000", "a.hdf5_00000", "run1/a_00000"] {
        assert!(at("data/train").join(format!("{name}.safetensors")).is_file(), "{name}");
    }
    let some = prepare(&at("raw"), &at("some")).arg("sets.train=[train/run?/*.h5, train/a.h5]").succeeds();
    assert_eq!(metrics(&some.manifest())["train/events"], 2);
    prepare(&at("raw"), &at("both"))
        .arg("sets.valid=train/run1")
        .fails(3)
        .says("is a file of the sets `train` and `valid`");
}

#[test]
fn tables_of_points_are_prepared_with_their_event_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for set in ["train", "val"] {
        let mut table = Table::new();
        table.push("event", Column::I64([vec![41; 30], vec![7; 30]].concat())).unwrap();
        for (name, first) in [("x", 900.0f64), ("y", 30.0), ("z", 60.0)] {
            table.push(name, Column::F64((0..60).map(|i| first + f64::from(i) * 3.0).collect())).unwrap();
        }
        table.push("edep", Column::F32(vec![1.0; 60])).unwrap();
        table.push("semantic", Column::I64([vec![4; 10], vec![1; 50]].concat())).unwrap();
        write_parquet(at("raw").join(set).join("p.parquet"), &table).unwrap();
    }
    let voxels = "layout.voxel={size: 3, origin: [900, 0, 0], cm: 0.3}";
    prepare(&at("raw"), &at("data")).args([voxels, "layout.table.energy=edep"]).succeeds();
    let shard = TensorFile::open(at("data/train/p_00000.safetensors")).unwrap();
    assert_eq!(shard.i64("event").unwrap(), [41, 7]);
    assert_eq!((shard.i64("offsets").unwrap(), shard.i64("raw_points").unwrap()), (&[0, 20, 50][..], &[30, 30][..]));
    // The first voxel kept is the eleventh of the event.
    assert_eq!((&shard.f32("points").unwrap()[..3], shard.i32("voxel").unwrap()[0]), (&[10.0, 20.0, 30.0][..], 10));
}

#[test]
fn what_a_failed_download_left_behind_is_named_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("raw/val/v.h5"), &[SOUND]);
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 98765\n";
    common::durable::write(at("raw/train/a.h5"), pointer).unwrap();
    prepare(&at("raw"), &at("data")).fails(3).says("train/a.h5").says("is a pointer of git-lfs").says("git lfs pull");
    common::durable::write(at("raw/train/a.h5"), b"<!DOCTYPE html><title>Sign in</title>").unwrap();
    prepare(&at("raw"), &at("data")).fails(3).says("is a web page, titled `Sign in`,");
}

/// The third release: parquet, a row an event, its lists flat as in HDF5. `third/*.parquet` was written by pyarrow 23 from the
/// events below, once with integers in row groups of two, once with floats.
#[test]
fn parquet_with_a_row_an_event_gives_what_the_same_lists_in_hdf5_give() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for set in ["train", "val"] {
        let mut writer = ListWriter::create(at("h5").join(set).join("a.h5"), &["point"], &["cluster"]).unwrap();
        for event in 0..5 {
            let (mut points, mut clusters) = (vec![], vec![]);
            for (number, (semantic, count, particle)) in
                [(4, 1 + event, -1), (1, 40 + event, 2), (0, 25, 1)].into_iter().enumerate()
            {
                for i in 0..count {
                    let (i, row, energy) = (i as f32, 300.0 + 9.0 * number as f32, 1.0 + 0.25 * i as f32);
                    points.extend([300.0 + i, row, 300.0 + event as f32, energy, energy, 0.0, 0.0, 0.0]);
                }
                clusters.extend([count, number as i32, number as i32, 0, semantic, particle]);
            }
            writer.append_floats("point", &points).unwrap();
            writer.append_integers("cluster", &clusters).unwrap();
        }
        writer.finish().unwrap();
    }
    let fixtures = crate::support::root().join("tests/polarmae/third");
    for kind in ["ints", "floats"] {
        let bytes = std::fs::read(fixtures.join(kind).with_extension("parquet")).unwrap();
        for set in ["train", "val"] {
            common::durable::write(at(kind).join(set).join("a.parquet"), &bytes).unwrap();
        }
    }
    let shard = |raw: &str| {
        prepare(&at(raw), &at(&format!("{raw}-data"))).succeeds();
        let found = crate::raw::results(&at(&format!("{raw}-data")));
        let (_, bytes) = found.into_iter().find(|(name, _)| name.starts_with("train/")).unwrap();
        bytes
    };
    let wanted = shard("h5");
    let wanted = safetensors::SafeTensors::deserialize(&wanted).unwrap();
    assert!(wanted.len() > 3 && wanted.tensors().iter().any(|(name, _)| name == "particle"));
    for kind in ["ints", "floats"] {
        let found = shard(kind);
        let found = safetensors::SafeTensors::deserialize(&found).unwrap();
        assert_eq!(found.names().len(), wanted.names().len(), "{kind}");
        for (name, tensor) in wanted.tensors() {
            let same = found.tensor(&name).unwrap();
            assert_eq!((same.shape(), same.data()), (tensor.shape(), tensor.data()), "{kind}: {name}");
        }
    }
    // What the columns hold is checked, and told by file, column and row.
    let refused = |argument: &str| prepare(&at("ints"), &at("none")).arg(argument).fails(3).says("a.parquet");
    refused("layout.point_columns={width: 7, energy: 3, x: 0, y: 1, z: 2}").says("row 0");
    refused("layout.points=event_id");
}

/// Six events of 30 voxels, as h5py 3 wrote them with the filters of hdf5plugin 6; a chunk of `wide` (LZF) is larger than the file.
#[test]
fn files_packed_by_filters_that_the_library_lacks_are_read_like_those_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let packed = |name: &str| crate::support::root().join("tests/polarmae/packed").join(format!("{name}.h5"));
    let prepared = |name: &str| {
        for set in ["train", "val"] {
            std::fs::create_dir_all(at(name).join(set)).unwrap();
            common::durable::write(at(name).join(set).join("a.h5"), &std::fs::read(packed(name)).unwrap()).unwrap();
        }
        let out = at(&format!("{name}-data"));
        prepare(&at(name), &out).succeeds();
        let shard = TensorFile::open(out.join("train/a_00000.safetensors")).unwrap();
        (
            shard.f32("points").unwrap().to_vec(),
            shard.i64("offsets").unwrap().to_vec(),
            shard.u8("semantic").unwrap().to_vec(),
        )
    };
    let library = prepared("gzip");
    assert_eq!(library.1, [0, 25, 50, 75, 100, 125, 150]);
    // The sixth voxel of the second event, and its energy on the network's scale: that of the first event is lower.
    assert_eq!(library.0[4 * 25..4 * 25 + 3], [305.0, 301.0, 300.0]);
    assert!(library.0[3] < library.0[4 * 25 + 3]);
    for name in ["bzip2", "lzf", "lz4", "zstd", "wide"] {
        assert_eq!(prepared(name), library, "{name}");
    }
    // Damage is told with its place.
    let path = at("lzf/train/a.h5");
    let content = std::fs::read(&path).unwrap();
    for place in (0..content.len()).step_by(97) {
        let mut broken = content.clone();
        broken[place] ^= 0x5a;
        common::durable::write(&path, &broken).unwrap();
        let file = common::store::hdf5::ListFile::open(&path);
        let read = file.and_then(|file| {
            let lists = file.lists("point")?;
            lists.floats(0..lists.len(), |_, _| Ok(()))
        });
        if let Err(error) = read {
            assert!(error.to_string().contains("a.h5"), "{error}");
        }
    }
}
