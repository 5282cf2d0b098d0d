//! Attention with a relative bias from the space-time interval of two pulses (`Rel_ds`, `Block_rel`).
//!
//! The published form projects the encoding `e` of every pair, `R = W e + b`, and adds `q . R` to the logits and
//! `sum a R` to the outputs. The same numbers come without a projection of pairs: `q . R = (W' q) . e + q . b`, where
//! `q . b` is the same for all keys and drops out of the softmax, and `sum a R = W (sum a e) + b`. So `e`, which depends
//! on one number a pair and has no gradient, is all that is ever needed, and in inference it exists only for a few
//! queries at a time.

use common::Result;
use neural::Path;
use neural::layers::{LayerNorm, linear};
use tch::{Kind, Tensor};

use super::Witness;
use super::embed::Sinusoid;
use super::layout::Layout;
use super::linear::{Dense, Mlp, normal};
use super::recorded::root;

/// `(3e4 ns / 500 m) * 0.3 m / ns`: time in units of the position.
const LIGHT: f64 = 3e4 / 500.0 * 3e-1;
const CLIP: f64 = 4.0;
const INTERVAL_SCALE: f64 = 1024.0;

/// Largest number of values of pair encodings that inference holds at a time (4 MB: it stays in the cache).
const CHUNK: i64 = 1 << 20;

/// Positions and times of the pulses of a group, `[b, l, 3]` and `[b, l]`.
#[derive(Debug)]
pub struct Places {
    /// Scaled positions.
    pub pos: Tensor,
    /// Scaled times.
    pub time: Tensor,
}

impl Places {
    /// Signed square root of the space-time interval between the queries `from .. from + count` and all keys,
    /// `[b, count, l]`: positive for pairs that light cannot connect. Rounded step by step as published: near the light
    /// cone a last bit of the difference is seen in the encoding.
    fn intervals(&self, from: i64, count: i64) -> Tensor {
        let queries = self.pos.narrow(1, from, count).unsqueeze(2);
        let squared = (queries - self.pos.unsqueeze(1)).square(); // [b, count, l, 3]
        let space = squared.select(-1, 0) + squared.select(-1, 1) + squared.select(-1, 2);
        let time = (self.time.narrow(1, from, count).unsqueeze(2) - self.time.unsqueeze(1)) * LIGHT;
        let interval = space - time.square();
        (interval.sign() * root(&interval.abs())).clamp(-CLIP, CLIP)
    }

    fn length(&self) -> i64 {
        self.time.size()[1]
    }
}

/// The encoding of pairs; the projection belongs to all blocks together.
#[derive(Debug)]
pub struct RelPos {
    sinusoid: Sinusoid,
    proj: Dense,
    head_size: i64,
}

/// Pair encodings of one group: computed once for training, on demand in inference.
#[derive(Debug)]
pub struct Pairs {
    places: Places,
    encoded: Option<Tensor>,
}

impl RelPos {
    /// `proj`: `head_size -> head_size`.
    pub fn new(p: &Path, head_size: i64) -> Result<Self> {
        let sinusoid = Sinusoid::new(head_size, p.device())?;
        Ok(Self { sinusoid, proj: Dense::new(&p.sub("proj"), head_size, head_size, normal())?, head_size })
    }

    /// The encodings `e` of all pairs of a group, `[b, l, l, h]`.
    pub fn encode(&self, places: &Places) -> Tensor {
        self.rows(places, 0, places.length())
    }

    /// `R` of encodings, for those who want to see it.
    pub fn project(&self, encoded: &Tensor) -> Tensor {
        self.proj.forward(encoded)
    }

    fn rows(&self, places: &Places, from: i64, count: i64) -> Tensor {
        tch::no_grad(|| self.sinusoid.forward(&(places.intervals(from, count) * INTERVAL_SCALE)))
    }

    /// What the blocks need of a group. With `keep` the encodings are held, which gradients ask for.
    pub fn pairs(&self, places: Places, keep: bool) -> Pairs {
        let encoded = keep.then(|| self.encode(&places));
        Pairs { places, encoded }
    }

    /// Encodings of some queries, of the number format of `like`.
    fn of(&self, pairs: &Pairs, from: i64, count: i64, like: Kind) -> Tensor {
        let rows = match &pairs.encoded {
            Some(all) if count == pairs.places.length() => all.shallow_clone(),
            Some(all) => all.narrow(1, from, count),
            None => self.rows(&pairs.places, from, count),
        };
        rows.to_kind(like)
    }

    /// Queries of a group that are treated at a time.
    fn chunk(&self, pairs: &Pairs) -> i64 {
        let length = pairs.places.length();
        if pairs.encoded.is_some() {
            return length;
        }
        let events = pairs.places.time.size()[0];
        (CHUNK / (events * length * self.head_size)).clamp(1, length)
    }
}

/// Attention of a relative block.
#[derive(Debug)]
struct Attention {
    proj_q: Dense,
    proj_k: Dense,
    proj_v: Dense,
    proj: Dense,
    head_size: i64,
}

