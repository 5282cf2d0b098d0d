//! Small raw folders, written by hand and by `simulate-data`.

use std::path::{Path, PathBuf};

use common::store::tables::{Column, Table, write_parquet};

use crate::support::cmd;

/// An event to be written: id and number of pulses.
pub type Given = (i64, usize);

/// Writes `sensor_geometry.csv` and `ice_transparency.txt` of the real detector.
pub fn detector(folder: &Path) {
    use icecube::simulate::detector::{GEOMETRY, ICE};
    common::durable::write(folder.join("sensor_geometry.csv"), GEOMETRY).unwrap();
    common::durable::write(folder.join("ice_transparency.txt"), ICE).unwrap();
}

/// The pulses of events, in the order given; times ascend inside an event.
pub fn pulses(events: &[Given]) -> Table {
    let ids: Vec<i64> = events.iter().flat_map(|&(id, n)| std::iter::repeat_n(id, n)).collect();
    let place: Vec<i64> = events.iter().flat_map(|&(_, n)| 0..n as i64).collect();
    let mut table = Table::new();
    let sensor = ids.iter().zip(&place).map(|(id, i)| ((id * 31 + i * 7) % 5160) as i16).collect();
    table.push("sensor_id", Column::I16(sensor)).unwrap();
    table.push("time", Column::I64(place.iter().map(|i| 9000 + 3 * i).collect())).unwrap();
    table.push("charge", Column::F64(place.iter().map(|i| 0.025 * (1 + i % 90) as f64).collect())).unwrap();
    table.push("auxiliary", Column::Bool(place.iter().map(|i| i % 3 == 0).collect())).unwrap();
    table.push("event_id", Column::I64(ids)).unwrap();
    table
}

/// The meta table of events that lie one after the other; one without pulses has an empty range.
pub fn meta(events: &[Given]) -> Table {
    let mut first = 0;
    let ranges: Vec<(i64, i64)> = events
        .iter()
        .map(|&(_, n)| {
            first += n as i64;
            (first - n as i64, first - 1)
        })
        .collect();
    let mut table = Table::new();
    table.push("batch_id", Column::I64(vec![1; events.len()])).unwrap();
    table.push("event_id", Column::I64(events.iter().map(|(id, _)| *id).collect())).unwrap();
    table.push("first_pulse_index", Column::I64(ranges.iter().map(|r| r.0).collect())).unwrap();
    table.push("last_pulse_index", Column::I64(ranges.iter().map(|r| r.1).collect())).unwrap();
    table.push("azimuth", Column::F64(events.iter().map(|(id, _)| (*id % 6) as f64).collect())).unwrap();
    table.push("zenith", Column::F64(events.iter().map(|(id, _)| (*id % 3) as f64).collect())).unwrap();
    table
}

/// A whole raw folder with one training file and no test file: `FOLDER/raw`.
pub fn one_file(folder: &Path, events: &[Given]) -> PathBuf {
    let raw = folder.join("raw");
    detector(&raw);
    write_parquet(raw.join("train/batch_1.parquet"), &pulses(events)).unwrap();
    write_parquet(raw.join("train_meta/train_meta_1.parquet"), &meta(events)).unwrap();
    raw
}

/// `FOLDER/sim`, a finished simulate-data stage: two training files, one for validation, one test file.
pub fn simulated(folder: &Path) -> PathBuf {
    let text = "system: icecube\nseed: 7\ntrain:\n  - {first: 1, files: 2, events: 40}\n  - {first: 655, files: 1, events: 20}\ntest: [{first: 661, files: 1, events: 25}]\nphysics: {median_pulses: 30, spread: 0.8, noise_pulses: 8}\n";
    common::durable::write(folder.join("simulate.yaml"), text.as_bytes()).unwrap();
    let sim = folder.join("sim");
    let config = folder.join("simulate.yaml");
    cmd("simulate-data").arg("icecube").arg(config).args(["--threads", "1", "-q"]).arg("-o").arg(&sim).succeeds();
    sim
}

/// `prepare-data icecube` with the published config.
pub fn prepare() -> crate::support::Cmd {
    let config = crate::support::root().join("configs/icecube/prepare.yaml");
    cmd("prepare-data").arg("icecube").arg(config)
}
