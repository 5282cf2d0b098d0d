//! `y = x W' + b`.

use common::Result;
use tch::Tensor;

use crate::init::Init;
use crate::params::Path;

/// A linear map of the last dimension: `weight [outputs, inputs]`, `bias [outputs]`.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Weight and bias uniform in ± 1/sqrt(inputs).
    pub fn new(p: &Path, inputs: i64, outputs: i64) -> Result<Self> {
        let weight = p.parameter("weight", &[outputs, inputs], Init::FanIn)?;
        Ok(Self { weight, bias: p.parameter("bias", &[outputs], Init::fan_in(inputs))? })
    }

    /// `[.., inputs]` -> `[.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}
