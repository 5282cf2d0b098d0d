//! How well a network knows its own errors: for every target the correlation of the error that it expected with the one
//! that it made.

use common::{Error, Result};

use crate::columns::TARGETS;
use crate::score::Rules;

/// Sums over rows for every target: expected errors, true ones, their squares and products.
#[derive(Debug, Clone)]
pub struct ConfidenceSums {
    rows: f64,
    /// `[368, 5]`: x, y, x x, y y, x y.
    sums: Vec<[f64; 5]>,
}

impl Default for ConfidenceSums {
    fn default() -> Self {
        Self::new()
    }
}

impl ConfidenceSums {
    /// No rows yet.
    pub fn new() -> Self {
        Self { rows: 0.0, sums: vec![[0.0; 5]; TARGETS] }
    }

    /// Adds rows of 368 expected errors and 368 errors that were made.
    pub fn add(&mut self, expected: &[f32], made: &[f32]) {
        for (expected, made) in expected.chunks_exact(TARGETS).zip(made.chunks_exact(TARGETS)) {
            self.rows += 1.0;
            for ((sums, &x), &y) in self.sums.iter_mut().zip(expected).zip(made) {
                let (x, y) = (f64::from(x), f64::from(y));
                for (sum, term) in sums.iter_mut().zip([x, y, x * x, y * y, x * y]) {
                    *sum += term;
                }
            }
        }
    }

    /// Joins the sums of further rows.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        for (sums, others) in self.sums.iter_mut().zip(&other.sums) {
            sums.iter_mut().zip(others).for_each(|(sum, x)| *sum += x);
        }
    }

    /// All sums as numbers, to be sent to another process.
    pub fn numbers(&self) -> Vec<f64> {
        std::iter::once(self.rows).chain(self.sums.iter().flatten().copied()).collect()
    }

    /// The sums that [`ConfidenceSums::numbers`] gave.
    pub fn of_numbers(numbers: &[f64]) -> Result<Self> {
        let wrong =
            || Error::failed(format!("{} sums of expected errors, expected {}", numbers.len(), 1 + 5 * TARGETS));
        let (rows, rest) = numbers.split_first().ok_or_else(wrong)?;
        let (sums, left) = rest.as_chunks::<5>();
        if sums.len() != TARGETS || !left.is_empty() {
            return Err(wrong());
        }
        Ok(Self { rows: *rows, sums: sums.to_vec() })
    }

    /// Pearson's correlation of each target; NaN where either does not vary.
    pub fn correlations(&self) -> Vec<f64> {
        let n = self.rows;
        let one = |[x, y, xx, yy, xy]: &[f64; 5]| {
            let (vx, vy) = (xx / n - (x / n).powi(2), yy / n - (y / n).powi(2));
            (xy / n - x / n * (y / n)) / (vx * vy).sqrt()
        };
        self.sums.iter().map(one).collect()
    }

    /// Mean correlation of the targets that are judged by their prediction.
    pub fn mean(&self, rules: &Rules) -> f64 {
        let all = self.correlations();
        let judged = |c: &usize| !rules.skip.contains(c) && !rules.linear.contains(c);
        let judged: Vec<f64> = (0..TARGETS).filter(judged).map(|c| all[c]).filter(|r| r.is_finite()).collect();
        judged.iter().sum::<f64>() / judged.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::{Chain, Constants};

    #[test]
    fn correlations_are_those_of_pearson_and_shares_can_be_joined() {
        let rows = 50_usize;
        let made: Vec<f32> = (0..rows * TARGETS).map(|i| ((i * 37) % 101) as f32 / 50.0).collect();
        // Column 0 knows its error, column 1 the contrary, column 2 nothing.
        let expected: Vec<f32> = (0..rows * TARGETS)
            .map(|i| match i % TARGETS {
                0 => 0.5 * made[i] + 1.0,
                1 => -made[i],
                2 => 3.0,
                _ => made[i],
            })
            .collect();
        let mut whole = ConfidenceSums::new();
        whole.add(&expected, &made);
        let found = whole.correlations();
        assert!(
            (found[0] - 1.0).abs() < 1e-6 && (found[1] + 1.0).abs() < 1e-6 && found[2].is_nan(),
            "{:?}",
            &found[..3]
        );
        let half = 20 * TARGETS;
        let (mut first, mut second) = (ConfidenceSums::new(), ConfidenceSums::new());
        first.add(&expected[..half], &made[..half]);
        second.add(&expected[half..], &made[half..]);
        first.merge(&ConfidenceSums::of_numbers(&second.numbers()).unwrap());
        let joined = first.correlations();
        assert!(joined.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-9 || a.is_nan() && b.is_nan()));
        let rules = Rules::of(Constants::published(Chain::B).unwrap());
        let judged = (TARGETS - rules.skip.len() - rules.linear.len()) as f64;
        // All but two of the judged columns know their errors exactly.
        let expected = (judged - 1.0 - 1.0 - 1.0) / (judged - 1.0);
        assert!((whole.mean(&rules) - expected).abs() < 1e-6, "{}", whole.mean(&rules));
        assert!(ConfidenceSums::of_numbers(&[1.0; 7]).is_err());
    }
}
