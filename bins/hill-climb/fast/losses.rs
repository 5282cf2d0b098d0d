//! Sums of losses. All terms are 0 or more, so a sum is certain to be too large as soon as a part of it is.

use std::ops::Range;

use common::metrics::r2;

/// Rows between two looks at whether a trial can still win.
const BLOCK: usize = 4096;
/// Sums side by side.
const LANES: usize = 8;
/// Rounding must not give up what would win in full.
const SLACK: f64 = 1.0 + 1e-9;

/// What one number costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Squared error.
    Squared,
    /// Absolute error.
    Absolute,
    /// Absolute error relative to the truth.
    Relative,
    /// Absolute error relative to the mean size of truth and prediction.
    Symmetric,
    /// Squared error of `ln(1 + x)`; the truth is given as that.
    Logarithmic,
}

impl Loss {
    /// Sum over all numbers, weighted; nothing where it is certain to be above `most`.
    pub fn sum(self, y: &[f64], most: f64, at: &impl Fn(usize) -> f64, weight: impl Fn(usize) -> f64) -> Option<f64> {
        let all = 0..y.len();
        match self {
            Self::Squared => summed(all, 0.0, most, |i| weight(i) * (y[i] - at(i)).powi(2)),
            Self::Absolute => summed(all, 0.0, most, |i| weight(i) * (y[i] - at(i)).abs()),
            Self::Relative => {
                summed(all, 0.0, most, |i| weight(i) * (y[i] - at(i)).abs() / y[i].abs().max(f64::EPSILON))
            }
            Self::Symmetric => summed(all, 0.0, most, |i| {
                let p = at(i);
                let size = y[i].abs() + p.abs();
                if size == 0.0 { 0.0 } else { weight(i) * 2.0 * (y[i] - p).abs() / size }
            }),
            // Differs: scikit-learn refuses predictions below 0; a trial of the search counts them as 0.
            Self::Logarithmic => summed(all, 0.0, most, |i| weight(i) * (y[i] - at(i).max(0.0).ln_1p()).powi(2)),
        }
    }
}

/// How a score follows from a sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finish {
    /// Minus the sum over this number.
    Mean(f64),
    /// Minus the root of that.
    Root(f64),
    /// R2, by this sum of squares of the truth.
    R2(f64),
}

impl Finish {
    /// The score, higher is better.
    pub fn score(self, sum: f64) -> f64 {
        match self {
            Self::Mean(over) => -(sum / over),
            Self::Root(over) => -(sum / over).sqrt(),
            Self::R2(squares) => r2(sum, squares),
        }
    }

    /// The largest sum whose score may reach `floor`.
    pub fn most(self, floor: f64) -> f64 {
        if floor == f64::NEG_INFINITY {
            return f64::INFINITY;
        }
        match self {
            Self::Mean(over) => -floor * over * SLACK,
            Self::Root(over) => floor * floor * over * SLACK,
            Self::R2(squares) if squares > 0.0 => ((1.0 - floor) * squares).max(0.0) * SLACK + 1e-12 * squares,
            Self::R2(_) => f64::INFINITY,
        }
    }
}

/// Adds terms that are 0 or more; nothing where the sum is above `most`.
pub fn summed(range: Range<usize>, before: f64, most: f64, each: impl Fn(usize) -> f64) -> Option<f64> {
    let (mut total, mut start) = (before, range.start);
    while start < range.end {
        let end = (start + BLOCK).min(range.end);
        let mut lanes = [0.0; LANES];
        let mut i = start;
        while i + LANES <= end {
            for (lane, sum) in lanes.iter_mut().enumerate() {
                *sum += each(i + lane);
            }
            i += LANES;
        }
        total += lanes.iter().sum::<f64>() + (i..end).map(&each).sum::<f64>();
        if total > most {
            return None;
        }
        start = end;
    }
    Some(total)
}

/// Adds minus the logarithms of probabilities, one logarithm for sixteen of them: that of the product, which cannot underflow
/// as all are clipped. Nothing where the sum is above `most`.
pub fn logarithms(range: Range<usize>, before: f64, most: f64, q: impl Fn(usize) -> f64) -> Option<f64> {
    let (mut total, mut start) = (before, range.start);
    while start < range.end {
        let end = (start + BLOCK).min(range.end);
        let mut row = start;
        while row + 16 <= end {
            let mut product = [1.0; 4];
            for i in 0..4 {
                for (lane, product) in product.iter_mut().enumerate() {
                    *product *= q(row + 4 * i + lane);
                }
            }
            total -= (product[0] * product[1] * (product[2] * product[3])).ln();
            row += 16;
        }
        while row < end {
            total -= q(row).ln();
            row += 1;
        }
        if total > most {
            return None;
        }
        start = end;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_given_up_only_where_its_score_is_below_the_floor() {
        let terms: Vec<f64> = (0..10_000).map(|i| f64::from(i % 7)).collect();
        let whole: f64 = terms.iter().sum();
        for finish in [Finish::Mean(1e4), Finish::Root(1e4), Finish::R2(2.5 * whole), Finish::R2(0.5 * whole)] {
            let score = finish.score(whole);
            let at = |floor: f64| summed(0..terms.len(), 0.0, finish.most(floor), |i| terms[i]);
            assert_eq!(at(score), Some(whole), "{finish:?}");
            assert_eq!(at(f64::NEG_INFINITY), Some(whole));
            assert_eq!(at(score + 1e-3), None, "{finish:?}");
        }
    }
}
