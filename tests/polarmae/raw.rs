//! Raw data and configs at a tiny size.

use std::path::{Path, PathBuf};

use common::store::hdf5::ListWriter;

use crate::support::{Cmd, cmd, root};

/// Overrides that make the demo's simulation tiny.
pub const SMALL: [&str; 6] = [
    "train_events=8",
    "valid_events=3",
    "rates.track_length=[20,60]",
    "rates.shower_voxels=[40,80]",
    "rates.scatters=[10,30]",
    "events_per_file=5",
];

/// Overrides that make the demo's networks tiny.
pub const TINY: [&str; 4] = [
    "training.batch_size=2",
    "data.max_valid_events=2",
    "training.print_freq=1",
    "training.checkpoint.every_seconds=null",
];

pub fn config(name: &str) -> PathBuf {
    root().join("configs/polarmae").join(name)
}

pub fn simulate(out: &Path) -> Cmd {
    cmd("simulate-data")
        .arg("polarmae")
        .arg(config("demo/simulate.yaml"))
        .arg("--out")
        .arg(out)
        .args(["--threads", "1"])
        .args(SMALL)
}

pub fn prepare(raw: &Path, out: &Path) -> Cmd {
    prepare_on(raw, out, "1")
}

/// The same on so many threads.
pub fn prepare_on(raw: &Path, out: &Path, threads: &str) -> Cmd {
    let prepare = cmd("prepare-data").arg("polarmae").arg(config("demo/prepare.yaml")).arg("--raw").arg(raw);
    prepare.arg("--out").arg(out).args(["--threads", threads, "selection.min_points=20"])
}

/// Simulated and prepared events: the folder of the store.
pub fn store(folder: &Path) -> PathBuf {
    simulate(&folder.join("sim")).succeeds();
    prepare(&folder.join("sim/raw"), &folder.join("data")).succeeds();
    folder.join("data")
}

pub fn train(name: &str, from: &Path, out: &Path, steps: u64) -> Cmd {
    let train = cmd("train-model").arg(config(name)).arg("--from").arg(from).arg("--out").arg(out);
    let most = format!("training.max_steps={steps}");
    let schedule =
        format!("training.schedule={{warmup_cosine: {{warmup: 2, max_steps: {}, start: 1.0e-5}}}}", steps + 2);
    train.args(["--threads", "1"]).args(TINY).arg(most).arg(schedule)
}

/// An event: its clusters as (semantic type, energies of its voxels).
pub type Event<'a> = &'a [(i32, &'a [f32])];

/// Writes a raw file with these events, their voxels in a row.
pub fn write(path: &Path, events: &[Event]) {
    let mut writer = ListWriter::create(path, &["point"], &["cluster"]).unwrap();
    for event in events {
        let (mut points, mut clusters) = (vec![], vec![]);
        for (number, (semantic, energies)) in event.iter().enumerate() {
            for (i, &energy) in energies.iter().enumerate() {
                points.extend([300.0 + i as f32, 300.0 + 9.0 * number as f32, 300.0, energy, energy, 0.0, 0.0, 0.0]);
            }
            clusters.extend([energies.len() as i32, number as i32, 0, 0, *semantic]);
        }
        writer.append_floats("point", &points).unwrap();
        writer.append_integers("cluster", &clusters).unwrap();
    }
    writer.finish().unwrap();
}

/// All files below a folder that are results: no logs, locks or times.
pub fn results(folder: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                walk(root, &path, found);
            } else if !["stage.json", "run.jsonl", ".lock", ".verified.jsonl"].iter().any(|end| name.ends_with(end))
                && !name.contains("tfevents")
            {
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = vec![];
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// Names of results that differ.
pub fn differing(a: &Path, b: &Path) -> Vec<String> {
    let (a, b) = (results(a), results(b));
    let mut names: Vec<String> = a.iter().filter(|file| !b.contains(file)).map(|(name, _)| name.clone()).collect();
    names.extend(b.iter().filter(|file| !a.contains(file)).map(|(name, _)| name.clone()));
    names
}