impl Attention {
    fn new(p: &Path, dim: i64, head_size: i64) -> Result<Self> {
        let project = |name: &str| Dense::without_bias(&p.sub(name), dim, dim, normal());
        let (proj_q, proj_k, proj_v) = (project("proj_q")?, project("proj_k")?, project("proj_v")?);
        let proj = Dense::new(&p.sub("proj"), dim, dim, normal())?;
        Ok(Self { proj_q, proj_k, proj_v, proj, head_size })
    }

    /// What the heads saw, `[N, D]`, before the last projection.
    fn mix(&self, x: &Tensor, layout: &Layout, bias: Option<(&RelPos, &[Pairs])>) -> Tensor {
        let scale = (self.head_size as f64).powf(-0.5);
        // One product for all three; the scale goes into the weights.
        let (q, k, v) = (&self.proj_q.weight * scale, &self.proj_k.weight, &self.proj_v.weight);
        let projected = linear(x, &Tensor::cat(&[&q, k, v], 0), None);
        let masks = layout.masks(projected.kind());
        let groups: Vec<Tensor> = layout
            .split(&projected)
            .iter()
            .enumerate()
            .map(|(g, qkv)| {
                let parts = qkv.chunk(3, 2);
                let (q, k, v) = (&parts[0], &parts[1], &parts[2]);
                match bias {
                    // An event without pulses has nothing to attend to.
                    _ if v.size()[1] == 0 => v.shallow_clone(),
                    Some((rel, pairs)) => self.biased([q, k, v], masks[g].as_ref(), rel, &pairs[g]),
                    None => plain([q, k, v], masks[g].as_ref(), self.head_size),
                }
            })
            .collect();
        layout.join(&groups)
    }

    /// One group: `[b, l, D]` each, queries already scaled.
    fn biased(&self, [q, k, v]: [&Tensor; 3], mask: Option<&Tensor>, rel: &RelPos, pairs: &Pairs) -> Tensor {
        let (b, l, d) = (q.size()[0], q.size()[1], q.size()[2]);
        let h = self.head_size;
        let split = |t: &Tensor| t.view([b, l, d / h, h]);
        let (k, v) = (split(k).permute([0, 2, 3, 1]), split(v).transpose(1, 2)); // [b, H, h, l], [b, H, l, h]
        let q = split(q); // [b, l, H, h]
        let chunk = rel.chunk(pairs);
        let mut parts = vec![];
        let mut from = 0;
        while from < l {
            let count = chunk.min(l - from);
            let e = rel.of(pairs, from, count, q.kind()); // [b, c, l, h]
            let q = q.narrow(1, from, count);
            let to_pairs = q.matmul(&rel.proj.weight); // (W' q): [b, c, H, h]
            let by_pairs = to_pairs.matmul(&e.transpose(2, 3)).transpose(1, 2); // [b, H, c, l]
            let logits = q.transpose(1, 2).matmul(&k) + by_pairs;
            let logits = match mask {
                Some(mask) => logits + mask,
                None => logits,
            };
            let weights = logits.softmax(-1, logits.kind()); // [b, H, c, l]
            let values = weights.matmul(&v).transpose(1, 2); // [b, c, H, h]
            let seen = weights.transpose(1, 2).matmul(&e); // sum a e: [b, c, H, h]
            parts.push((values + rel.proj.forward(&seen)).reshape([b, count, d]));
            from += count;
        }
        if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 1) }
    }
}

/// Attention without bias; queries are scaled already.
fn plain([q, k, v]: [&Tensor; 3], mask: Option<&Tensor>, h: i64) -> Tensor {
    let (b, l, d) = (q.size()[0], q.size()[1], q.size()[2]);
    let split = |t: &Tensor| t.view([b, l, d / h, h]).transpose(1, 2);
    let mixed =
        Tensor::scaled_dot_product_attention(&split(q), &split(k), &split(v), mask, 0.0, false, Some(1.0), false);
    mixed.transpose(1, 2).reshape([b, l, d])
}

/// `x + attention(norm1 x)`, then `x + mlp(norm2 x)`.
#[derive(Debug)]
pub struct BlockRel {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl BlockRel {
    /// A block of `dim` channels in heads of `head_size`.
    pub fn new(p: &Path, dim: i64, head_size: i64) -> Result<Self> {
        Ok(Self {
            norm1: LayerNorm::new(&p.sub("norm1"), &[dim])?,
            attn: Attention::new(&p.sub("attn"), dim, head_size)?,
            norm2: LayerNorm::new(&p.sub("norm2"), &[dim])?,
            mlp: Mlp::new(&p.sub("mlp"), dim)?,
        })
    }

    /// `[N, D]` -> `[N, D]`; `seen` is told the output of the attention.
    pub fn forward(
        &self,
        x: &Tensor,
        layout: &Layout,
        bias: Option<(&RelPos, &[Pairs])>,
        seen: Option<&mut Witness>,
    ) -> Tensor {
        let mixed = self.attn.mix(&self.norm1.forward(x), layout, bias);
        if let Some(seen) = seen {
            seen("attn", &self.attn.proj.forward(&mixed));
        }
        let x = self.attn.proj.add_to(x, &mixed);
        self.mlp.add_to(&x, &self.norm2.forward(&x))
    }
}
