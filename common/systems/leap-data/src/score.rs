//! The score of LEAP: the mean over 368 targets of R2, with the rules for columns that are not predicted.
//!
//! All sums run in f64 in one pass over row blocks ([`common::metrics`]), so a validation set of any size needs no more
//! memory than 368 sums (upstream keeps both arrays and needs 28 s for 849,408 rows in one process), and the result
//! does not depend on the number of threads.

use common::metrics::{ColumnSums, Moments, mean, r2, zero_r2};
use common::{Error, Result};

use crate::columns::{GROUPS, TARGETS, always_zero, group, linear};
use crate::norm::{Chain, Constants};

/// Which columns are not judged by their prediction, and the constants that "predict 0" needs.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Columns whose prediction is replaced by 0 before scoring, ascending.
    pub skip: Vec<usize>,
    /// Columns that count 1, ascending.
    pub linear: Vec<usize>,
    zero: Vec<f32>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Rules {
    /// The lists of the constants' chain. A: skips 63 columns and counts `ptend_q0002_15..27` as 1; B: skips the 60
    /// always-zero columns and counts `ptend_q0002_12..27` as 1. On real data both give the same score.
    pub fn of(constants: &Constants) -> Self {
        let mut skip = always_zero().to_vec();
        let mut linear: Vec<usize> = linear().collect();
        if constants.chain == Chain::A {
            skip.extend(linear.drain(..3));
            skip.sort_unstable();
        }
        let zero = (0..TARGETS).map(|c| constants.normalised_zero(c)).collect();
        Self { skip, linear, zero, mean: constants.target_mean.clone(), std: constants.target_std.clone() }
    }

    /// Overwrites skipped columns and those of `zero_list` in rows of normalised predictions with "0 in physical
    /// units". Upstream's out-of-fold arrays are stored like this.
    pub fn overwrite(&self, predicted: &mut [f32], zero_list: &[usize]) {
        for row in predicted.chunks_exact_mut(TARGETS) {
            for &column in self.skip.iter().chain(zero_list) {
                row[column] = self.zero[column];
            }
        }
    }
}

/// What one pass over the rows leaves behind.
#[derive(Debug, Clone)]
pub struct Sums(ColumnSums);

impl Default for Sums {
    fn default() -> Self {
        Self::new()
    }
}

impl Sums {
    /// How many numbers [`Sums::numbers`] gives.
    pub const NUMBERS: usize = 1 + 4 * TARGETS;

    /// No rows yet.
    pub fn new() -> Self {
        Self(ColumnSums::new(TARGETS))
    }

    /// Rows counted so far.
    pub fn rows(&self) -> u64 {
        self.0.truth.rows
    }

    /// Adds rows of normalised targets and predictions in training order. Both hold whole rows of 368 values, equally
    /// many; what goes beyond is ignored.
    pub fn add(&mut self, target: &[f32], predicted: &[f32]) {
        self.0.add_f32(target, predicted);
    }

    /// Joins the sums of further rows (Chan's formula).
    pub fn merge(&mut self, other: &Self) {
        self.0.merge(other.0.clone());
    }

    /// All sums as numbers, to be sent to another process.
    pub fn numbers(&self) -> Vec<f64> {
        let ColumnSums { truth, sse, sae } = &self.0;
        [&[truth.rows as f64][..], &truth.mean, &truth.m2, sse, sae].concat()
    }

    /// The sums that [`Sums::numbers`] gave.
    pub fn of_numbers(numbers: &[f64]) -> Result<Self> {
        if numbers.len() != Self::NUMBERS {
            return Err(Error::failed(format!("{} numbers, expected {} sums", numbers.len(), Self::NUMBERS)));
        }
        let column = |i: usize| numbers[1 + i * TARGETS..1 + (i + 1) * TARGETS].to_vec();
        let truth = Moments { rows: numbers[0] as u64, mean: column(0), m2: column(1) };
        Ok(Self(ColumnSums { truth, sse: column(2), sae: column(3) }))
    }

    /// The score under the rules.
    pub fn score(&self, rules: &Rules) -> Score {
        let (truth, n) = (&self.0.truth, self.rows() as f64);
        let mut errors = self.0.sse.clone();
        for &c in &rules.skip {
            // Replacing the prediction by a constant needs no second pass.
            errors[c] = truth.m2[c] + n * (truth.mean[c] - f64::from(rules.zero[c])).powi(2);
        }
        let plain_r2: Vec<f64> = (0..TARGETS).map(|c| r2(errors[c], truth.m2[c])).collect();
        let mut column_r2 = plain_r2.clone();
        let mut zero_list = Vec::new();
        for c in 0..TARGETS {
            if rules.linear.contains(&c) {
                column_r2[c] = 1.0;
            } else if plain_r2[c] <= 0.0 && !rules.skip.contains(&c) {
                // "Predict 0" in weighted physical units, where a label is `y * std + mean`.
                let zero = zero_r2(truth, c, rules.mean[c], rules.std[c]);
                if zero > plain_r2[c] {
                    column_r2[c] = zero;
                    zero_list.push(c);
                }
            }
        }
        Score { column_r2, plain_r2, zero_list }
    }
}

/// The score of a set of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// R2 of each target after all rules, training order.
    pub column_r2: Vec<f64>,
    /// R2 of each target with the skipped columns replaced and no other rule.
    pub plain_r2: Vec<f64>,
    /// Columns for which predicting 0 is better than the prediction, ascending.
    pub zero_list: Vec<usize>,
}

