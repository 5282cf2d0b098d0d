//! Csv of a submission (id and 368 doubles a row) against pandas' `to_csv`.
//!
//! `PODIUM_BENCH_PYTHON=/path/to/python cargo bench --bench csv_write -- [ROWS]` (20,000; the competition has 625,000);
//! the Python needs pandas and pyarrow. Without it only our time is printed. Times include making the file durable.
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::process::Command;
use std::time::Instant;

use common::seed::rng_for;
use common::store::tables::{CsvWriter, Table, write_csv, write_parquet};
use rand::RngExt;

const COLUMNS: usize = 368;

fn main() -> anyhow::Result<()> {
    let rows: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(20_000);
    let mut rng = rng_for(4, "bench", 0);
    let ids: Vec<String> = (0..rows).map(|n| format!("test_{n}")).collect();
    let names: Vec<String> = (0..COLUMNS).map(|c| format!("ptend_{c}")).collect();
    let values: Vec<f64> =
        (0..rows * COLUMNS).map(|i| rng.random_range(-1.0..1.0) * 1e-8f64.powi((i % 3) as i32)).collect();
    let table = Table::of_matrix("sample_id", ids, &names, &values)?;
    drop(values);
    let folder = tempfile::tempdir()?;

    let start = Instant::now();
    let written = write_csv(folder.path().join("podium.csv"), &table)?;
    let ours = start.elapsed().as_secs_f64();
    println!("{rows} rows x {COLUMNS}, {:.1} MB", written.bytes as f64 / 1e6);
    println!("podium  {ours:>9.3} s   {:>8.1} MB/s", written.bytes as f64 / 1e6 / ours);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let start = Instant::now();
    pool.install(|| -> common::Result<()> {
        let mut writer = CsvWriter::create(folder.path().join("one.csv"), table.names())?;
        writer.append(&table)?;
        writer.finish().map(|_| ())
    })?;
    println!("podium  {:>9.3} s   one thread", start.elapsed().as_secs_f64());

    let Some(python) = std::env::var_os("PODIUM_BENCH_PYTHON") else {
        println!("pandas  not measured: PODIUM_BENCH_PYTHON is not set");
        return Ok(());
    };
    let parquet = folder.path().join("table.parquet");
    write_parquet(&parquet, &table)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/python/csv_write.py");
    let output = Command::new(python).arg(script).arg(&parquet).arg(folder.path().join("pandas.csv")).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let seconds = theirs["seconds"].as_f64().unwrap_or(f64::NAN);
    println!("pandas  {seconds:>9.3} s   {} bytes", theirs["bytes"]);
    println!("ratio   {:>9.1} x", seconds / ours);
    Ok(())
}
