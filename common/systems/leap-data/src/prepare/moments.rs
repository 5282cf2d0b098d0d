//! Means and standard deviations of all columns in one streaming pass, and the constants made of them.
//!
//! Every block gives exact two-pass moments; blocks are merged in order (Chan, Golub, LeVeque 1979), so the result does
//! not depend on the number of threads.

use crate::columns::{self, INPUTS};
use crate::norm::{Chain, Constants};
use crate::raw::block::{Block, WIDTH};

/// Count, mean and sum of squared deviations of each column, csv order, targets weighted.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    count: u64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// Of no rows.
    pub fn empty() -> Self {
        Self { count: 0, mean: vec![0.0; WIDTH], squares: vec![0.0; WIDTH] }
    }

    /// Of the first `rows` rows of a block; `weight` has 924 entries, 1 for inputs.
    pub fn of(block: &Block, rows: usize, weight: &[f64]) -> Self {
        let mut moments = Self::empty();
        let rows = rows.min(block.rows);
        if rows == 0 {
            return moments;
        }
        moments.count = rows as u64;
        let used = || block.values.chunks_exact(WIDTH).take(rows);
        for row in used() {
            for ((sum, x), w) in moments.mean.iter_mut().zip(row).zip(weight) {
                *sum += x * w;
            }
        }
        moments.mean.iter_mut().for_each(|sum| *sum /= rows as f64);
        for row in used() {
            for (((square, x), w), mean) in moments.squares.iter_mut().zip(row).zip(weight).zip(&moments.mean) {
                let deviation = x * w - mean;
                *square += deviation * deviation;
            }
        }
        moments
    }

    /// Adds the moments of other rows.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let total = n + m;
        for i in 0..WIDTH {
            let delta = other.mean[i] - self.mean[i];
            self.mean[i] += delta * (m / total);
            self.squares[i] += other.squares[i] + delta * delta * (n * m / total);
        }
        self.count += other.count;
    }

    /// Rows seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean and sample standard deviation (n - 1) with the chain's floor, as constants in training order.
    pub fn constants(&self, chain: Chain, weight: Vec<f64>) -> Constants {
        let divisor = (self.count.max(2) - 1) as f64;
        let std: Vec<f64> = self.squares.iter().map(|s| (s / divisor).sqrt().max(chain.floor())).collect();
        let held = |x: f64| if chain == Chain::B { f64::from(x as f32) } else { x };
        let mut constants = Constants {
            chain,
            input_mean: vec![0.0; INPUTS],
            input_std: vec![0.0; INPUTS],
            target_mean: vec![0.0; weight.len()],
            target_std: vec![0.0; weight.len()],
            weight,
        };
        for (from, &to) in columns::csv_to_train_inputs().iter().enumerate() {
            constants.input_mean[to] = held(self.mean[from]);
            constants.input_std[to] = held(std[from]);
        }
        for (from, &to) in columns::submission_to_train_targets().iter().enumerate() {
            constants.target_mean[to] = self.mean[INPUTS + from];
            constants.target_std[to] = std[INPUTS + from];
        }
        constants
    }
}

/// The weights of the targets in row order, 1 for the inputs.
pub fn row_weights(training_order: &[f64]) -> Vec<f64> {
    let targets = columns::submission_to_train_targets().iter().map(|&to| training_order[to]);
    std::iter::repeat_n(1.0, INPUTS).chain(targets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(rows: usize, offset: usize) -> Block {
        let value = |i: usize| 1e3 + ((i * 7919 + offset * 31) % 1013) as f64 * 1e-3;
        Block { rows, values: (0..rows * WIDTH).map(value).collect() }
    }

    #[test]
    fn merged_blocks_agree_with_one_pass_over_all_rows() {
        let weight = vec![2.0; WIDTH];
        let (a, b) = (block(37, 0), block(5, 11));
        let mut merged = Moments::empty();
        merged.merge(&Moments::of(&a, usize::MAX, &weight));
        merged.merge(&Moments::of(&b, usize::MAX, &weight));
        let whole = Block { rows: 42, values: [a.values, b.values].concat() };
        let whole = Moments::of(&whole, 42, &weight);
        assert_eq!(merged.count(), 42);
        for i in 0..WIDTH {
            assert!((merged.mean[i] - whole.mean[i]).abs() < 1e-9);
            assert!((merged.squares[i] - whole.squares[i]).abs() < 1e-9 * whole.squares[i].max(1.0));
        }
    }

    #[test]
    fn constant_columns_get_the_floor_of_their_chain() {
        let block = Block { rows: 3, values: vec![0.1; 3 * WIDTH] };
        let moments = Moments::of(&block, 3, &vec![1.0; WIDTH]);
        let weight = vec![1.0; columns::TARGETS];
        let (a, b) = (moments.constants(Chain::A, weight.clone()), moments.constants(Chain::B, weight));
        assert_eq!((a.target_std[0], b.target_std[0]), (1e-10, 1e-8));
        assert_eq!(b.input_mean[0], f64::from(0.1f32));
    }
}
