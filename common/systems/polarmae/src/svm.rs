//! The probe of token embeddings: principal components, then one linear support vector machine a class.
//!
//! Objective: `1/2 (|w|^2 + b^2) + C sum_i c_i max(0, 1 - y_i (w x_i + b))^2`, with weights `c_i` that balance the two
//! sides. It is convex and piecewise quadratic: Newton's method with exact Hessians over the rows inside the margin ends in a few
//! steps, closer to the optimum than the published solver's tolerance. Source: `LinearSVC` as the published trainer calls it.

use common::{Error, Result};
use neural::Doing;
use tch::{Kind, Tensor};

/// Principal components of rows.
#[derive(Debug)]
pub struct Components {
    /// Mean of the rows, `[D]`, f64.
    pub mean: Tensor,
    /// Axes, `[k, D]`, f64; the largest absolute entry of each is positive.
    pub axes: Tensor,
    /// Variance along each axis, `[k]`, falling.
    pub variances: Tensor,
}

impl Components {
    /// Fits `most` components, at most as many as there are rows or columns. `rows [n, D]`.
    pub fn fit(rows: &Tensor, most: usize) -> Result<Self> {
        let rows = rows.to_kind(Kind::Double);
        let (n, d) = rows.size2().doing("fitting principal components")?;
        if n < 2 {
            return Err(Error::failed(format!("principal components need at least 2 rows, got {n}")));
        }
        let k = (most as i64).min(n).min(d);
        let mean = rows.mean_dim([0i64].as_slice(), false, Kind::Double);
        let centred = &rows - &mean;
        let covariance = centred.tr().matmul(&centred) / (n - 1) as f64;
        let (values, vectors) = covariance.f_linalg_eigh("L").doing("fitting principal components")?;
        let axes = vectors.flip([1]).narrow(1, 0, k).tr();
        let place = axes.abs().argmax(1, true);
        let sign = axes.gather(1, &place, false).sign();
        Ok(Self { mean, axes: axes * sign, variances: values.flip([0]).narrow(0, 0, k).clamp_min(0.0) })
    }

    /// `[n, D]` -> `[n, k]`, f64.
    pub fn project(&self, rows: &Tensor) -> Tensor {
        (rows.to_kind(Kind::Double) - &self.mean).matmul(&self.axes.tr())
    }
}

/// One hyperplane a class.
#[derive(Debug)]
pub struct Machines {
    /// `[classes, k]`, f64.
    pub weights: Tensor,
    /// `[classes]`, f64.
    pub intercepts: Tensor,
}

/// Newton steps at most.
const MOST_STEPS: usize = 100;

impl Machines {
    /// Fits `x [n, k]` against the multi-hot `labels [n, classes]` with penalty factor `c` (published: 0.005). A class
    /// that all rows or none belong to gets a plane that says so.
    pub fn fit(x: &Tensor, labels: &Tensor, c: f64) -> Result<Self> {
        let x = x.to_kind(Kind::Double);
        let with_one = Tensor::cat(&[x.shallow_clone(), x.ones_like().narrow(1, 0, 1)], 1);
        let (k, classes) = (x.size()[1], labels.size()[1]);
        let mut planes = vec![];
        for class in 0..classes {
            planes.push(fit_one(&with_one, &labels.select(1, class).to_kind(Kind::Double), c)?);
        }
        let planes = Tensor::stack(&planes, 0);
        Ok(Self { weights: planes.narrow(1, 0, k), intercepts: planes.select(1, k) })
    }

    /// Signed distances, `[n, classes]`; above 0 is yes.
    pub fn decide(&self, x: &Tensor) -> Tensor {
        x.to_kind(Kind::Double).matmul(&self.weights.tr()) + &self.intercepts
    }
}

fn fit_one(x: &Tensor, label: &Tensor, c: f64) -> Result<Tensor> {
    let n = x.size()[0] as f64;
    let positive = label.sum(Kind::Double).double_value(&[]);
    let width = x.size()[1];
    if positive == 0.0 || positive == n {
        let plane = Tensor::zeros([width], (Kind::Double, x.device()));
        let _ = plane.select(0, width - 1).fill_(if positive == 0.0 { -1.0 } else { 1.0 });
        return Ok(plane);
    }
    let y = label * 2.0 - 1.0;
    let weights = (label * (n / (2.0 * positive)) + (1f64 - label) * (n / (2.0 * (n - positive)))) * c;
    let objective = |w: &Tensor| -> (f64, Tensor) {
        let slack = (1f64 - &y * x.matmul(w)).clamp_min(0.0);
        let value = w.dot(w) * 0.5 + (&weights * slack.square()).sum(Kind::Double);
        (value.double_value(&[]), slack)
    };
    let mut w = Tensor::zeros([width], (Kind::Double, x.device()));
    let (mut value, mut slack) = objective(&w);
    let identity = Tensor::eye(width, (Kind::Double, x.device()));
    for _ in 0..MOST_STEPS {
        let gradient = &w - x.tr().matmul(&(&weights * &y * &slack)) * 2.0;
        let norm = gradient.norm().double_value(&[]);
        if norm <= 1e-11 * n {
            break;
        }
        let inside = &weights * slack.gt(0.0).to_kind(Kind::Double);
        let hessian = &identity + x.tr().matmul(&(x * inside.unsqueeze(1))) * 2.0;
        let step = Tensor::f_linalg_solve(&hessian, &gradient, true).doing("fitting a support vector machine")?;
        let slope = gradient.dot(&step).double_value(&[]);
        let mut length = 1.0;
        let moved = loop {
            let candidate = &w - &step * length;
            let (next, next_slack) = objective(&candidate);
            if next <= value - 1e-4 * length * slope {
                break Some((candidate, next, next_slack));
            }
            length *= 0.5;
            if length < 1e-10 {
                break None;
            }
        };
        let Some((candidate, next, next_slack)) = moved else { break };
        (w, value, slack) = (candidate, next, next_slack);
    }
    Ok(w)
}

/// How good decisions are.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Share of rows all of whose classes are right.
    pub accuracy: f64,
    /// F1 of each class.
    pub f1: Vec<f64>,
}

impl Judged {
    /// Compares decisions with multi-hot labels, `[n, classes]` each.
    pub fn new(decisions: &Tensor, labels: &Tensor) -> Self {
        let yes = decisions.gt(0.0);
        let truth = labels.gt(0.5);
        let right = yes.eq_tensor(&truth).all_dim(1, false).to_kind(Kind::Double);
        let rows = right.numel();
        let sum = |t: &Tensor| -> Vec<f64> {
            let counts = t.to_kind(Kind::Double).sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
            Vec::try_from(counts).unwrap_or_default()
        };
        let hits = sum(&yes.logical_and(&truth));
        let f1 = hits
            .iter()
            .zip(sum(&yes).iter().zip(sum(&truth)))
            .map(|(hit, (yes, truth))| if yes + truth > 0.0 { 2.0 * hit / (yes + truth) } else { 0.0 })
            .collect();
        let accuracy = if rows == 0 { 0.0 } else { right.sum(Kind::Double).double_value(&[]) / rows as f64 };
        Self { accuracy, f1 }
    }

    /// Mean F1 over the classes: the published "SVM F1".
    pub fn mean(&self) -> f64 {
        self.f1.iter().sum::<f64>() / self.f1.len().max(1) as f64
    }
}
