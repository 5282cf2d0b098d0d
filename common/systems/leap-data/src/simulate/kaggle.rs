//! Simulated Kaggle files: `test.csv`, its hidden truth, `train.csv` and the two sample submissions.

use std::io::Write;
use std::path::Path;

use common::cli::progress::Bar;
use common::cli::signals;
use common::durable::{AtomicFile, Written};
use common::seed;
use common::{Error, Result};
use rand::Rng;

use super::world::{Step, World};
use crate::columns::{self, TARGETS};
use crate::norm::{Chain, Constants};
use crate::raw::block::WIDTH;
use common::ordered::ordered;

/// Rows formatted at a time by one worker.
const CHUNK: u64 = 64;
/// Rows of `sample_submission_old.csv`; all are equal and readers take the first.
const OLD_ROWS: u64 = 5;

/// Rows drawn at random from steps and columns, without regard to each other.
pub struct Draw<'a> {
    /// The world that they are rows of.
    pub world: &'a World,
    /// Steps to draw from.
    pub steps: &'a [Step],
    /// Seed of the run.
    pub seed: u64,
    /// Stream of this file: `test` or `train`; also the beginning of its ids.
    pub name: &'static str,
    /// Number of rows.
    pub rows: u64,
    /// CPU threads.
    pub threads: usize,
}

impl Draw<'_> {
    /// Row `i`: 556 inputs and 368 un-weighted targets, csv order.
    pub fn row(&self, i: u64, row: &mut [f64]) {
        let mut rng = seed::rng_for(self.seed, self.name, i);
        let mut below = |n: usize| ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize;
        let step = self.steps[below(self.steps.len())];
        let column = below(self.world.grid.numbers.len());
        self.world.row(&step, column, row);
    }

    /// Id of row `i`.
    pub fn id(&self, i: u64) -> String {
        format!("{}_{i}", self.name)
    }

    /// Writes the first `width` columns of all rows as csv.
    pub fn write_csv(&self, path: &Path, names: &[&str], bar: &Bar) -> Result<Written> {
        let width = names.len();
        let chunks = self.rows.div_ceil(CHUNK);
        let mut file = AtomicFile::create(path)?;
        let mut put = |text: &[u8]| file.write_all(text).map_err(|e| Error::io("writing", path, e));
        put(format!("sample_id,{}\n", names.join(",")).as_bytes())?;
        let format = |chunk: usize| {
            let mut text = Vec::with_capacity(CHUNK as usize * width * 20);
            let mut row = vec![0.0; WIDTH];
            let first = chunk as u64 * CHUNK;
            for i in first..(first + CHUNK).min(self.rows) {
                self.row(i, &mut row);
                text.extend_from_slice(self.id(i).as_bytes());
                append_numbers(&mut text, &row[..width]);
            }
            Ok(text)
        };
        ordered(chunks as usize, self.threads, 2 * self.threads, format, |_, text| {
            signals::check("simulated files so far are kept; the same command starts anew")?;
            bar.tick(1);
            put(&text)
        })?;
        file.commit()
    }
}

/// Names of all columns of `train.csv` behind the id.
pub fn train_columns() -> Vec<&'static str> {
    columns::csv_inputs().iter().chain(columns::submission()).copied().collect()
}

/// `sample_submission.csv`: 1 for each target, 0 for the 63 whose old weight is 0.
pub fn write_sample(path: &Path, draw: &Draw<'_>) -> Result<Written> {
    let values: Vec<f64> = old_weights()?.iter().map(|w| if *w == 0.0 { 0.0 } else { 1.0 }).collect();
    write_constant(path, (0..draw.rows).map(|i| draw.id(i)), &values)
}

/// `sample_submission_old.csv`: the old weights of the targets.
pub fn write_old_sample(path: &Path, draw: &Draw<'_>) -> Result<Written> {
    write_constant(path, (0..draw.rows.min(OLD_ROWS)).map(|i| draw.id(i)), &old_weights()?)
}

/// In submission order.
fn old_weights() -> Result<Vec<f64>> {
    let weight = &Constants::published(Chain::B)?.weight;
    Ok(columns::submission_to_train_targets().iter().map(|&c| weight[c]).collect())
}

fn write_constant(path: &Path, ids: impl Iterator<Item = String>, values: &[f64]) -> Result<Written> {
    debug_assert_eq!(values.len(), TARGETS);
    let mut tail = Vec::new();
    append_numbers(&mut tail, values);
    common::durable::write_with(path, |out| {
        writeln!(out, "sample_id,{}", columns::submission().join(","))?;
        ids.into_iter().try_for_each(|id| out.write_all(id.as_bytes()).and_then(|()| out.write_all(&tail)))
    })
}

/// `,1.0,2.5e-7` and the end of the line: the shortest text that reads back to the same number.
fn append_numbers(text: &mut Vec<u8>, values: &[f64]) {
    for value in values {
        // Writing to memory cannot fail.
        let _ = write!(text, ",{value:?}");
    }
    text.push(b'\n');
}
