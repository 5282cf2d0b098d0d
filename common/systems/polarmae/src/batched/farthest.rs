//! Farthest point sampling of many clouds in step.

use neural::device;
use tch::{Kind, Tensor};

/// Samples clouds `[B, N, 3]` of which the first `lengths[b]` points count: `[B, count]` places in the cloud. Each begins
/// with its `start`; what lies beyond the length of a cloud is no sample and holds any place.
pub(super) fn farthest_points(places: &Tensor, lengths: &Tensor, count: i64, starts: &[u32]) -> Tensor {
    let (clouds, width) = (places.size()[0], places.size()[1]);
    let device = places.device();
    let starts: Vec<i64> = starts.iter().map(|&s| i64::from(s)).collect();
    let mut last = device::placed(&Tensor::from_slice(&starts), device); // [B]
    if count == 0 || clouds == 0 {
        return Tensor::zeros([clouds, count], (Kind::Int64, device));
    }
    let axes: [Tensor; 3] = std::array::from_fn(|a| places.select(2, a as i64).contiguous());
    let beyond = Tensor::arange(width, (Kind::Int64, device)).unsqueeze(0).ge_tensor(&lengths.unsqueeze(1));
    // Below every distance: never the farthest while there is a point.
    let mut nearest =
        Tensor::full([clouds, width], f64::INFINITY, (Kind::Float, device)).masked_fill(&beyond, f64::NEG_INFINITY);
    let mut taken = vec![last.shallow_clone()];
    while (taken.len() as i64) < count {
        let at = last.unsqueeze(1);
        let [dx, dy, dz] = axes.each_ref().map(|axis| axis - axis.gather(1, &at, false));
        let distance = &dx * &dx + &dy * &dy + &dz * &dz;
        nearest = nearest.minimum(&distance);
        last = nearest.argmax(1, false); // the first of equal ones
        taken.push(last.shallow_clone());
    }
    Tensor::stack(&taken, 1)
}
