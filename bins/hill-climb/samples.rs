//! Scores of several columns of a row together: quantiles or draws of one number, parts of a vector.

use std::f64::consts::FRAC_PI_2;

use climb::Metric;
use common::oof::Table;
use common::{Error, Result};

/// What the columns are.
pub struct Samples {
    /// Level of every column where they are quantiles; empty where they are draws.
    levels: Vec<f64>,
}

impl Samples {
    /// Tells what the columns are by their names.
    ///
    /// # Errors
    /// [`Error::Input`] where the columns do not go with the metric.
    pub fn new(metric: Metric, table: &Table, free: &[usize]) -> Result<Self> {
        let joint = matches!(metric, Metric::Crps | Metric::MeanAngle);
        if joint && (free.len() < 2 || free.len() != table.columns()) {
            let problem = format!("`{}` needs several columns, found {}", metric.name(), table.columns());
            return Err(Error::input(table.path(), problem).hint(match metric {
                Metric::Crps => "members have a column a quantile (`q0.1`) or a draw",
                _ => "name the parts of the vector: `--target x --target y --target z`",
            }));
        }
        let levels: Option<Vec<f64>> = free.iter().map(|&c| level(&table.column_name(c))).collect();
        Ok(Self { levels: levels.unwrap_or_default() })
    }

    /// Continuous ranked probability score of one row. Of draws it is that of their distribution; of quantiles twice the
    /// mean pinball loss.
    pub fn crps(&self, truth: f64, values: &[f64], sorted: &mut [f64]) -> f64 {
        let count = values.len() as f64;
        if !self.levels.is_empty() {
            let pinball = |(level, value): (&f64, &f64)| (level * (truth - value)).max((level - 1.0) * (truth - value));
            return 2.0 * self.levels.iter().zip(values).map(pinball).sum::<f64>() / count;
        }
        sorted.copy_from_slice(values);
        sorted.sort_unstable_by(f64::total_cmp);
        let far: f64 = values.iter().map(|value| (value - truth).abs()).sum();
        // Sum of distances of all pairs, by how often a value is the larger and the smaller one.
        let spread: f64 = sorted.iter().enumerate().map(|(i, v)| v * (2.0 * i as f64 + 1.0 - count)).sum();
        far / count - spread / (count * count)
    }

    /// Angle between two vectors in radians, exact for small ones too (Kahan); a right angle where one has no length.
    pub fn angle(&self, a: &[f64], b: &[f64]) -> f64 {
        let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let (la, lb) = (length(a), length(b));
        if la == 0.0 || lb == 0.0 {
            return FRAC_PI_2;
        }
        let (mut less, mut more) = (0.0, 0.0);
        for (a, b) in a.iter().zip(b) {
            less += (a / la - b / lb).powi(2);
            more += (a / la + b / lb).powi(2);
        }
        2.0 * less.sqrt().atan2(more.sqrt())
    }
}

/// The level between 0 and 1 that ends a column's name: `q0.25`, `quantile_0.5`, `0.9`.
fn level(name: &str) -> Option<f64> {
    let start = name.find(|c: char| c.is_ascii_digit() || c == '.')?;
    name[start..].parse().ok().filter(|level| *level > 0.0 && *level < 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(metric: Metric, names: &[&str]) -> Result<Samples> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let free: Vec<usize> = (0..names.len()).collect();
        let table = Table::loaded(std::path::Path::new("y"), vec![0.0; names.len()], names, None)?;
        Samples::new(metric, &table, &free)
    }

    #[test]
    fn draws_are_scored_as_their_distribution_and_quantiles_by_pinball_loss() {
        let draws = samples(Metric::Crps, &["d1", "d2", "d3"]).unwrap();
        let values = [3.0, 0.0, 1.0];
        let mut sorted = [0.0; 3];
        // (1 + 2 + 1) / 3 - (1 + 2 + 3) / 9
        assert!((draws.crps(2.0, &values, &mut sorted) - (4.0 / 3.0 - 6.0 / 9.0)).abs() < 1e-15);
        let quantiles = samples(Metric::Crps, &["q0.1", "q0.5"]).unwrap();
        let expected = 2.0 * (0.1 * 1.0 + 0.5 * 1.0) / 2.0;
        assert!((quantiles.crps(2.0, &[1.0, 3.0], &mut [0.0; 2]) - expected).abs() < 1e-15);
        assert!(samples(Metric::Crps, &["p"]).is_err());
    }

    #[test]
    fn angles_are_exact_near_zero_and_right_without_direction() {
        let vectors = samples(Metric::MeanAngle, &["x", "y", "z"]).unwrap();
        assert!((vectors.angle(&[1.0, 0.0, 0.0], &[5.0, 5e-9, 0.0]) - 1e-9).abs() < 1e-24);
        assert!((vectors.angle(&[1.0, 0.0, 0.0], &[-1.0, 0.0, 0.0]) - std::f64::consts::PI).abs() < 1e-15);
        assert_eq!(vectors.angle(&[1.0, 0.0, 0.0], &[0.0; 3]), FRAC_PI_2);
    }
}
