//! Score of 850,000 rows x 368 targets from mapped files, with peak anonymous memory. The published metric handles
//! about 30,000 rows/s in one process (28 s for these rows).
//!
//! `cargo bench --bench score -- [ROWS]`; the files (2.5 GB at full size) go to the temporary folder (`TMPDIR`).
#![allow(missing_docs, clippy::print_stdout, reason = "a bench prints its figures")]

use std::time::Instant;

use common::metrics::{ColumnSums, Scores};
use common::oof::Table;
use common::seed::rng_for;
use common::store::tensors::{Declaration, Dtype, TensorWriter};
use rand::RngExt;

const COLUMNS: usize = 368;
/// Rows/s of the published metric, measured in one process.
const PUBLISHED: f64 = 30_000.0;

fn main() -> anyhow::Result<()> {
    let rows: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(850_000);
    let folder = tempfile::tempdir()?;
    let (truth, oof) = (folder.path().join("valid.safetensors"), folder.path().join("oof.safetensors"));
    write(&truth, rows, "targets", "target_mean", "target_std", 0.0)?;
    write(&oof, rows, "predictions", "mean", "std", 0.3)?;
    for round in ["first pass", "second pass"] {
        let memory = common::memory::Peak::start();
        let start = Instant::now();
        let (truth, oof) = (Table::truth(&truth)?, Table::predictions(&oof)?);
        let sums = ColumnSums::of(&truth.matrix()?, &oof.in_space_of(&truth)?)?;
        let scores = Scores::new(&sums, &truth.rules(true));
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{round}: {rows} rows x {COLUMNS}, mean R2 {:.6}, {seconds:.2} s, {:.0} rows/s, peak anonymous {:.0} MiB, \
             {:.1} x published",
            scores.mean(),
            rows as f64 / seconds,
            memory.bytes() as f64 / f64::from(1 << 20),
            rows as f64 / seconds / PUBLISHED,
        );
    }
    Ok(())
}

/// Noise in both files, `share` of it different in the second.
fn write(path: &std::path::Path, rows: usize, values: &str, mean: &str, std: &str, share: f32) -> anyhow::Result<()> {
    let declared = [
        Declaration::new(values, Dtype::F32, &[rows, COLUMNS]),
        Declaration::new(mean, Dtype::F64, &[COLUMNS]),
        Declaration::new(std, Dtype::F64, &[COLUMNS]),
    ];
    let mut writer = TensorWriter::create(path, &declared, None)?;
    writer.append_elements(mean, &[0.0f64; COLUMNS])?;
    writer.append_elements(std, &[1.0f64; COLUMNS])?;
    // One block of noise, shifted row by row: cheap to make, different in every row.
    let mut rng = rng_for(9, "bench", 0);
    let noise: Vec<f32> = (0..2 * COLUMNS * 1024).map(|_| rng.random_range(-1.0f32..1.0)).collect();
    let mut row = [0.0f32; COLUMNS];
    for n in 0..rows {
        let (at, other) = ((n * 37) % (COLUMNS * 1024), (n * 91 + 5) % (COLUMNS * 1024));
        for c in 0..COLUMNS {
            row[c] = noise[at + c] * (1.0 + c as f32 * 0.01) + share * noise[other + c];
        }
        writer.append_elements(values, &row)?;
    }
    writer.finish()?;
    Ok(())
}
