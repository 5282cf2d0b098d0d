//! The losses of LEAP: smooth L1 over the targets and over the vertical differences of the six profiles.
//!
//! All 368 columns take part, also the always-zero and the linear ones, as published.

use tch::{Reduction, Tensor};

use crate::columns::{LEVELS, PROFILE_TARGETS, SCALAR_TARGETS, group};

/// `mean(d^2 / (2 beta) if |d| < beta else |d| - beta / 2)` over all elements.
pub fn smooth_l1(predicted: &Tensor, target: &Tensor, beta: f64) -> Tensor {
    predicted.smooth_l1_loss(target, Reduction::Mean, beta)
}

/// Mean squared error over all elements.
pub fn mse(predicted: &Tensor, target: &Tensor) -> Tensor {
    predicted.mse_loss(target, Reduction::Mean)
}

/// The training loss: `S(p, y) + factor/6 * sum over the profiles g of S(d p_g, d y_g)` on `[B, 368]`, where `S` is
/// [`smooth_l1`] and `d` the 59 differences between neighbouring levels. Published: beta 1 (ADAM, ForcewithMe) or 0.5
/// (Max2020), factor 1.
pub fn full(predicted: &Tensor, target: &Tensor, beta: f64, factor: f64) -> Tensor {
    let plain = smooth_l1(predicted, target, beta);
    if factor == 0.0 {
        return plain;
    }
    // The six means run over equally many elements, so their mean is the mean over all of them.
    let differences = smooth_l1(&level_differences(predicted), &level_differences(target), beta);
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