impl Score {
    /// Mean R2 over all targets: higher is better.
    pub fn mean(&self) -> f64 {
        mean(&self.column_r2)
    }

    /// What training minimises: minus the mean R2.
    pub fn score(&self) -> f64 {
        -self.mean()
    }

    /// Mean R2 over the columns of group `g`.
    pub fn group(&self, g: usize) -> f64 {
        mean(&self.column_r2[group(g)])
    }

    /// Mean R2 of every group.
    pub fn groups(&self) -> [f64; GROUPS] {
        std::array::from_fn(|g| self.group(g))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn rows(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = common::seed::rng_for(seed, "metric", 0);
        (0..n * TARGETS).map(|_| rng.random::<f32>() * 4.0 - 1.0).collect()
    }

    fn direct_r2(target: &[f32], predicted: &[f32], c: usize) -> f64 {
        let column = |v: &[f32]| v.iter().skip(c).step_by(TARGETS).map(|&x| f64::from(x)).collect::<Vec<_>>();
        let (y, p) = (column(target), column(predicted));
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        let sse: f64 = y.iter().zip(&p).map(|(y, p)| (y - p).powi(2)).sum();
        1.0 - sse / y.iter().map(|y| (y - mean).powi(2)).sum::<f64>()
    }

    #[test]
    fn one_pass_gives_the_two_pass_r2_for_any_split_into_calls() {
        let rules = Rules::of(Constants::published(Chain::B).unwrap());
        let (target, predicted) = (rows(1000, 1), rows(1000, 2));
        for calls in [1, 3, 1000] {
            let mut sums = Sums::new();
            let size = 1000_usize.div_ceil(calls) * TARGETS;
            target.chunks(size).zip(predicted.chunks(size)).for_each(|(t, p)| sums.add(t, p));
            assert_eq!(sums.rows(), 1000);
            let score = sums.score(&rules);
            for c in [0, 7, 8, 150, 367] {
                assert!((score.plain_r2[c] - direct_r2(&target, &predicted, c)).abs() < 1e-12, "column {c}");
            }
        }
    }

    #[test]
    fn sums_that_travelled_as_numbers_are_the_same_and_join_to_the_whole() {
        let (target, predicted) = (rows(900, 1), rows(900, 2));
        let part = |from: usize, to: usize| {
            let mut sums = Sums::new();
            sums.add(&target[from * TARGETS..to * TARGETS], &predicted[from * TARGETS..to * TARGETS]);
            sums
        };
        let whole = part(0, 900);
        let mut alone = Sums::new();
        alone.merge(&Sums::of_numbers(&whole.numbers()).unwrap());
        assert_eq!(alone.0, whole.0);
        let mut joined = Sums::new();
        for sums in [part(0, 500), part(500, 500), part(500, 900)] {
            joined.merge(&Sums::of_numbers(&sums.numbers()).unwrap());
        }
        let rules = Rules::of(Constants::published(Chain::B).unwrap());
        assert!((joined.score(&rules).mean() - whole.score(&rules).mean()).abs() < 1e-12);
        assert!(Sums::of_numbers(&[1.0]).is_err());
    }

    #[test]
    fn the_sums_do_not_depend_on_the_number_of_threads() {
        let (target, predicted) = (rows(3000, 1), rows(3000, 2));
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut sums = Sums::new();
                sums.add(&target, &predicted);
                sums.0.sse.iter().chain(&sums.0.truth.m2).map(|v| v.to_bits()).collect::<Vec<_>>()
            })
        };
        assert_eq!(with(1), with(4));
    }

    #[test]
    fn constant_labels_count_one_only_if_met_exactly() {
        let rules = Rules::of(Constants::published(Chain::B).unwrap());
        let mut target = rows(700, 1);
        let mut predicted = target.clone();
        for row in 0..700 {
            target[row * TARGETS + 300] = 1.25;
            target[row * TARGETS + 301] = 1.1;
            predicted[row * TARGETS + 300] = 1.25;
        }
        let mut sums = Sums::new();
        sums.add(&target, &predicted);
        let score = sums.score(&rules);
        assert_eq!((score.column_r2[300], score.column_r2[301]), (1.0, 0.0));
        assert!(!score.zero_list.contains(&301));
    }

    #[test]
    fn a_column_worse_than_zero_falls_back_to_zero_and_is_listed() {
        let constants = Constants::published(Chain::B).unwrap();
        let rules = Rules::of(constants);
        let mut target = rows(500, 1);
        let mut predicted = target.clone();
        predicted.iter_mut().skip(100).step_by(TARGETS).for_each(|v| *v += 1e4);
        for c in always_zero() {
            target.iter_mut().skip(*c).step_by(TARGETS).for_each(|v| *v = rules.zero[*c]);
        }
        let mut sums = Sums::new();
        sums.add(&target, &predicted);
        let score = sums.score(&rules);
        assert_eq!(score.zero_list, [100]);
        assert!(score.plain_r2[100] < -1e6 && score.column_r2[100] > score.plain_r2[100]);
        assert!(always_zero().iter().all(|c| score.column_r2[*c] == 1.0));
        let others: f64 = score.column_r2.iter().sum::<f64>() - score.column_r2[100];
        assert!((others - 367.0).abs() < 1e-9);

        rules.overwrite(&mut predicted, &score.zero_list);
        assert!(predicted.iter().skip(100).step_by(TARGETS).all(|v| *v == rules.zero[100]));
    }
}
