//! What members are blended as: values, shares of ranks, log odds, logarithms.

use crate::config::Space;
use common::{Error, Result};

/// Probabilities are kept this far from 0 and 1, as scikit-learn keeps them.
const CLIP: f64 = f64::EPSILON;

/// A space, and whether the columns are classes whose probabilities sum to one after the blend was turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blending {
    /// The space.
    pub space: Space,
    /// Whether the columns are classes.
    pub classes: bool,
}

impl Blending {
    /// Members as they are.
    pub const VALUE: Self = Self { space: Space::Value, classes: false };

    /// A space for columns that are classes or not; only the spaces of probabilities tell the difference.
    pub fn new(space: Space, classes: bool) -> Self {
        Self { space, classes: classes && matches!(space, Space::Logit | Space::Geometric) }
    }

    /// The word in tables of weights.
    pub fn name(self) -> &'static str {
        match (self.space, self.classes) {
            (Space::Logit, true) => "logit_classes",
            (Space::Geometric, true) => "geometric_classes",
            (space, _) => space.name(),
        }
    }

    /// The space of a word.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Space::Value, Space::Rank, Space::Logit, Space::Geometric];
        let both = all.into_iter().flat_map(|space| [Self::new(space, false), Self::new(space, true)]);
        both.into_iter().find(|blending| blending.name() == name)
    }

    /// All words.
    pub fn words() -> String {
        "value, rank, logit, logit_classes, geometric, geometric_classes".into()
    }

    /// Takes one column into the space.
    ///
    /// # Errors
    /// The row and what is wrong with its value.
    pub fn forward(self, values: &mut [f64]) -> Result<(), (usize, String)> {
        let outside = |row: usize, value: f64, needed: &str| {
            Err((row, format!("the value is {value}; the space `{}` needs {needed}", self.space.name())))
        };
        match self.space {
            Space::Value => {}
            Space::Rank => shares(values),
            Space::Logit => {
                for (row, value) in values.iter_mut().enumerate() {
                    if !(0.0..=1.0).contains(value) {
                        return outside(row, *value, "probabilities");
                    }
                    let p = value.clamp(CLIP, 1.0 - CLIP);
                    *value = p.ln() - (-p).ln_1p();
                }
            }
            Space::Geometric => {
                for (row, value) in values.iter_mut().enumerate() {
                    if value.is_nan() || *value < 0.0 {
                        return outside(row, *value, "numbers from 0");
                    }
                    *value = value.max(CLIP).ln();
                }
            }
        }
        Ok(())
    }

    /// Takes a blended value back.
    pub fn back(self, value: f64) -> f64 {
        match self.space {
            Space::Value | Space::Rank => value,
            Space::Logit => 1.0 / (1.0 + (-value).exp()),
            Space::Geometric => value.exp(),
        }
    }

    /// Makes the classes of a row sum to one.
    pub fn close(self, row: &mut [f64]) {
        let sum: f64 = row.iter().sum();
        if self.classes && sum > 0.0 {
            row.iter_mut().for_each(|value| *value /= sum);
        }
    }

    /// Takes a row-major matrix into the space.
    ///
    /// # Errors
    /// Row, column and what is wrong there.
    pub fn forward_all(self, values: &mut [f64], columns: usize) -> Result<(), (usize, usize, String)> {
        if self.space == Space::Value {
            return Ok(());
        }
        let mut column = vec![0.0; values.len() / columns];
        for c in 0..columns {
            column.iter_mut().zip(values.iter().skip(c).step_by(columns)).for_each(|(a, b)| *a = *b);
            self.forward(&mut column).map_err(|(row, problem)| (row, c, problem))?;
            values.iter_mut().skip(c).step_by(columns).zip(&column).for_each(|(a, b)| *a = *b);
        }
        Ok(())
    }

    /// Takes a row-major blend back.
    pub fn back_all(self, values: &[f64], columns: usize) -> Vec<f64> {
        let mut back: Vec<f64> = values.iter().map(|&value| self.back(value)).collect();
        if self.classes {
            back.chunks_exact_mut(columns).for_each(|row| self.close(row));
        }
        back
    }

    /// Demands values that the space can take.
    pub fn demand(self, normalised: bool) -> Result<()> {
        if normalised && matches!(self.space, Space::Logit | Space::Geometric) {
            let name = self.space.name();
            return Err(Error::usage(format!("the truth is normalised, `{name}` needs numbers as they are"))
                .hint("leave out `--space`"));
        }
        Ok(())
    }
}

/// Ranks as shares of the number of rows; equal values share the mean of theirs. As pandas' `rank(pct=True)`.
fn shares(values: &mut [f64]) {
    let rows = values.len() as f64;
    let ranks = crate::ranks::ranks(values);
    values.iter_mut().zip(ranks).for_each(|(value, rank)| *value = rank / rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_space_leads_back_and_words_are_their_own() {
        for word in Blending::words().split(", ") {
            assert_eq!(Blending::named(word).unwrap().name(), word);
        }
        assert!(Blending::named("logits").is_none());
        for space in [Space::Value, Space::Logit, Space::Geometric] {
            let blending = Blending::new(space, false);
            let mut values = [0.25, 0.5, 0.999];
            blending.forward(&mut values).unwrap();
            for (value, expected) in values.iter().zip([0.25, 0.5, 0.999]) {
                assert!((blending.back(*value) - expected).abs() < 1e-15);
            }
        }
    }

    #[test]
    fn ranks_are_shares_and_ties_share_them() {
        let mut values = [3.0, 1.0, 3.0, 2.0];
        Blending::new(Space::Rank, false).forward(&mut values).unwrap();
        assert_eq!(values, [0.875, 0.25, 0.875, 0.5]);
    }

    #[test]
    fn what_is_no_probability_is_refused_and_classes_sum_to_one() {
        let logit = Blending::new(Space::Logit, true);
        let (row, problem) = logit.forward(&mut [0.5, 1.5]).unwrap_err();
        assert!(row == 1 && problem.contains("1.5") && problem.contains("probabilities"), "{problem}");
        let mut values = [0.2, 0.8, 0.5, 0.5];
        logit.forward_all(&mut values, 2).unwrap();
        let doubled: Vec<f64> = values.iter().map(|v| 2.0 * v).collect();
        for row in logit.back_all(&doubled, 2).chunks(2) {
            assert!((row[0] + row[1] - 1.0).abs() < 1e-15, "{row:?}");
        }
    }
}
