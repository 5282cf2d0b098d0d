//! Linear maps with the initial values of the published networks, and the two-layer perceptron of the blocks.

use common::Result;
use neural::Path;
use neural::init::Init;
use neural::layers::{linear, linear_add, linear_gelu};
use tch::Tensor;

/// The published initial weights: normal with deviation 0.02 (the published cut at ±2 never acts).
pub fn normal() -> Init {
    Init::Normal(0.02)
}

/// `y = x W' + b` with weights drawn by a given rule and biases 0.
#[derive(Debug)]
pub struct Dense {
    /// `[outputs, inputs]`.
    pub weight: Tensor,
    /// `[outputs]`, where there is one.
    pub bias: Option<Tensor>,
}

impl Dense {
    /// With a bias.
    pub fn new(p: &Path, inputs: i64, outputs: i64, init: Init) -> Result<Self> {
        let weight = p.parameter("weight", &[outputs, inputs], init)?;
        Ok(Self { weight, bias: Some(p.parameter("bias", &[outputs], Init::Zeros)?) })
    }

    /// Without a bias.
    pub fn without_bias(p: &Path, inputs: i64, outputs: i64, init: Init) -> Result<Self> {
        Ok(Self { weight: p.parameter("weight", &[outputs, inputs], init)?, bias: None })
    }

    /// `[.., inputs]` -> `[.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        linear(x, &self.weight, self.bias.as_ref())
    }

    /// `x + W y + b`.
    pub fn add_to(&self, x: &Tensor, y: &Tensor) -> Tensor {
        linear_add(x, y, &self.weight, self.bias.as_ref())
    }

    /// `x + gamma * (W y + b)` for a factor of each output: the factors go into the weights.
    pub fn scaled_add_to(&self, x: &Tensor, gamma: &Tensor, y: &Tensor) -> Tensor {
        let bias = self.bias.as_ref().map(|bias| bias * gamma);
        linear_add(x, y, &(&self.weight * gamma.unsqueeze(1)), bias.as_ref())
    }

    /// `gelu(W x + b)`.
    pub fn gelu(&self, x: &Tensor) -> Tensor {
        linear_gelu(x, &self.weight, self.bias.as_ref())
    }
}

/// `W2 gelu(W1 x)`, four times as wide inside.
#[derive(Debug)]
pub struct Mlp {
    fc1: Dense,
    fc2: Dense,
}

impl Mlp {
    /// `fc1`, `fc2`.
    pub fn new(p: &Path, dim: i64) -> Result<Self> {
        Ok(Self {
            fc1: Dense::new(&p.sub("fc1"), dim, 4 * dim, normal())?,
            fc2: Dense::new(&p.sub("fc2"), 4 * dim, dim, normal())?,
        })
    }

    /// `x + mlp(y)`, `[N, D]`.
    pub fn add_to(&self, x: &Tensor, y: &Tensor) -> Tensor {
        self.fc2.add_to(x, &self.fc1.gelu(y))
    }

    /// `x + gamma * mlp(y)`, `[N, D]`.
    pub fn scaled_add_to(&self, x: &Tensor, gamma: &Tensor, y: &Tensor) -> Tensor {
        self.fc2.scaled_add_to(x, gamma, &self.fc1.gelu(y))
    }
}
