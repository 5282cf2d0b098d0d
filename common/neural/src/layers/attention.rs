//! Multi-head self-attention and the encoder layer built on it.

use common::Result;
use tch::Tensor;

use super::{Activation, LayerNorm, Linear, linear};
use crate::init::Init;
use crate::params::Path;

/// Self-attention without mask or dropout. Heads split the model dimension in order; scores are scaled by
/// 1/sqrt(head size). `in_proj_weight [3D, D]` holds queries, keys, values; then `in_proj_bias`, `out_proj.*`.
#[derive(Debug)]
pub struct MultiheadAttention {
    heads: i64,
    in_proj_weight: Tensor,
    in_proj_bias: Tensor,
    out_proj: Projection,
}

#[derive(Debug)]
struct Projection {
    weight: Tensor,
    bias: Tensor,
}

impl MultiheadAttention {
    /// `in_proj_weight` Xavier uniform, `out_proj.weight` uniform in ± 1/sqrt(D), biases 0. `heads` divides `dim`.
    pub fn new(p: &Path, dim: i64, heads: i64) -> Result<Self> {
        let in_proj_weight = p.parameter("in_proj_weight", &[3 * dim, dim], Init::XavierUniform)?;
        let in_proj_bias = p.parameter("in_proj_bias", &[3 * dim], Init::Zeros)?;
        let out = p.sub("out_proj");
        let weight = out.parameter("weight", &[dim, dim], Init::FanIn)?;
        let bias = out.parameter("bias", &[dim], Init::Zeros)?;
        Ok(Self { heads, in_proj_weight, in_proj_bias, out_proj: Projection { weight, bias } })
    }

    /// `[B, L, D]` -> `[B, L, D]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with(x, |x, weight, bias| x.linear(weight, Some(bias)))
    }

    /// The same with its linear maps in oneDNN where that is faster: see [`linear`].
    pub fn forward_fast(&self, x: &Tensor) -> Tensor {
        self.forward_with(x, |x, weight, bias| linear(x, weight, Some(bias)))
    }

    fn forward_with(&self, x: &Tensor, linear: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor) -> Tensor {
        let (batch, length, dim) = x.size3().unwrap_or_else(|e| panic!("attention on {:?}: {e}", x.size()));
        let projected = linear(x, &self.in_proj_weight, &self.in_proj_bias); // [B, L, 3D]
        let split = projected.view([batch, length, 3, self.heads, dim / self.heads]).permute([2, 0, 3, 1, 4]);
        let (q, k, v) = (split.get(0), split.get(1), split.get(2)); // [B, heads, L, D / heads]
        let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, None, false);
        let joined = mixed.transpose(1, 2).reshape([batch, length, dim]);
        linear(&joined, &self.out_proj.weight, &self.out_proj.bias)
    }
}

/// A post-norm encoder layer: `y = LN1(x + attention(x))`, `z = LN2(y + W2 act(W1 y))`.
#[derive(Debug)]
pub struct TransformerEncoderLayer {
    self_attn: MultiheadAttention,
    linear1: Linear,
    linear2: Linear,
    norm1: LayerNorm,
    norm2: LayerNorm,
    activation: Activation,
}

impl TransformerEncoderLayer {
    /// Model dimension `dim`, hidden width of the two linear maps `feed_forward`.
    pub fn new(p: &Path, dim: i64, heads: i64, feed_forward: i64, activation: Activation) -> Result<Self> {
        Ok(Self {
            self_attn: MultiheadAttention::new(&p.sub("self_attn"), dim, heads)?,
            linear1: Linear::new(&p.sub("linear1"), dim, feed_forward)?,
            linear2: Linear::new(&p.sub("linear2"), feed_forward, dim)?,
            norm1: LayerNorm::new(&p.sub("norm1"), &[dim])?,
            norm2: LayerNorm::new(&p.sub("norm2"), &[dim])?,
            activation,
        })
    }

    /// `[B, L, D]` -> `[B, L, D]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.norm1.forward(&(x + self.self_attn.forward(x)));
        let hidden = self.activation.forward(&self.linear1.forward(&y));
        self.norm2.forward(&(&y + self.linear2.forward(&hidden)))
    }
}
