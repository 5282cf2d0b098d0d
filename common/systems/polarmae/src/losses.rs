//! Losses: chamfer distance of packed clouds; focal, likelihood and dice losses of classes.

use common::Result;
use neural::trainer::Term;
use neural::{Doing, device};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::models::floats;
use crate::models::packed::{Runs, index};

/// Chamfer distance: for each point the squared distance of the nearest of the other cloud, averaged over the points
/// of a cloud, both directions added, averaged over clouds. No cloud: zero.
///
/// `x [P, D]` and `y [Q, D]` hold the clouds one after another. Which point is nearest is found without a gradient (ties: the
/// lowest index), so backward touches P + Q pairs and no matrix of distances.
pub fn chamfer(x: &Tensor, x_runs: &Runs, y: &Tensor, y_runs: &Runs) -> Result<Tensor> {
    if x_runs.is_empty() {
        return Ok((x.sum(Kind::Float) + y.sum(Kind::Float)) * 0.0);
    }
    let channels = x.size()[1] as usize;
    let (from, to) = (floats(x)?, floats(y)?);
    let one_way = |a: &Tensor, a_values: &[f32], a_runs: &Runs, b: &Tensor, b_values: &[f32], b_runs: &Runs| {
        let (rows, partners, weights) = pairs(a_values, a_runs, b_values, b_runs, channels);
        let device = a.device();
        // All rows have a partner in training; only then no copy is needed.
        let chosen =
            if rows.len() as i64 == a.size()[0] { a.shallow_clone() } else { a.index_select(0, &index(&rows, device)) };
        let difference = chosen - b.index_select(0, &index(&partners, device));
        let distances = difference.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        (distances * device::placed(&Tensor::from_slice(&weights), device)).sum(Kind::Float)
    };
    let there = one_way(x, &from, x_runs, y, &to, y_runs);
    let back = one_way(y, &to, y_runs, x, &from, x_runs);
    Ok((there + back) / x_runs.len() as f64)
}

/// For each row of `a` the nearest row of the same cloud of `b`: rows, partners, and 1 / points of the cloud.
fn pairs(a: &[f32], a_runs: &Runs, b: &[f32], b_runs: &Runs, channels: usize) -> (Vec<i64>, Vec<i64>, Vec<f32>) {
    let spans: Vec<((i64, i64), (i64, i64))> = a_runs.iter().zip(b_runs.iter()).collect();
    let row = |values: &'_ [f32], r: i64| -> [f32; 4] {
        let mut out = [0.0; 4];
        out[..channels].copy_from_slice(&values[r as usize * channels..(r as usize + 1) * channels]);
        out
    };
    let lists: Vec<Vec<(i64, i64, f32)>> = spans
        .par_iter()
        .with_min_len(64)
        .map(|&((start, length), (other, others))| {
            let weight = 1.0 / length.max(1) as f32;
            let nearest = |r: i64| {
                let p = row(a, r);
                let distance = |q: i64| row(b, q).iter().zip(p).map(|(v, w)| (v - w) * (v - w)).sum::<f32>();
                (other..other + others)
                    .map(|q| (distance(q), q))
                    .reduce(|best, next| if next.0 < best.0 { next } else { best })
            };
            (start..start + length).filter_map(|r| nearest(r).map(|(_, q)| (r, q, weight))).collect()
        })
        .collect();
    let mut out = (vec![], vec![], vec![]);
    for (r, q, w) in lists.into_iter().flatten() {
        out.0.push(r);
        out.1.push(q);
        out.2.push(w);
    }
    out
}

/// What a segmentation minimises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SegLoss {
    /// Weighted focal loss, the published one (`fancy` is the same).
    #[default]
    #[serde(alias = "fancy")]
    Focal,
    /// Weighted negative log-likelihood.
    Nll,
    /// Focal loss plus the multi-class dice loss.
    FocalDice,
}

/// The label that counts for nothing.
pub const IGNORED: i64 = -1;

