//! Losses, the metric, and the way from a vector to angles and back (section 8 of the published code's losses).
//!
//! The target vector of (azimuth, zenith) is `(sin a sin z, cos a sin z, cos z)`. As published: the first component is
//! the sine, x and y exchanged against the usual convention; it is consistent inside the system and the published
//! weights were trained with it.

pub mod experiments;

use std::f64::consts::PI;

use common::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Mean opening angle in rad: the metric of the competition.
    Angle,
    /// Negative log-likelihood of the von Mises-Fisher distribution.
    Vms,
    /// Opening angle and 0.05 times the likelihood.
    Comb,
    /// One minus the cosine of the opening angle.
    Cosine,
    /// Distance of the tips of both unit vectors.
    Euclidean,
    /// Mean of likelihood and cosine.
    VmsCosine,
    /// Mean of likelihood and Euclidean distance.
    VmsEuclidean,
    /// Mean of likelihood, cosine and Euclidean distance.
    VmsCosineEuclidean,
    /// Mean of the squared errors of azimuth and zenith (of the vector, for networks that give one).
    Squared,
    /// Mean of `log cosh` of the same errors: squared where they are small, straight where they are large.
    LogCosh,
}

/// The normalisation of the von Mises-Fisher distribution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// The exact closed form for all kappa.
    #[default]
    Exact,
    /// As published: exact below kappa 100, an approximation above whose derivative jumps there and holds kappa near 100.
    /// The published weights were trained with it.
    Switched,
}

/// Weight of the likelihood in [`LossKind::Comb`].
const COMB: f64 = 0.05;
/// Where the published normalisation switches.
const SWITCH: f64 = 100.0;
/// Cosines are cut this far from one before the arc cosine.
const COSINE: f64 = 1e-8;
/// The smallest length that a vector is divided by.
const LENGTH: f64 = 1e-12;

/// Azimuth and zenith `[.., 2]` to the target vector `[.., 3]`.
pub fn target_vector(target: &Tensor) -> Tensor {
    let (azimuth, zenith) = (target.select(-1, 0), target.select(-1, 1));
    let sine = zenith.sin();
    Tensor::stack(&[azimuth.sin() * &sine, azimuth.cos() * &sine, zenith.cos()], -1)
}

/// The angle between predicted vectors and true directions, `[B]`, f64. Nothing is learnt of an angle at the cut.
pub fn opening_angles(predicted: &Tensor, target: &Tensor) -> Tensor {
    let predicted = predicted.to_kind(Kind::Double);
    // The norm's gradient at zero is not finite: such events (reported by the caller) are held apart.
    let length =
        predicted.square().sum_dim_intlist([-1_i64].as_slice(), true, Kind::Double).clamp_min(LENGTH * LENGTH).sqrt();
    let p = predicted / length;
    let (azimuth, zenith) = (target.select(-1, 0), target.select(-1, 1));
    // As published: sines in f32, their products in f64.
    let double = |t: Tensor| t.to_kind(Kind::Double);
    let across = p.select(-1, 0) * double(azimuth.sin()) + p.select(-1, 1) * double(azimuth.cos());
    let cosine = across * double(zenith.sin()) + p.select(-1, 2) * double(zenith.cos());
    cosine.clamp(-1.0 + COSINE, 1.0 - COSINE).acos()
}

/// `log C_3(kappa)` in f64, with its gradient.
pub fn log_c3(kappa: &Tensor, normalisation: Normalisation) -> Tensor {
    let kappa = kappa.to_kind(Kind::Double);
    let exact = exact_log_c3(&kappa);
    if normalisation == Normalisation::Exact {
        return exact;
    }
    let at_switch = |k: f64| k.ln() - k - (1.0 - (-2.0 * k).exp()).ln() - (2.0 * PI).ln();
    let offset = at_switch(SWITCH) + (4.0 + SWITCH * SWITCH).sqrt();
    let approximate = offset - (kappa.square() + 4.0).sqrt();
    exact.where_self(&kappa.lt(SWITCH), &approximate)
}

/// `log kappa - kappa - log(1 - exp(-2 kappa)) - log 2 pi`, by its series near zero, where the closed form is 0 / 0.
fn exact_log_c3(kappa: &Tensor) -> Tensor {
    let small = kappa.lt(1e-2);
    // Both branches are finite everywhere, so the unused one adds nothing to the gradient.
    let safe = kappa.masked_fill(&small, 1.0);
    let closed = safe.log() - &safe - (-(&safe * -2.0).expm1()).log() - (2.0 * PI).ln();
    let near = kappa.masked_fill(&small.logical_not(), 0.0).square();
    // log(k / (4 pi sinh k)) = -log 4 pi - k^2 / 6 + k^4 / 180 - ..
    let series = near.square() / 180.0 - &near / 6.0 - (4.0 * PI).ln();
    series.where_self(&small, &closed)
}

/// Negative log-likelihood of each event, `[B]`, f32.
///
/// Differs: the published form divides by the length and multiplies with it again, which gives NaN for a vector of
/// length zero; here such a vector has kappa zero and a gradient along the target.
pub fn vms(predicted: &Tensor, target: &Tensor, normalisation: Normalisation) -> Tensor {
    let predicted = predicted.to_kind(Kind::Float);
    let squared = predicted.square().sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float);
    let kappa = squared.clamp_min(1e-30).sqrt();
    let along = (&predicted * target_vector(target)).sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float);
    -log_c3(&kappa, normalisation).to_kind(Kind::Float) - along
}

