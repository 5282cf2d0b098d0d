//! The published form of the transformer: padded to the same number of tokens, masked by -1e9, all rows evaluated.
//!
//! It is what the fast form is compared with, and it gives the attention maps, which the fused kernel does not. What
//! rows of padding hold is as published, too: their attention is uniform over all places.

use tch::{Kind, Tensor};

use super::transformer::{Block, Transformer};

/// Everything that a forward pass went through.
#[derive(Debug)]
pub struct Trace {
    /// After the last block and the final norm, `[B, T, C]`.
    pub last: Tensor,
    /// Output of each block.
    pub hidden: Vec<Tensor>,
    /// Attention weights of each block, `[B, H, T, T]`.
    pub attentions: Vec<Tensor>,
}

/// `[B, T, C]` tokens and positions, mask `[B, T]` of 0 and 1, optionally a bias `[B, H, T, T]` on all scores. Without
/// any dropout.
pub fn forward(
    transformer: &Transformer,
    x: &Tensor,
    positions: &Tensor,
    mask: &Tensor,
    bias: Option<&Tensor>,
) -> Trace {
    let mask = mask.to_kind(Kind::Float).unsqueeze(2); // [B, T, 1]
    let both = &mask * mask.transpose(1, 2); // [B, T, T]
    let mut scores = ((1f64 - both) * -1e9).unsqueeze(1);
    if let Some(bias) = bias {
        scores = &scores + bias;
    }
    let mut trace = Trace { last: x.shallow_clone(), hidden: vec![], attentions: vec![] };
    for (i, block) in transformer.blocks.iter().enumerate() {
        let x = if transformer.every_layer || i == 0 { &trace.last + positions } else { trace.last.shallow_clone() };
        let (attended, attention) = attend(block, &block.norm1.forward_padded(&x, &mask), &scores);
        let x = x + attended;
        let hidden = block.fc1.forward(&block.norm2.forward_padded(&x, &mask)).gelu("none");
        trace.last = &x + block.fc2.forward(&hidden) * &mask;
        trace.hidden.push(trace.last.shallow_clone());
        trace.attentions.push(attention);
    }
    if let Some(norm) = &transformer.norm {
        trace.last = norm.forward_padded(&trace.last, &mask);
    }
    trace
}

fn attend(block: &Block, x: &Tensor, mask: &Tensor) -> (Tensor, Tensor) {
    let size = x.size();
    let (batch, tokens, dim) = (size[0], size[1], size[2]);
    let width = dim / block.heads;
    let qkv = block.qkv.forward(x).view([batch, tokens, 3, block.heads, width]).permute([2, 0, 3, 1, 4]);
    let (q, k, v) = (qkv.get(0), qkv.get(1), qkv.get(2));
    let scores = q.matmul(&k.transpose(-2, -1)) * (width as f64).powf(-0.5) + mask;
    let attention = scores.softmax(-1, Kind::Float);
    let mixed = attention.matmul(&v).transpose(1, 2).reshape([batch, tokens, dim]);
    (block.proj.forward(&mixed), attention)
}
