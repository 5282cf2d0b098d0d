//! The loss of the original (`src/tracknet/models/losses.py`, `PointInAreaLoss`): how far the hit lies from the centre
//! in units of the radius, against the size of the sphere.
//!
//! For a position error e the loss is least at R = (alpha e / (2 (1 - alpha)))^(1/3); with the published alpha of 0.0008
//! that sphere contains the hit only when e < 0.02. The docstring of the original gives another formula than its code.

use tch::{Kind, Tensor};

use crate::models::Outputs;

/// The two terms before the mean, `[B, 2L - 1]` each: distance over radius, and squared radius.
pub fn terms(outputs: &Outputs, targets: &Tensor) -> (Tensor, Tensor) {
    let later = targets.size()[1] - 1;
    // Divided first, then the norm, as published; the norm has gradient zero at zero.
    let distance = |centre: Tensor, radius: &Tensor, target: Tensor| {
        ((centre - target) / radius).norm_scalaropt_dim(2, [-1].as_slice(), false)
    };
    let radius_2 = outputs.radius_2.narrow(1, 0, later);
    let point = Tensor::cat(
        &[
            distance(outputs.coords_1.shallow_clone(), &outputs.radius_1, targets.shallow_clone()),
            distance(outputs.coords_2.narrow(1, 0, later), &radius_2, targets.narrow(1, 1, later)),
        ],
        1,
    );
    let size = Tensor::cat(&[outputs.radius_1.squeeze_dim(-1), radius_2.squeeze_dim(-1)], 1).square();
    (point, size)
}

/// Mean over the entries of `mask` of alpha * point + (1 - alpha) * size.
pub fn point_in_area(outputs: &Outputs, targets: &Tensor, mask: &Tensor, alpha: f64) -> Tensor {
    let (point, size) = terms(outputs, targets);
    let (values, mask) = (point * alpha + size * (1.0 - alpha), mask.to_kind(Kind::Bool));
    if values.device().is_cuda() {
        // The same mean; choosing the entries would make the host wait for their number.
        let sum = values.where_scalarother(&mask, 0.0).sum(Kind::Float);
        return sum / mask.sum(Kind::Float);
    }
    values.masked_select(&mask).mean(Kind::Float)
}