/// Vectors `[B, 3]` of what a network gave: itself, or for azimuth and zenith `[B, 2]` the unit vector.
pub fn as_vectors(predicted: &Tensor) -> Tensor {
    if predicted.size().last() == Some(&2) { target_vector(predicted) } else { predicted.shallow_clone() }
}

/// Loss of each event, `[B]`, of vectors `[B, 3]` or angles `[B, 2]`.
pub fn per_event(kind: LossKind, normalisation: Normalisation, predicted: &Tensor, target: &Tensor) -> Tensor {
    use experiments::{cosine, euclidean, log_cosh, squared};
    let vectors = || as_vectors(predicted);
    let likelihood = || vms(&vectors(), target, normalisation);
    match kind {
        LossKind::Angle => opening_angles(&vectors(), target).to_kind(Kind::Float),
        LossKind::Vms => likelihood(),
        LossKind::Comb => opening_angles(&vectors(), target).to_kind(Kind::Float) + likelihood() * COMB,
        LossKind::Cosine => cosine(&vectors(), target),
        LossKind::Euclidean => euclidean(&vectors(), target),
        LossKind::VmsCosine => (likelihood() + cosine(&vectors(), target)) / 2.0,
        LossKind::VmsEuclidean => (likelihood() + euclidean(&vectors(), target)) / 2.0,
        LossKind::VmsCosineEuclidean => {
            (likelihood() + cosine(&vectors(), target) + euclidean(&vectors(), target)) / 3.0
        }
        LossKind::Squared => squared(predicted, target),
        LossKind::LogCosh => log_cosh(predicted, target),
    }
}

/// Mean loss of a batch, f32.
pub fn mean(kind: LossKind, normalisation: Normalisation, predicted: &Tensor, target: &Tensor) -> Tensor {
    match kind {
        // The mean is taken in f64, as published.
        LossKind::Angle => opening_angles(&as_vectors(predicted), target).mean(Kind::Double).to_kind(Kind::Float),
        LossKind::Comb => {
            mean(LossKind::Angle, normalisation, predicted, target)
                + mean(LossKind::Vms, normalisation, predicted, target) * COMB
        }
        _ => per_event(kind, normalisation, predicted, target).mean(Kind::Float),
    }
}

/// Azimuth in (0, 2 pi] and zenith in [0, pi] of vectors, `[B, 3]` -> `[B, 2]`, f32.
pub fn angles(predicted: &Tensor) -> Tensor {
    let unit = |t: &Tensor| {
        let length = t.square().sum_dim_intlist([-1_i64].as_slice(), true, Kind::Float).sqrt().clamp_min(LENGTH);
        t / length
    };
    let unit3 = unit(&predicted.to_kind(Kind::Float));
    let zenith = unit3.select(-1, 2).clamp(-1.0, 1.0).acos();
    let flat = unit(&unit3.narrow(-1, 0, 2));
    let azimuth = flat.select(-1, 0).clamp(-1.0, 1.0).asin();
    let azimuth = (PI - &azimuth).where_self(&flat.select(-1, 1).le(0.0), &azimuth);
    let azimuth = (&azimuth + 2.0 * PI).where_self(&azimuth.le(0.0), &azimuth);
    Tensor::stack(&[azimuth, zenith], -1)
}

/// Number of vectors of a batch that have no direction: length zero, or a number that is not finite.
pub fn undirected(predicted: &Tensor) -> Result<i64> {
    use neural::Doing;
    let length = predicted.detach().to_kind(Kind::Float).abs().sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float);
    let bad = length.isfinite().logical_not().logical_or(&length.eq(0.0));
    bad.sum(Kind::Int64).f_int64_value(&[]).doing("counting vectors without direction")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(t: &Tensor) -> f64 {
        t.double_value(&[])
    }

    #[test]
    fn the_normalisation_has_the_derivative_of_the_distribution() {
        for kappa in [1e-4_f64, 5e-3, 0.02, 1.0, 30.0, 99.0, 150.0, 5e3] {
            let k = Tensor::from_slice(&[kappa]).set_requires_grad(true);
            log_c3(&k, Normalisation::Exact).sum(Kind::Double).backward();
            let expected = if kappa < 1e-3 { -kappa / 3.0 } else { 1.0 / kappa - 1.0 / kappa.tanh() };
            let found = k.grad().double_value(&[0]);
            assert!(
                (found - expected).abs() < 1e-7 * (1.0 + kappa.recip().min(1.0)),
                "{kappa}: {found} against {expected}"
            );
        }
    }

    #[test]
    fn a_vector_of_length_zero_has_finite_losses_and_gradients() {
        for kind in [LossKind::Angle, LossKind::Vms, LossKind::Comb] {
            let p = Tensor::zeros([2, 3], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
            let target = Tensor::from_slice(&[1.0_f32, 1.0, 2.0, 0.5]).view([2, 2]);
            let loss = mean(kind, Normalisation::Switched, &p, &target);
            loss.backward();
            assert!(value(&loss).is_finite());
            assert!(p.grad().isfinite().all().int64_value(&[]) == 1, "{kind:?}");
            assert_eq!(undirected(&p).unwrap(), 2);
        }
    }

    #[test]
    fn angles_come_back() {
        let target = Tensor::from_slice(&[0.1_f32, 0.2, 3.0, 1.5, 6.0, 3.0]).view([3, 2]);
        let back = angles(&(target_vector(&target) * 7.0));
        assert!(value(&(back - target).abs().max()) < 1e-5);
    }
}
