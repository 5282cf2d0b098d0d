//! Where packed rows belong: which rows of a batch are one event's tokens, one group's points.

use common::{Error, Result};
use neural::device;
use tch::{Device, Kind, Tensor};

/// Consecutive runs of rows: `lengths[i]` rows belong to item i.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    lengths: Vec<i64>,
    starts: Vec<i64>,
}

impl Runs {
    /// From the lengths of the runs.
    pub fn new(lengths: Vec<i64>) -> Self {
        let mut total = 0;
        let starts = lengths
            .iter()
            .map(|n| {
                total += n;
                total - n
            })
            .collect();
        Self { lengths, starts }
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no run.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Rows of all runs together.
    pub fn rows(&self) -> i64 {
        self.lengths.iter().sum()
    }

    /// Length of each run.
    pub fn lengths(&self) -> &[i64] {
        &self.lengths
    }

    /// First row of each run.
    pub fn starts(&self) -> &[i64] {
        &self.starts
    }

    /// (first row, length) of each run.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.starts.iter().copied().zip(self.lengths.iter().copied())
    }

    /// Longest run; 0 of none.
    pub fn longest(&self) -> i64 {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// For every row the number of its run.
    pub fn owners(&self) -> Vec<i64> {
        self.lengths.iter().enumerate().flat_map(|(i, &n)| std::iter::repeat_n(i as i64, n as usize)).collect()
    }

    /// `[runs, longest]`: the row of each place, the first row of the run where there is none; and whether there is one.
    pub fn padded(&self, device: Device) -> (Tensor, Tensor) {
        let width = self.longest();
        let mut index = Vec::with_capacity(self.len() * width as usize);
        let mut valid = Vec::with_capacity(self.len() * width as usize);
        let last = (self.rows() - 1).max(0);
        for (start, length) in self.iter() {
            for i in 0..width {
                index.push(if i < length { start + i } else { start.min(last) });
                valid.push(i < length);
            }
        }
        let shape = [self.len() as i64, width];
        (
            device::placed(&Tensor::from_slice(&index).view(shape), device),
            device::placed(&Tensor::from_slice(&valid).view(shape), device),
        )
    }
}

/// A list of rows as an index tensor.
pub fn index(rows: &[i64], device: Device) -> Tensor {
    device::placed(&Tensor::from_slice(rows), device)
}

/// Largest value of each run and channel: `[R, C]` -> `[runs, C]`. No run is empty. The gradient goes to the first of
/// equal rows.
pub fn run_max(x: &Tensor, runs: &Runs) -> Result<Tensor> {
    let channels = x.size()[1];
    if runs.is_empty() {
        return Ok(x.narrow(0, 0, 0));
    }
    if x.device() != Device::Cpu {
        let (rows, valid) = runs.padded(x.device());
        let spread = x.index_select(0, &rows.view([-1])).view([rows.size()[0], rows.size()[1], channels]);
        let masked = spread.masked_fill(&valid.logical_not().unsqueeze(2), f64::NEG_INFINITY);
        return Ok(masked.max_dim(1, false).0);
    }
    let values = x.detach().contiguous();
    let values = crate::models::floats(&values)?;
    if !x.requires_grad() {
        return Ok(Tensor::from_slice(&largest(&values, channels as usize, runs)).view([runs.len() as i64, channels]));
    }
    let winners = winners(&values, channels as usize, runs);
    let index = Tensor::from_slice(&winners).view([runs.len() as i64, channels]);
    Ok(x.gather(0, &index, false))
}

/// For each run and channel the largest value.
fn largest(values: &[f32], channels: usize, runs: &Runs) -> Vec<f32> {
    use rayon::prelude::*;
    let mut largest = vec![0.0; runs.len() * channels];
    let spans: Vec<(i64, i64)> = runs.iter().collect();
    largest.par_chunks_mut(channels.max(1)).with_min_len(64).zip(spans).for_each(|(best, (start, length))| {
        let rows = &values[start as usize * channels..(start + length) as usize * channels];
        best.copy_from_slice(&rows[..channels]);
        for row in rows.chunks_exact(channels.max(1)).skip(1) {
            best.iter_mut().zip(row).for_each(|(best, &value)| *best = if value > *best { value } else { *best });
        }
    });
    largest
}

/// For each run and channel the row with the largest value.
fn winners(values: &[f32], channels: usize, runs: &Runs) -> Vec<i64> {
    use rayon::prelude::*;
    let mut winners = vec![0i64; runs.len() * channels];
    let spans: Vec<(i64, i64)> = runs.iter().collect();
    winners.par_chunks_mut(channels.max(1)).with_min_len(64).zip(spans).for_each(|(winners, (start, length))| {
        let row = |r: i64| &values[(start + r) as usize * channels..(start + r + 1) as usize * channels];
        let mut best = row(0).to_vec();
        // As wide as the values: both are compared in one register.
        let mut places = vec![0_i32; channels];
        for r in 1..length {
            for ((best, place), &value) in best.iter_mut().zip(places.iter_mut()).zip(row(r)) {
                let better = value > *best;
                *best = if better { value } else { *best };
                *place = if better { r as i32 } else { *place };
            }
        }
        winners.iter_mut().zip(&places).for_each(|(winner, &place)| *winner = start + i64::from(place));
    });
    winners
}

/// Means of the rows of each run: `[R, C]` -> `[runs, C]`; zero of an empty run.
pub fn run_mean(x: &Tensor, runs: &Runs) -> Tensor {
    let parts: Vec<Tensor> = runs
        .iter()
        .map(|(start, length)| {
            let sum = x.narrow(0, start, length).sum_dim_intlist([0i64].as_slice(), true, Kind::Float);
            sum / length.max(1) as f64
        })
        .collect();
    if parts.is_empty() { x.narrow(0, 0, 0) } else { Tensor::cat(&parts, 0) }
}

/// Fails where an item is empty, with the reason to leave it out.
pub fn demand_rows(runs: &Runs, what: &str) -> Result<()> {
    if runs.rows() == 0 {
        return Err(Error::failed(format!("{what}: the batch holds no point")));
    }
    Ok(())
}
