//! `simulate-data icecube`.

use std::fs;

use common::store::tables::read_parquet;

use crate::raw;
use crate::support::cmd;

const CONFIG: &str = "system: icecube\nseed: 5\ntrain: [{first: 1, files: 1, events: 100}]\ntest: [{first: 661, files: 2, events: 30}]\nphysics: {median_pulses: 20, noise_pulses: 4}\n";

#[test]
fn a_seed_fixes_every_byte_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    common::durable::write(folder.path().join("c.yaml"), CONFIG.as_bytes()).unwrap();
    let run = |out: &str, more: &[&str]| {
        let base = ["icecube", "c.yaml", "-q", "-o", out];
        cmd("simulate-data").args(base).args(more).within(folder.path()).succeeds().manifest()["outputs"].clone()
    };
    let one = run("one", &["--threads", "1"]);
    assert_eq!(one["train/batch_1"]["blake3"], run("two", &["--threads", "2"])["train/batch_1"]["blake3"]);
    assert_ne!(one["train/batch_1"]["blake3"], run("other", &["--seed", "6"])["train/batch_1"]["blake3"]);
    // An event does not depend on how many others there are.
    let few = run("few", &["--limit", "10"]);
    let path = |out: &str, o: &serde_json::Value| folder.path().join(out).join(o["path"].as_str().unwrap());
    let all = read_parquet(path("one", &one["train/batch_1"]), None).unwrap();
    let some = read_parquet(path("few", &few["train/batch_1"]), None).unwrap();
    assert!(some.rows() > 50 && some.rows() < all.rows());
    assert_eq!(all.f64("charge").unwrap()[..some.rows()], *some.f64("charge").unwrap());
}

#[test]
fn the_folder_has_the_published_layout() {
    let folder = tempfile::tempdir().unwrap();
    let raw = raw::simulated(folder.path()).join("raw");
    let pulses = read_parquet(raw.join("train/batch_655.parquet"), None).unwrap();
    assert_eq!(pulses.names(), ["sensor_id", "time", "charge", "auxiliary", "event_id"]);
    let meta = read_parquet(raw.join("train_meta/train_meta_655.parquet"), None).unwrap();
    assert_eq!(meta.rows(), 20);
    let last = *meta.i64("last_pulse_index").unwrap().last().unwrap();
    assert_eq!(last + 1, pulses.rows() as i64);
    let sample = read_parquet(raw.join("sample_submission.parquet"), None).unwrap();
    assert_eq!(sample.names(), ["event_id", "azimuth", "zenith"]);
    let test = read_parquet(raw.join("test_meta.parquet"), None).unwrap();
    assert_eq!(test.names(), ["batch_id", "event_id", "first_pulse_index", "last_pulse_index"]);
    assert_eq!(test.i64("event_id").unwrap(), sample.i64("event_id").unwrap());
    let truth = read_parquet(folder.path().join("sim/truth/events.parquet"), None).unwrap();
    assert_eq!(truth.rows(), 2 * 40 + 20 + 25);
    assert_eq!(fs::read_to_string(raw.join("sensor_geometry.csv")).unwrap().lines().count(), 5161);
}

#[test]
fn wrong_configs_end_with_code_2_and_name_the_key() {
    let folder = tempfile::tempdir().unwrap();
    common::durable::write(folder.path().join("c.yaml"), CONFIG.as_bytes()).unwrap();
    let run = |more: &str| cmd("simulate-data").args(["icecube", "c.yaml", more]).within(folder.path()).fails(2);
    run("physics.tracks=2").says("physics.tracks").says("is 2, expected 0 to 1");
    run("physics.track=1").says("tracks");
    run("test=[{first: 661, files: 2, events: 1}, {first: 662, files: 1, events: 1}]")
        .says("`batch_662.parquet` twice");
}