impl SegLoss {
    /// The terms of [`SegLoss::forward`]: what each is a mean over.
    pub fn terms(self, logits: &Tensor, labels: &Tensor, weights: &Tensor) -> Result<Vec<Term>> {
        let valid = labels.ne(IGNORED);
        let number = |t: &Tensor| t.f_double_value(&[]).doing("counting labelled points");
        let points = number(&valid.sum(Kind::Double))?;
        let focal = || Term { mean: focal(logits, labels, Some(weights), 2.0).mean, count: points };
        Ok(match self {
            Self::Focal => vec![focal()],
            Self::Nll => {
                // A weighted mean counts by its weights.
                let of_points = weights.index_select(0, &labels.clamp_min(0)) * valid.to_kind(Kind::Float);
                let count = number(&of_points.sum(Kind::Double))?;
                vec![Term { mean: self.forward(logits, labels, weights), count }]
            }
            Self::FocalDice => {
                let dice = Term { mean: dice(logits, labels, 1.0), count: labels.size()[0] as f64 };
                vec![focal(), dice]
            }
        })
    }

    /// Loss of logits `[P, classes]` against labels `[P]`.
    pub fn forward(self, logits: &Tensor, labels: &Tensor, weights: &Tensor) -> Tensor {
        match self {
            Self::Focal => focal(logits, labels, Some(weights), 2.0).mean,
            Self::Nll => {
                logits.log_softmax(-1, Kind::Float).g_nll_loss(labels, Some(weights), tch::Reduction::Mean, IGNORED)
            }
            Self::FocalDice => focal(logits, labels, Some(weights), 2.0).mean + dice(logits, labels, 1.0),
        }
    }
}

/// A focal loss, reduced in all ways.
#[derive(Debug)]
pub struct Focal {
    /// Of each row; 0 where the label is ignored.
    pub rows: Tensor,
    /// Sum over the rows.
    pub sum: Tensor,
    /// Sum divided by the number of rows that are not ignored, not by their weights; 0 without such a row.
    pub mean: Tensor,
}

/// `w_y (1 - p_y)^gamma (-log p_y)`. Log-probabilities may be given for logits: they are their own logits.
pub fn focal(logits: &Tensor, labels: &Tensor, weights: Option<&Tensor>, gamma: f64) -> Focal {
    let valid = labels.ne(IGNORED);
    let safe = labels.clamp_min(0);
    let log_p = logits.log_softmax(-1, Kind::Float).gather(1, &safe.unsqueeze(1), false).squeeze_dim(1);
    let miss = 1f64 - log_p.exp();
    let shape = if gamma == 2.0 { miss.square() } else { miss.pow_tensor_scalar(gamma) };
    let mut rows = -(shape * &log_p) * valid.to_kind(Kind::Float);
    if let Some(weights) = weights {
        rows = &rows * weights.index_select(0, &safe);
    }
    let count = valid.sum(Kind::Float).clamp_min(1.0);
    let sum = rows.sum(Kind::Float);
    Focal { mean: &sum / count, sum, rows }
}

/// Multi-class dice loss of logits `[P, classes]`: for each row and class 1 - (2 p t + smooth) / (p + t + smooth),
/// averaged over rows that are not ignored, and classes. Source: the library's `DiceLoss` on two-dimensional inputs.
pub fn dice(logits: &Tensor, labels: &Tensor, smooth: f64) -> Tensor {
    let classes = logits.size()[1];
    let valid = labels.ne(IGNORED).to_kind(Kind::Float).unsqueeze(1);
    let p = logits.softmax(-1, Kind::Float);
    let truth = labels.clamp_min(0).one_hot(classes).to_kind(Kind::Float) * &valid;
    let p = p * &valid;
    let score = ((&p * &truth) * 2.0 + smooth) / (&p + &truth + smooth);
    ((1f64 - score) * valid).mean(Kind::Float)
}

/// Focal loss of two classes, on logits: `alpha (1 - p_t)^gamma` times the cross entropy, averaged. `pos_weight`
/// multiplies the part of positive rows in the cross entropy.
pub fn binary_focal(logits: &Tensor, targets: &Tensor, alpha: f64, gamma: f64, pos_weight: Option<f64>) -> Tensor {
    let weight = pos_weight.map(|w| Tensor::full([1], w, (Kind::Float, logits.device())));
    let entropy =
        logits.binary_cross_entropy_with_logits(targets, None::<&Tensor>, weight.as_ref(), tch::Reduction::None);
    let p_t = (-&entropy).exp();
    ((1f64 - p_t).pow_tensor_scalar(gamma) * entropy * alpha).mean(Kind::Float)
}
