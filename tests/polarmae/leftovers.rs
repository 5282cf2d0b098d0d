//! What lies in folders beside data, and files that are not alone: copies, links, equal content.
#![allow(clippy::disallowed_methods, reason = "files that a user leaves behind")]

use crate::raw::{Event, prepare, write};

const LONG: &[f32] = &[1.0; 40];
const SHORT: &[f32] = &[2.0; 30];
const ONE: [Event; 1] = [&[(4, &[1.0]), (1, LONG)]];
const OTHER: [Event; 1] = [&[(4, &[1.0]), (1, SHORT)]];

#[test]
fn copies_are_left_out_and_files_of_one_content_refused_in_a_set_and_told_across_sets() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let copy = |from: &str, to: &str| std::fs::copy(at(from), at(to)).unwrap();
    write(&at("raw/train/a.h5"), &ONE);
    write(&at("raw/val/v.h5"), &OTHER);
    for name in ["a (1).h5", "a-checkpoint.h5", "b.h5.crdownload"] {
        copy("raw/train/a.h5", &format!("raw/train/{name}"));
    }
    let made = prepare(&at("raw"), &at("data")).succeeds();
    assert_eq!(made.manifest()["metrics"]["train/events"], 1);
    made.says("a (1).h5").says("a-checkpoint.h5").says("an unfinished download");
    copy("raw/train/a.h5", "raw/val/w.h5");
    prepare(&at("raw"), &at("two")).succeeds().says("w.h5").says("has the same content");
    copy("raw/train/a.h5", "raw/train/z.h5");
    prepare(&at("raw"), &at("three")).fails(3).says("z.h5").says("its events would count twice");
}

#[test]
fn a_shard_is_made_anew_when_a_file_behind_a_link_changes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("parts/p.h5"), &ONE);
    write(&at("raw/val/v.h5"), &OTHER);
    std::fs::create_dir_all(at("raw/train")).unwrap();
    let linking = hdf5::File::create(at("raw/train/a.h5")).unwrap();
    for name in ["point", "cluster"] {
        linking.link_external("../../parts/p.h5", &format!("/{name}"), name).unwrap();
    }
    drop(linking);
    let shard = |of: &str| std::fs::read(at(of).join("train/a_00000.safetensors")).unwrap();
    let made = prepare(&at("raw"), &at("data")).succeeds().manifest();
    let inputs = made["inputs"].as_object().unwrap();
    assert!(inputs.keys().any(|name| name.ends_with("parts/p.h5")), "{inputs:?}");
    std::fs::remove_file(at("data/stage.json")).unwrap();
    write(&at("parts/p.h5"), &OTHER);
    prepare(&at("raw"), &at("data")).succeeds();
    prepare(&at("raw"), &at("fresh")).succeeds();
    assert!(shard("data") == shard("fresh"), "the shard of the old file was kept");
}

#[test]
fn classes_are_scored_whatever_their_types_and_what_counts_nowhere_is_refused() {
    use common::store::tables::{Column, Table, write_csv, write_parquet};

    let folder = tempfile::tempdir().unwrap();
    let table = |event: &[i32], label: &[i32], guess: &[i32]| {
        let mut table = Table::new();
        table.push("event", Column::I32(event.to_vec())).unwrap();
        table.push("point", Column::I32(vec![0; event.len()])).unwrap();
        table.push("label", Column::F64(label.iter().map(|&v| f64::from(v)).collect())).unwrap();
        table.push("prediction", Column::I16(guess.iter().map(|&v| v as i16).collect())).unwrap();
        for name in ["p_shower", "p_track"] {
            table.push(name, Column::F32(vec![0.5; event.len()])).unwrap();
        }
        table
    };
    let score = |table: &Table, name: &str| {
        let path = folder.path().join(name);
        if name.ends_with("csv") {
            write_csv(&path, table).unwrap()
        } else {
            write_parquet(&path, table).unwrap()
        };
        crate::support::cmd("score").arg(path)
    };
    let sound = table(&[0, 0, 1, 1], &[0, 1, -1, 1], &[0, 0, 1, 1]);
    let figures = |name: &str| -> serde_json::Value {
        let text = score(&sound, name).succeeds().stdout;
        serde_json::from_str::<serde_json::Value>(text.trim()).unwrap()["scores"][0].clone()
    };
    let (parquet, csv) = (figures("a.parquet"), figures("a.csv"));
    assert_eq!((&parquet["points"], &parquet["events"]), (&3.into(), &2.into()));
    assert_eq!((&csv["f1"], &csv["confusion"]), (&parquet["f1"], &parquet["confusion"]));
    score(&table(&[0, 0], &[0, 7], &[0, 0]), "b.parquet").fails(3).says("row 1: label is 7, expected 0 to 1");
    score(&table(&[0, 0], &[0, 1], &[0, -1]), "b.parquet").fails(3).says("row 1: prediction is -1");
    score(&table(&[0, 1, 0], &[0, 1, 0], &[0, 1, 0]), "b.parquet").fails(3).says("row 2: event 0 begins again");
}
