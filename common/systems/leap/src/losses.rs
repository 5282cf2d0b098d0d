//! The losses of LEAP: smooth L1, or another distance, over the targets and over the vertical differences of the six
//! profiles.
//!
//! All 368 columns take part, also the always-zero and the linear ones, as published.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

use crate::columns::{LEVELS, PROFILE_TARGETS, SCALAR_TARGETS, group};

/// What the error of one target counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// `d^2 / (2 beta)` below beta, `|d| - beta / 2` above: the second place.
    #[default]
    SmoothL1,
    /// `d^2 / 2` below beta, `beta (|d| - beta / 2)` above: the benchmark, with beta 1.
    Huber,
    /// `|d|`: the first place.
    Mae,
    /// `d^2`.
    Mse,
}

impl Distance {
    /// Whether `beta` says anything.
    pub fn is_smooth_l1(&self) -> bool {
        *self == Self::SmoothL1
    }
}

/// A distance and where its square turns into a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criterion {
    /// What an error counts.
    pub distance: Distance,
    /// Where the square turns into a line.
    pub beta: f64,
}

/// Smooth L1 with this `beta`.
impl From<f64> for Criterion {
    fn from(beta: f64) -> Self {
        Self { distance: Distance::SmoothL1, beta }
    }
}

impl Criterion {
    /// Mean over all elements.
    pub fn mean(&self, predicted: &Tensor, target: &Tensor) -> Tensor {
        self.reduced(predicted, target, Reduction::Mean)
    }

    /// Every element's own.
    pub fn each(&self, predicted: &Tensor, target: &Tensor) -> Tensor {
        self.reduced(predicted, target, Reduction::None)
    }

    fn reduced(&self, predicted: &Tensor, target: &Tensor, reduction: Reduction) -> Tensor {
        match self.distance {
            Distance::SmoothL1 => predicted.smooth_l1_loss(target, reduction, self.beta),
            Distance::Huber => predicted.huber_loss(target, reduction, self.beta),
            Distance::Mae => predicted.l1_loss(target, reduction),
            Distance::Mse => predicted.mse_loss(target, reduction),
        }
    }
}

/// `|predicted - target|` of every element.
pub fn absolute(predicted: &Tensor, target: &Tensor) -> Tensor {
    (predicted - target).abs()
}

/// `mean(d^2 / (2 beta) if |d| < beta else |d| - beta / 2)` over all elements.
pub fn smooth_l1(predicted: &Tensor, target: &Tensor, beta: f64) -> Tensor {
    predicted.smooth_l1_loss(target, Reduction::Mean, beta)
}

/// Mean squared error over all elements.
pub fn mse(predicted: &Tensor, target: &Tensor) -> Tensor {
    predicted.mse_loss(target, Reduction::Mean)
}

/// The training loss: `S(p, y) + factor/6 * sum over the profiles g of S(d p_g, d y_g)` on `[B, 368]`, where `S` is the
/// criterion's mean and `d` the 59 differences between neighbouring levels. Published: smooth L1 with beta 1 (ADAM,
/// `ForcewithMe`) or 0.5 (Max2020), factor 1.
pub fn full(predicted: &Tensor, target: &Tensor, criterion: impl Into<Criterion>, factor: f64) -> Tensor {
    let criterion = criterion.into();
    let plain = criterion.mean(predicted, target);
    if factor == 0.0 {
        return plain;
    }
    // The six means run over equally many elements, so their mean is the mean over all of them.
    let differences = criterion.mean(&level_differences(predicted), &level_differences(target));
    plain + differences * factor
}

/// The loss of the fine-tuning of group `g`: [`smooth_l1`] with beta 1 over its columns and, for profiles, the
/// difference term with weight 1 (not 1/6, as published).
pub fn of_group(predicted: &Tensor, target: &Tensor, g: usize) -> Tensor {
    let columns = group(g);
    let slice = |t: &Tensor| t.narrow(1, columns.start as i64, columns.len() as i64);
    let (predicted, target) = (slice(predicted), slice(target));
    let plain = smooth_l1(&predicted, &target, 1.0);
    if g == 0 {
        return plain;
    }
    plain + smooth_l1(&differences(&predicted), &differences(&target), 1.0)
}

/// `[B, 368]` -> `[B, 6, 59]`.
fn level_differences(values: &Tensor) -> Tensor {
    let (profiles, levels) = (PROFILE_TARGETS as i64, LEVELS as i64);
    let profiles = values.narrow(1, SCALAR_TARGETS as i64, profiles * levels).reshape([-1, profiles, levels]);
    differences(&profiles)
}

/// Differences between neighbours along the last dimension.
fn differences(values: &Tensor) -> Tensor {
    let n = values.size().last().copied().unwrap_or_default() - 1;
    values.narrow(-1, 1, n) - values.narrow(-1, 0, n)
}
