//! Layer normalisation, and the statistics of a batch that several processes share.

use common::Result;
use tch::{Kind, Tensor};

use crate::init::Init;
use crate::parallel;
use crate::params::Path;

/// The term under the root that nearly all published networks use.
const EPS: f64 = 1e-5;

/// Normalises jointly over the last dimensions of the given shape; `weight` and `bias` have that shape.
#[derive(Debug)]
pub struct LayerNorm {
    shape: Vec<i64>,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Weight 1, bias 0.
    pub fn new(p: &Path, shape: &[i64]) -> Result<Self> {
        Self::with_eps(p, shape, EPS)
    }

    /// The same with another term under the root.
    pub fn with_eps(p: &Path, shape: &[i64], eps: f64) -> Result<Self> {
        let weight = p.parameter("weight", shape, Init::Ones)?;
        Ok(Self { shape: shape.to_vec(), weight, bias: p.parameter("bias", shape, Init::Zeros)?, eps })
    }

    /// Same shape as `x`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(&self.shape, Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

/// Mean and biased variance `[C]` of each column over the rows of `x` `[R, C]` on all processes, differentiable; none
/// where each process normalises by its own rows (`training.sync_batch_norm`). A process may have no row.
///
/// Two passes, as the kernels of one process make: the mean first, then the squares around it.
pub fn shared_moments(x: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
    let Some(group) = parallel::statistics_group() else { return Ok(None) };
    let sums = |t: &Tensor| t.sum_dim_intlist([0_i64].as_slice(), false, Kind::Float);
    let rows = Tensor::full([1], x.size()[0] as f64, (Kind::Float, x.device()));
    let total = group.sum(&Tensor::cat(&[sums(x), rows], 0))?; // [C + 1]
    let columns = x.size()[1];
    let count = total.narrow(0, columns, 1);
    let mean = total.narrow(0, 0, columns) / &count;
    let variance = group.sum(&sums(&(x - &mean).square()))? / count;
    Ok(Some((mean, variance)))
}
