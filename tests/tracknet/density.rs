//! `hit-density`.

use crate::simulate;
use crate::support::cmd;
use tracknet::density::DensityMap;

#[test]
fn maps_do_not_depend_on_threads_and_count_every_hit() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let map = |name: &str, more: &[&str]| {
        let path = folder.path().join(name);
        let command = cmd("hit-density").arg("--data-dir").arg(folder.path().join("sim/raw")).args(more);
        let outcome = command.arg("--output").arg(&path).succeeds();
        (std::fs::read(&path).unwrap(), DensityMap::read(&path).unwrap(), outcome)
    };
    let (one, read, outcome) = map("one.npz", &["--threads", "1"]);
    assert!(outcome.stdout.contains("Density map statistics:") && outcome.stdout.contains("99th percentile"));
    assert_eq!(one, map("two.npz", &["--threads", "2"]).0);
    let hits: usize = (1000..1005)
        .map(|e| std::fs::read_to_string(folder.path().join(format!("sim/raw/event{e:09}-hits.csv"))).unwrap())
        .map(|text| text.lines().count() - 1)
        .sum();
    let counted: f64 = read.density.iter().map(|&d| f64::from(d)).sum::<f64>() * 5.0;
    assert!((counted - hits as f64).abs() < 0.01, "{counted} of {hits} hits");
    let (_, small, outcome) = map("small.npz", &["--bounds=-200,200,-200,200,-500,500", "--json"]);
    assert!(outcome.stderr.contains("lie outside of the grid"), "{}", outcome.stderr);
    let told: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let inside: f64 = small.density.iter().map(|&d| f64::from(d)).sum::<f64>() * 5.0;
    assert_eq!(told["hits"].as_u64().unwrap() - told["dropped"].as_u64().unwrap(), inside.round() as u64);
}

#[test]
fn a_bad_event_fails_unless_it_is_to_be_skipped() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path());
    let raw = folder.path().join("sim/raw");
    std::fs::write(raw.join("event000001002-hits.csv"), "hit_id,x\n1,2\n").unwrap();
    let command = || cmd("hit-density").arg("--data-dir").arg(&raw).arg("--output").arg(folder.path().join("x.npz"));
    command().fails(3).says("event000001002-hits.csv").says("has no column `y`");
    command().arg("--skip-bad").succeeds().says("left out").says("4 events");
    command().args(["--voxel-size", "0"]).fails(2).says("`--voxel-size` is 0");
    command().args(["--skip-bad", "--voxel-size", "0.01"]).fails(2).says("voxels");
}
