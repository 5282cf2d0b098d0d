//! The losses of the experiment log that the published runs do not use: on angles as plain numbers, and beside the
//! likelihood.

use tch::{Kind, Tensor};

use super::target_vector;

/// Keeps the root of a distance of zero differentiable.
const SMALL: f64 = 1e-6;

/// One minus the cosine of the opening angle, `[B]`, f32, of vectors `[B, 3]`.
pub fn cosine(predicted: &Tensor, target: &Tensor) -> Tensor {
    let (unit, truth) = (unit(predicted), target_vector(target));
    1.0 - (unit * truth).sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float)
}

/// Distance of the unit vector of a prediction `[B, 3]` from that of the truth, `[B]`, f32.
///
/// Differs: the log met NaN here, from the root's gradient at zero; a millionth under the root keeps it finite.
pub fn euclidean(predicted: &Tensor, target: &Tensor) -> Tensor {
    let apart = unit(predicted) - target_vector(target);
    (apart.square().sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float) + SMALL * SMALL).sqrt()
}

/// Mean of the squared errors, `[B]`, f32, of angles `[B, 2]` or vectors `[B, 3]`.
pub fn squared(predicted: &Tensor, target: &Tensor) -> Tensor {
    errors(predicted, target).square().mean_dim([-1_i64].as_slice(), false, Kind::Float)
}

/// Mean of `log cosh` of the errors, `[B]`, f32: as `|e| + log(1 + exp(-2 |e|)) - log 2`, which large errors do not
/// overflow.
pub fn log_cosh(predicted: &Tensor, target: &Tensor) -> Tensor {
    let e = errors(predicted, target).abs();
    let values = &e + (&e * -2.0).exp().log1p() - std::f64::consts::LN_2;
    values.mean_dim([-1_i64].as_slice(), false, Kind::Float)
}

/// As published, azimuths are plain numbers: 0.1 and 6.2 are far apart.
fn errors(predicted: &Tensor, target: &Tensor) -> Tensor {
    let predicted = predicted.to_kind(Kind::Float);
    if predicted.size().last() == Some(&2) { predicted - target } else { predicted - target_vector(target) }
}

/// Unit vectors; a vector of length zero stays as it is.
fn unit(predicted: &Tensor) -> Tensor {
    let predicted = predicted.to_kind(Kind::Float);
    let squared = predicted.square().sum_dim_intlist([-1_i64].as_slice(), true, Kind::Float);
    let length = squared.clamp_min(1e-24).sqrt();
    predicted / length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::{LossKind, Normalisation, as_vectors, mean, opening_angles, per_event};
    use tch::Device;

    fn target() -> Tensor {
        Tensor::from_slice(&[1.0_f32, 1.0, 2.0, 0.5, 6.2, 3.0]).view([3, 2])
    }

    fn vectors() -> Tensor {
        Tensor::from_slice(&[3.0_f32, 1.0, -0.5, 0.2, 0.1, 0.4, -9.0, 30.0, 2.0]).view([3, 3])
    }

    fn largest(t: &Tensor) -> f64 {
        t.abs().max().double_value(&[])
    }

    #[test]
    fn cosine_and_distance_follow_from_the_opening_angle() {
        let angle = opening_angles(&vectors(), &target());
        assert!(largest(&(cosine(&vectors(), &target()) - (1.0 - angle.cos()))) < 1e-6);
        assert!(largest(&(euclidean(&vectors(), &target()) - (angle / 2.0).sin() * 2.0)) < 1e-6);
    }

    #[test]
    fn log_cosh_is_square_near_zero_and_straight_far_away() {
        let errors = |e: f64| target() + e;
        let value = |e: f64| log_cosh(&errors(e), &target()).double_value(&[0]);
        assert!((value(1e-2) - 0.5e-4).abs() < 1e-6);
        assert!((value(3.0) - 3.0_f64.cosh().ln()).abs() < 1e-5);
        assert!((value(1e4) - (1e4 - 2.0_f64.ln())).abs() < 1.0);
    }

    #[test]
    fn gradients_stay_finite_at_large_errors_at_the_truth_and_at_zero() {
        use LossKind::{Cosine, Euclidean, LogCosh, Squared, VmsCosine, VmsCosineEuclidean, VmsEuclidean};
        let zeros = |n| Tensor::zeros([3, n], (Kind::Float, Device::Cpu));
        let (truth, large) = (target_vector(&target()), vectors() * 1e6);
        for kind in [Cosine, Euclidean, VmsCosine, VmsEuclidean, VmsCosineEuclidean, LogCosh, Squared] {
            for start in [zeros(3), truth.copy(), large.copy(), zeros(2), target(), target() * 1e6] {
                let p = start.detach().copy().set_requires_grad(true);
                let loss = mean(kind, Normalisation::Switched, &p, &target());
                loss.backward();
                assert!(loss.double_value(&[]).is_finite(), "{kind:?} at {start:?}");
                assert_eq!(p.grad().isfinite().all().int64_value(&[]), 1, "{kind:?} at {start:?}");
            }
        }
    }

    #[test]
    fn sums_of_losses_are_means_of_their_parts() {
        let loss = |kind| per_event(kind, Normalisation::Exact, &vectors(), &target());
        let (vms, cos, dist) = (loss(LossKind::Vms), loss(LossKind::Cosine), loss(LossKind::Euclidean));
        assert!(largest(&(loss(LossKind::VmsCosine) - (&vms + &cos) / 2.0)) < 1e-6);
        assert!(largest(&(loss(LossKind::VmsEuclidean) - (&vms + &dist) / 2.0)) < 1e-6);
        assert!(largest(&(loss(LossKind::VmsCosineEuclidean) - (vms + cos + dist) / 3.0)) < 1e-5);
    }

    #[test]
    fn angles_count_as_unit_vectors_where_a_vector_is_wanted() {
        assert!(largest(&(as_vectors(&target()) - target_vector(&target()))) < 1e-7);
        assert_eq!(as_vectors(&vectors()), vectors());
        let off = mean(LossKind::Angle, Normalisation::Switched, &target(), &target());
        assert!(off.double_value(&[]) < 1e-3);
    }
}
