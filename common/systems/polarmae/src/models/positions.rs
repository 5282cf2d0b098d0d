//! Positions of tokens.

use common::Result;
use neural::Path;
use neural::layers::Linear;
use tch::{Device, Kind, Tensor};

/// Hidden width of the learned encoding.
const HIDDEN: i64 = 128;

/// Linear, GELU, linear, on the coordinates of a centre: `pos_enc.{0,2}`.
#[derive(Debug)]
pub struct LearnedPositions {
    first: Linear,
    second: Linear,
}

impl LearnedPositions {
    /// Of width `dim`.
    pub fn new(p: &Path, dim: i64) -> Result<Self> {
        let p = p.sub("pos_enc");
        Ok(Self { first: Linear::new(&p.sub(0), 3, HIDDEN)?, second: Linear::new(&p.sub(2), HIDDEN, dim)? })
    }

    /// `[.., 3 or more]` -> `[.., dim]`; only coordinates count.
    pub fn forward(&self, centers: &Tensor) -> Tensor {
        self.second.forward(&self.first.forward(&centers.narrow(-1, 0, 3)).gelu("none"))
    }
}

/// Sines and cosines of coordinates, the fixed encoding of earlier versions: `[.., 3]` -> `[.., dim]`.
///
/// Coordinates are stretched so that the batch fills 0 to `scale` on each axis. A third of the channels belongs to each
/// axis: its sines, then its cosines.
pub fn sinusoidal(centers: &Tensor, dim: i64, scale: f64) -> Tensor {
    let per_axis = dim / 3;
    let omega = Tensor::arange(per_axis / 2, (Kind::Double, Device::Cpu)) / (per_axis as f64 / 2.0);
    let omega = Tensor::full_like(&omega, 10_000.0).pow(&omega).reciprocal().to_kind(Kind::Float);
    let centers = centers.narrow(-1, 0, 3);
    let flat = centers.reshape([-1, 3]);
    let (low, high) = (flat.min_dim(0, false).0, flat.max_dim(0, false).0);
    let stretched = (&centers - &low) / (high - &low) * scale;
    let angles = stretched.unsqueeze(-1) * omega.to_device(low.device());
    let parts = Tensor::cat(&[angles.sin(), angles.cos()], -1); // [.., 3, per_axis]
    let mut shape = centers.size();
    let last = shape.len() - 1;
    shape[last] = 3 * per_axis;
    parts.reshape(shape)
}

/// Numbers of the cells of a relative-position table: each difference of two centres divided by `bin`, rounded,
/// clamped to `bins` on either side; x is the slowest. `[B, N, 3]` -> `[B, N, N]`.
pub fn relative_cells(centers: &Tensor, bins: i64, bin: f64) -> Tensor {
    let centers = centers.narrow(-1, 0, 3);
    let delta = centers.unsqueeze(2) - centers.unsqueeze(1);
    let cell = (delta / bin).round().clamp(-bins as f64, bins as f64).to_kind(Kind::Int64) + bins;
    let side = 2 * bins + 1;
    (cell.select(-1, 0) * side + cell.select(-1, 1)) * side + cell.select(-1, 2)
}
