//! What the search maximises.

use crate::gram::{Gram, Square, dot};
use common::metrics::zero_r2;
use common::{Error, Result};

/// A score of blends of some models; the search makes it as large as it can.
pub trait Objective {
    /// Number of models.
    fn models(&self) -> usize;

    /// Score of the blend with these weights, higher is better. NaN is an error.
    fn score(&self, weights: &[f64]) -> Result<f64>;

    /// Makes `weights` the current blend and returns its score.
    fn stand(&mut self, weights: &[f64]) -> Result<f64>;

    /// Scores of `(1 - w) * current + w * model` for every w of `steps`.
    fn line(&self, model: usize, steps: &[f64]) -> Result<Vec<f64>>;

    /// The first of the best of some trials, `(model, weight, score)`, if its score is above `floor`. Every trial is a model
    /// and the steps towards it.
    fn best(&self, trials: &[(usize, Vec<f64>)], floor: f64) -> Result<Option<(usize, f64, f64)>> {
        let (mut best, mut found) = (floor, None);
        for (model, steps) in trials {
            for (weight, score) in steps.iter().zip(self.line(*model, steps)?) {
                if score > best {
                    best = score;
                    found = Some((*model, *weight, score));
                }
            }
        }
        Ok(found)
    }

    /// A quadratic form whose decrease makes the score rise near the current blend, if there is one.
    fn quadratic(&self) -> Option<Square>;
}

/// Scores that follow from sums of squared errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GramScore {
    /// Mean over columns of the coefficient of determination.
    R2,
    /// Minus the mean over columns of the mean squared error.
    Mse,
    /// Minus the mean over columns of the root mean squared error.
    Rmse,
}

/// A [`GramScore`] over some columns, exact, without touching the data again.
#[derive(Debug, Clone)]
pub struct GramObjective {
    kind: Kind,
    /// One matrix if the score is linear in the squared errors, else one a column.
    terms: Vec<Term>,
    rows: f64,
    models: usize,
    weights: Vec<f64>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// `constant - sse`, the matrix being scaled.
    Linear { constant: f64 },
    /// `(fixed + sum of max(r2, floor)) / columns`.
    R2 { fixed: f64, columns: f64 },
    /// `-mean of sqrt(sse / rows)`.
    Rmse,
}

#[derive(Debug, Clone)]
struct Term {
    gram: Square,
    sst: f64,
    floor: f64,
    /// Gram matrix times current weights.
    slope: Vec<f64>,
    /// Current sum of squared errors.
    sse: f64,
}

impl GramObjective {
    /// Score over `columns` of `gram`. Columns in `fixed` count 1 in R2 and nothing in the others. `zero` holds mean
    /// and std of the truth's normalisation (all columns): a column's R2 then cannot fall below that of predicting
    /// physical zero.
    pub fn new(
        gram: &Gram,
        score: GramScore,
        columns: &[usize],
        fixed: &[usize],
        zero: Option<(&[f64], &[f64])>,
    ) -> Result<Self> {
        let free: Vec<usize> = columns.iter().copied().filter(|c| !fixed.contains(c)).collect();
        if free.is_empty() {
            return Err(Error::failed("no column is left to blend: all of them are fixed"));
        }
        let count = columns.len() as f64;
        let rows = gram.rows() as f64;
        let constant_truth = free.iter().any(|&c| gram.truth.m2[c] == 0.0);
        let fixed_count = (columns.len() - free.len()) as f64;
        let term =
            |gram: Square, sst: f64, floor: f64| Term { slope: vec![0.0; gram.size], gram, sst, floor, sse: 0.0 };
        let (kind, terms) = match score {
            GramScore::R2 if zero.is_none() && !constant_truth => {
                let mean = gram.weighted(free.iter().map(|&c| (c, 1.0 / (count * gram.truth.m2[c]))));
                (Kind::Linear { constant: 1.0 }, vec![term(mean, 1.0, f64::NEG_INFINITY)])
            }
            GramScore::R2 => {
                let floor =
                    |c: usize| zero.map_or(f64::NEG_INFINITY, |(mean, std)| zero_r2(&gram.truth, c, mean[c], std[c]));
                let terms = free.iter().map(|&c| term(gram.column(c), gram.truth.m2[c], floor(c))).collect();
                (Kind::R2 { fixed: fixed_count, columns: count }, terms)
            }
            GramScore::Mse => {
                let mean = gram.weighted(free.iter().map(|&c| (c, 1.0 / (free.len() as f64 * rows))));
                (Kind::Linear { constant: 0.0 }, vec![term(mean, 1.0, f64::NEG_INFINITY)])
            }
            GramScore::Rmse => {
                (Kind::Rmse, free.iter().map(|&c| term(gram.column(c), 1.0, f64::NEG_INFINITY)).collect())
            }
        };
        Ok(Self { kind, terms, rows, models: gram.models(), weights: vec![0.0; gram.models()] })
    }

    /// Score from the sums of squared errors of the terms.
    fn total(&self, sse: impl Iterator<Item = f64>) -> f64 {
        let terms = self.terms.iter().zip(sse);
        match self.kind {
            Kind::Linear { constant } => constant - terms.map(|(_, sse)| sse).sum::<f64>(),
            Kind::R2 { fixed, columns } => (fixed + terms.map(|(term, sse)| term.r2(sse)).sum::<f64>()) / columns,
            Kind::Rmse => {
                -terms.map(|(_, sse)| (sse.max(0.0) / self.rows).sqrt()).sum::<f64>() / self.terms.len() as f64
            }
        }
    }
}

impl Term {
    fn r2(&self, sse: f64) -> f64 {
        common::metrics::r2(sse.max(0.0), self.sst).max(self.floor)
    }
}

impl Objective for GramObjective {
    fn models(&self) -> usize {
        self.models
    }

    fn score(&self, weights: &[f64]) -> Result<f64> {
        Ok(self.total(self.terms.iter().map(|term| dot(weights, &term.gram.times(weights)))))
    }

    fn stand(&mut self, weights: &[f64]) -> Result<f64> {
        self.weights = weights.to_vec();
        for term in &mut self.terms {
            term.slope = term.gram.times(weights);
            term.sse = dot(weights, &term.slope);
        }
        Ok(self.total(self.terms.iter().map(|term| term.sse)))
    }

    fn line(&self, model: usize, steps: &[f64]) -> Result<Vec<f64>> {
        let at = |w: f64| {
            let keep = 1.0 - w;
            self.total(self.terms.iter().map(|term| {
                keep * keep * term.sse + 2.0 * w * keep * term.slope[model] + w * w * term.gram.at(model, model)
            }))
        };
        Ok(steps.iter().map(|&w| at(w)).collect())
    }

    fn quadratic(&self) -> Option<Square> {
        let mut total = Square::zeros(self.models);
        for term in &self.terms {
            // R2 stays flat where the floor holds; a root's slope falls with the root.
            let weight = match self.kind {
                Kind::Linear { .. } => 1.0,
                Kind::R2 { .. } if term.sst == 0.0 || 1.0 - term.sse / term.sst < term.floor => 0.0,
                Kind::R2 { columns, .. } => 1.0 / (columns * term.sst),
                Kind::Rmse if term.sse > 0.0 => 1.0 / (term.sse * self.rows).sqrt(),
                Kind::Rmse => 0.0,
            };
            total.values.iter_mut().zip(&term.gram.values).for_each(|(a, b)| *a += weight * b);
        }
        Some(total)
    }
}
