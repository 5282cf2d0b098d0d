//! Any score at all: blend, then measure. Each trial is a pass over the data, so this is for scores that are no
//! function of squared errors.

use rayon::prelude::*;

use crate::gram::Square;
use crate::objective::Objective;
use common::metrics::Matrix;
use common::{Error, Result};

/// An objective given by a function of the blended predictions (row-major, same shape as the models).
pub struct Direct<'a, F> {
    models: &'a [Matrix<'a>],
    measure: F,
    current: Vec<f64>,
}

impl<'a, F: Fn(&[f64]) -> Result<f64> + Sync> Direct<'a, F> {
    /// `measure` gets blended predictions and returns the score, higher is better.
    pub fn new(models: &'a [Matrix<'a>], measure: F) -> Self {
        Self { models, measure, current: Vec::new() }
    }

    fn blend(&self, weights: &[f64]) -> Vec<f64> {
        let Some(first) = self.models.first() else { return Vec::new() };
        let columns = first.columns();
        let mut total = vec![0.0; first.rows() * columns];
        total.par_chunks_mut(columns).enumerate().for_each(|(row, out)| {
            let mut values = vec![0.0; columns];
            for (model, &weight) in self.models.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
                model.read(row, 0..columns, &mut values);
                out.iter_mut().zip(&values).for_each(|(a, b)| *a += weight * b);
            }
        });
        total
    }

    fn measured(&self, values: &[f64]) -> Result<f64> {
        let score = (self.measure)(values)?;
        if score.is_nan() {
            return Err(Error::failed("the metric of a trial blend is not a number"));
        }
        Ok(score)
    }
}

impl<F: Fn(&[f64]) -> Result<f64> + Sync> Objective for Direct<'_, F> {
    fn models(&self) -> usize {
        self.models.len()
    }

    fn score(&self, weights: &[f64]) -> Result<f64> {
        self.measured(&self.blend(weights))
    }

    fn stand(&mut self, weights: &[f64]) -> Result<f64> {
        self.current = self.blend(weights);
        self.measured(&self.current)
    }

    fn line(&self, model: usize, steps: &[f64]) -> Result<Vec<f64>> {
        let columns = self.models[model].columns();
        let trial = |&w: &f64| {
            let mut values = vec![0.0; self.current.len()];
            for (row, (out, current)) in
                values.chunks_exact_mut(columns).zip(self.current.chunks_exact(columns)).enumerate()
            {
                self.models[model].read(row, 0..columns, out);
                out.iter_mut().zip(current).for_each(|(p, e)| *p = (1.0 - w) * e + w * *p);
            }
            self.measured(&values)
        };
        steps.par_iter().map(trial).collect()
    }

    fn quadratic(&self) -> Option<Square> {
        None
    }
}
