//! Simulated LEAP raw data for tests, and ways to damage it.
#![allow(dead_code)] // each test target uses a part of it

use std::path::{Path, PathBuf};

use common::durable;
use common::store::netcdf::{NcFile, NcKind, NcValues, NcWriter};

use crate::support::{Outcome, cmd};

/// Writes a simulate config: months as YAML entries.
pub fn simulate_config(folder: &Path, columns: usize, months: &str, test_rows: u64, train_rows: u64) -> PathBuf {
    let text = format!(
        "system: leap\nseed: 5\ncolumns: {columns}\nmonths:\n{months}\nkaggle:\n  test_rows: {test_rows}\n  train_rows: {train_rows}\n"
    );
    let path = folder.join("simulate.yaml");
    durable::write(&path, text.as_bytes()).unwrap();
    path
}

/// Three columns, six steps in 0001-02 and three in 0008-07, five test rows: `FOLDER/sim`.
pub fn small(folder: &Path) -> PathBuf {
    let months = "  - {months: [0001-02], days: 2, step_stride: 24}\n  - {months: [0008-07], days: 1, step_stride: 24}";
    let config = simulate_config(folder, 3, months, 5, 0);
    let sim = folder.join("sim");
    cmd("simulate-data").arg("leap").arg(&config).arg("--out").arg(&sim).succeeds();
    sim.join("raw")
}

/// A prepare config for [`small`].
pub fn prepare_config(folder: &Path, more: &str) -> PathBuf {
    let text = format!(
        "system: leap\ntrain: {{netcdf: {{months: [0001-02..0008-07]}}}}\nvalid: {{netcdf: {{months: [0008-07], stride: 2, table: true}}}}\n{more}"
    );
    let path = folder.join("prepare.yaml");
    durable::write(&path, text.as_bytes()).unwrap();
    path
}

/// Prepares `raw` with [`prepare_config`] into `FOLDER/OUT`.
pub fn prepare(folder: &Path, raw: &Path, out: &str, more: &[&str]) -> Outcome {
    let config = prepare_config(folder, "");
    cmd("prepare-data")
        .arg("leap")
        .arg(config)
        .args(more)
        .arg("--raw")
        .arg(raw)
        .arg("--out")
        .arg(folder.join(out))
        .run()
}

/// The mli or mlo file of the `n`-th step of a month.
pub fn step_file(raw: &Path, month: &str, kind: &str, n: usize) -> PathBuf {
    let entries = std::fs::read_dir(raw.join("train").join(month)).unwrap();
    let mut files: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.to_string_lossy().contains(kind)).collect();
    files.sort();
    files.swap_remove(n)
}

/// A variable of a netCDF file, free to be changed.
pub struct Variable {
    pub name: String,
    pub dims: Vec<String>,
    pub values: Vec<f64>,
}

/// Rewrites a netCDF file through `change`, which sees the dimensions and all variables as f64.
pub fn rewrite(path: &Path, kind: NcKind, change: impl FnOnce(&mut Vec<(String, usize)>, &mut Vec<Variable>)) {
    let file = NcFile::open(path).unwrap();
    let mut dims: Vec<(String, usize)> = file.dimensions().iter().map(|d| (d.name.clone(), d.len)).collect();
    let read = |v: &common::store::netcdf::Variable| {
        let values = file.read_f64(&v.name).unwrap();
        Variable { name: v.name.clone(), dims: v.dims.clone(), values }
    };
    let mut variables: Vec<Variable> = file.variables().iter().map(read).collect();
    drop(file);
    change(&mut dims, &mut variables);
    let mut writer = NcWriter::new(kind);
    for (name, len) in &dims {
        writer.dimension(name, *len).unwrap();
    }
    for v in &variables {
        let dims: Vec<&str> = v.dims.iter().map(String::as_str).collect();
        writer.variable(&v.name, &dims, NcValues::F64(&v.values)).unwrap();
    }
    writer.write(path).unwrap();
}
