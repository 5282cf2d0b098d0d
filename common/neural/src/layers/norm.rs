//! Layer normalisation.

use common::Result;
use tch::Tensor;

use crate::init::Init;
use crate::params::Path;

/// The term under the root that all published networks use.
const EPS: f64 = 1e-5;

/// Normalises jointly over the last dimensions of the given shape; `weight` and `bias` have that shape.
#[derive(Debug)]
pub struct LayerNorm {
    shape: Vec<i64>,
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Weight 1, bias 0.
    pub fn new(p: &Path, shape: &[i64]) -> Result<Self> {
        let weight = p.parameter("weight", shape, Init::Ones)?;
        Ok(Self { shape: shape.to_vec(), weight, bias: p.parameter("bias", shape, Init::Zeros)? })
    }

    /// Same shape as `x`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(&self.shape, Some(&self.weight), Some(&self.bias), EPS, true)
    }
}
