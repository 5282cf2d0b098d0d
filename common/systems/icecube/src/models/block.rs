//! The main blocks: standard attention with a scale for each channel of its output (`Block` of the published code).

use common::Result;
use neural::Path;
use neural::init::Init;
use neural::layers::{LayerNorm, linear};
use tch::Tensor;

use super::Witness;
use super::layout::Layout;
use super::linear::{Dense, Mlp, normal};

/// `x + gamma_1 * attention(norm1 x)`, then `x + gamma_2 * mlp(norm2 x)`.
#[derive(Debug)]
pub struct Block {
    gamma_1: Tensor,
    gamma_2: Tensor,
    norm1: LayerNorm,
    in_proj_weight: Tensor,
    in_proj_bias: Tensor,
    out_proj: Dense,
    norm2: LayerNorm,
    mlp: Mlp,
    dim: i64,
    head_size: i64,
}

impl Block {
    /// A block of `dim` channels in heads of `head_size`.
    pub fn new(p: &Path, dim: i64, head_size: i64) -> Result<Self> {
        let gamma_1 = p.parameter("gamma_1", &[dim], Init::Ones)?;
        let gamma_2 = p.parameter("gamma_2", &[dim], Init::Ones)?;
        let norm1 = LayerNorm::new(&p.sub("norm1"), &[dim])?;
        let attn = p.sub("attn");
        Ok(Self {
            gamma_1,
            gamma_2,
            norm1,
            in_proj_weight: attn.parameter("in_proj_weight", &[3 * dim, dim], Init::XavierUniform)?,
            in_proj_bias: attn.parameter("in_proj_bias", &[3 * dim], Init::Zeros)?,
            out_proj: Dense::new(&attn.sub("out_proj"), dim, dim, normal())?,
            norm2: LayerNorm::new(&p.sub("norm2"), &[dim])?,
            mlp: Mlp::new(&p.sub("mlp"), dim)?,
            dim,
            head_size,
        })
    }

    /// `[N, D]` -> `[N, D]`; `seen` is told the output of the attention.
    pub fn forward(&self, x: &Tensor, layout: &Layout, seen: Option<&mut Witness>) -> Tensor {
        let h = self.head_size;
        let projected = linear(&self.norm1.forward(x), &self.in_proj_weight, Some(&self.in_proj_bias));
        let groups: Vec<Tensor> = layout.split(&projected);
        let masks = layout.masks(projected.kind());
        let groups: Vec<Tensor> = groups
            .iter()
            .zip(&masks)
            .map(|(qkv, mask)| {
                let (b, l) = (qkv.size()[0], qkv.size()[1]);
                let split = qkv.view([b, l, 3, self.dim / h, h]).permute([2, 0, 3, 1, 4]);
                attend(&split.get(0), &split.get(1), &split.get(2), mask.as_ref())
            })
            .collect();
        let mixed = layout.join(&groups);
        if let Some(seen) = seen {
            seen("attn.0", &self.out_proj.forward(&mixed));
        }
        self.rest(x, &mixed)
    }

    /// The same for the first token of every event only, `[N, D]` -> `[B, D]`: the head looks at no other, so the last
    /// block need not compute any other. `firsts` are the rows of those tokens, i64 `[B]`.
    pub fn forward_first(&self, x: &Tensor, layout: &Layout, firsts: &Tensor) -> Tensor {
        let (d, h) = (self.dim, self.head_size);
        let normed = self.norm1.forward(x);
        let part = |from: i64, count: i64, of: &Tensor| {
            let bias = self.in_proj_bias.narrow(0, from * d, count * d);
            linear(of, &self.in_proj_weight.narrow(0, from * d, count * d), Some(&bias))
        };
        let queries = part(0, 1, &normed.index_select(0, firsts)); // [B, D]
        let keys_values = part(1, 2, &normed); // [N, 2D]
        let masks = layout.masks(keys_values.kind());
        let mut mixed = vec![];
        for ((kv, queries), mask) in layout.split(&keys_values).iter().zip(layout.split_events(&queries)).zip(&masks) {
            let (b, l) = (kv.size()[0], kv.size()[1]);
            let q = queries.view([b, 1, d / h, h]).transpose(1, 2); // [b, H, 1, h]
            let split = kv.view([b, l, 2, d / h, h]).permute([2, 0, 3, 1, 4]);
            let out = attend(&q, &split.get(0), &split.get(1), mask.as_ref()); // [b, 1, D]
            mixed.push(out.view([b, d]));
        }
        self.rest(&x.index_select(0, firsts), &layout.join_events(&mixed))
    }

    fn rest(&self, x: &Tensor, mixed: &Tensor) -> Tensor {
        let x = self.out_proj.scaled_add_to(x, &self.gamma_1, mixed);
        self.mlp.scaled_add_to(&x, &self.gamma_2, &self.norm2.forward(&x))
    }
}

/// `[b, H, l, h]` each -> `[b, l, D]`.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let mixed = Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, false, None, false);
    let (b, heads, l, h) = mixed.size4().unwrap_or_else(|e| panic!("attention gave {:?}: {e}", mixed.size()));
    mixed.transpose(1, 2).reshape([b, l, heads * h])
}
