//! The transformer of encoder and decoder: pre-norm blocks, positions added before every block.
//!
//! It runs on packed rows: the tokens of all events one after another, no padding. Attention looks at one event at a
//! time. The published form, padded and masked, is in [`super::plain`]; both give the same numbers for valid tokens.
//! Source: `polarmae/layers/transformer.py`.

use common::Result;
use common::config::Problems;
use neural::init::Init;
use neural::{Path, device};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::norm::{NormScope, TokenNorm};
use super::packed::Runs;

/// Published sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// Width 192, 12 blocks, 6 heads.
    VitTiny,
    /// Width 384, 12 blocks, 6 heads: the published networks.
    VitSmall,
    /// Width 768, 12 blocks, 12 heads.
    VitBase,
}

impl Arch {
    /// (width, blocks, heads).
    pub fn sizes(self) -> (i64, i64, i64) {
        match self {
            Self::VitTiny => (192, 12, 6),
            Self::VitSmall => (384, 12, 6),
            Self::VitBase => (768, 12, 12),
        }
    }
}

/// Sizes and rates of a transformer. Left-out values are the published ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransformerConfig {
    /// Sizes by name.
    pub arch: Arch,
    /// Width instead of the named one.
    pub embed_dim: Option<i64>,
    /// Number of blocks instead of the named one. Published decoders have 4.
    pub depth: Option<i64>,
    /// Number of heads instead of the named one, a divisor of the width.
    pub heads: Option<i64>,
    /// Hidden width of the feed-forward part, as a multiple of the width.
    pub mlp_ratio: i64,
    /// Whether the last block is followed by a norm. Published: encoder no, decoder yes.
    pub postnorm: bool,
    /// Whether positions are added before every block, or once.
    pub add_pos_at_every_layer: bool,
    /// Dropout after attention's and the feed-forward's maps, in [0, 1).
    pub drop_rate: f64,
    /// Dropout of attention weights, in [0, 1). Published: 0.05.
    pub attn_drop_rate: f64,
    /// Chance that a token skips the last block, in [0, 1); earlier blocks less, the first never. Published: 0.25.
    pub drop_path_rate: f64,
    /// The same chance for every block.
    pub drop_path_uniform: bool,
    /// What the norms average over.
    pub norm: NormScope,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            arch: Arch::VitSmall,
            embed_dim: None,
            depth: None,
            heads: None,
            mlp_ratio: 4,
            postnorm: false,
            add_pos_at_every_layer: true,
            drop_rate: 0.0,
            attn_drop_rate: 0.05,
            drop_path_rate: 0.25,
            drop_path_uniform: false,
            norm: NormScope::Batch,
        }
    }
}

impl TransformerConfig {
    /// Width of a token.
    pub fn dim(&self) -> i64 {
        self.embed_dim.unwrap_or(self.arch.sizes().0)
    }

    /// Number of blocks.
    pub fn depth(&self) -> i64 {
        self.depth.unwrap_or(self.arch.sizes().1)
    }

    /// Number of heads.
    pub fn heads(&self) -> i64 {
        self.heads.unwrap_or(self.arch.sizes().2)
    }

    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        for (name, value) in
            [("embed_dim", self.dim()), ("depth", self.depth()), ("heads", self.heads()), ("mlp_ratio", self.mlp_ratio)]
        {
            problems.demand(value >= 1, &format!("{key}.{name}"), || format!("is {value}, expected at least 1"));
        }
        let divides = self.heads() >= 1 && self.dim() % self.heads().max(1) == 0;
        problems.demand(divides, &format!("{key}.heads"), || {
            format!("is {}, expected a divisor of the width {}", self.heads(), self.dim())
        });
        for (name, rate) in [
            ("drop_rate", self.drop_rate),
            ("attn_drop_rate", self.attn_drop_rate),
            ("drop_path_rate", self.drop_path_rate),
        ] {
            let good = (0.0..1.0).contains(&rate);
            problems.demand(good, &format!("{key}.{name}"), || format!("is {rate}, expected 0 <= rate < 1"));
        }
    }

    /// Chance of skipping block `i`.
    fn drop_path(&self, i: i64) -> f64 {
        let depth = self.depth();
        if self.drop_path_uniform || depth == 1 {
            return if self.drop_path_uniform { self.drop_path_rate } else { 0.0 };
        }
        self.drop_path_rate * i as f64 / (depth - 1) as f64
    }
}

/// Weights truncated at two, standard deviation 0.02, and biases zero.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl Map {
    fn new(p: &Path, inputs: i64, outputs: i64) -> Result<Self> {
        let weight = p.parameter("weight", &[outputs, inputs], Init::TruncatedNormal { std: 0.02, bound: 2.0 })?;
        Ok(Self { weight, bias: p.parameter("bias", &[outputs], Init::Zeros)? })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// `norm1`, `attn.qkv`, `attn.proj`, `norm2`, `mlp.fc1`, `mlp.fc2`.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) norm1: TokenNorm,
    pub(super) qkv: Map,
    pub(super) proj: Map,
    pub(super) norm2: TokenNorm,
    pub(super) fc1: Map,
    pub(super) fc2: Map,
    pub(super) heads: i64,
    drop_rate: f64,
    attn_drop_rate: f64,
    drop_path: f64,
}

impl Block {
    fn new(p: &Path, config: &TransformerConfig, i: i64) -> Result<Self> {
        let dim = config.dim();
        let hidden = dim * config.mlp_ratio;
        Ok(Self {
            norm1: TokenNorm::new(&p.sub("norm1"), dim, config.norm)?,
            qkv: Map::new(&p.sub("attn.qkv"), dim, 3 * dim)?,
            proj: Map::new(&p.sub("attn.proj"), dim, dim)?,
            norm2: TokenNorm::new(&p.sub("norm2"), dim, config.norm)?,
            fc1: Map::new(&p.sub("mlp.fc1"), dim, hidden)?,
            fc2: Map::new(&p.sub("mlp.fc2"), hidden, dim)?,
            heads: config.heads(),
            drop_rate: config.drop_rate,
            attn_drop_rate: config.attn_drop_rate,
            drop_path: config.drop_path(i),
        })
    }

    fn forward(&self, x: &Tensor, layout: &Layout, train: bool) -> Result<Tensor> {
        let attended = self.attention(&self.norm1.forward(x)?, layout, train);
        let x = x + self.skip(&attended, train);
        let hidden = self.fc1.forward(&self.norm2.forward(&x)?).gelu("none");
        let out = self.drop(&self.fc2.forward(&self.drop(&hidden, train)), train);
        Ok(&x + self.skip(&out, train))
    }

    fn attention(&self, x: &Tensor, layout: &Layout, train: bool) -> Tensor {
        let dim = x.size()[1];
        let qkv = self.qkv.forward(x).view([-1, 3, self.heads, dim / self.heads]); // [R, 3, H, d]
        let dropout = if train { self.attn_drop_rate } else { 0.0 };
        let mixed = match &layout.padded {
            None => by_event(&qkv, &layout.runs, dropout),
            Some((rows, valid, back)) => padded(&qkv, rows, valid, back, dropout),
        };
        self.drop(&self.proj.forward(&mixed.view([-1, dim])), train)
    }

    fn drop(&self, x: &Tensor, train: bool) -> Tensor {
        if train && self.drop_rate > 0.0 { x.dropout(self.drop_rate, true) } else { x.shallow_clone() }
    }

    /// Stochastic depth: each token of the branch is kept with the chance `1 - drop_path`, and then made larger.
    fn skip(&self, branch: &Tensor, train: bool) -> Tensor {
        if !train || self.drop_path == 0.0 {
            return branch.shallow_clone();
        }
        let keep = 1.0 - self.drop_path;
        let chosen = Tensor::full([branch.size()[0], 1], keep, (Kind::Float, branch.device())).bernoulli() / keep;
        branch * chosen.to_kind(branch.kind())
    }
}

/// `[R, 3, H, d]` -> `[R, H * d]`: one call of the fused kernel an event.
fn by_event(qkv: &Tensor, runs: &Runs, dropout: f64) -> Tensor {
    let mut parts = Vec::with_capacity(runs.len());
    for (start, length) in runs.iter().filter(|(_, length)| *length > 0) {
        let event = qkv.narrow(0, start, length).permute([1, 2, 0, 3]).unsqueeze(1); // [3, 1, H, n, d]
        let (q, k, v) = (event.get(0), event.get(1), event.get(2));
        let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, dropout, false, None, false);
        parts.push(mixed.squeeze_dim(0).transpose(0, 1).reshape([length, -1]));
    }
    if parts.is_empty() { qkv.select(1, 0).flatten(1, 2) } else { Tensor::cat(&parts, 0) }
}

/// The same for all events at once, padded to the longest: for a GPU.
fn padded(qkv: &Tensor, rows: &Tensor, valid: &Tensor, back: &Tensor, dropout: f64) -> Tensor {
    let (events, width) = rows.size2().unwrap_or((0, 0));
    let size = qkv.size();
    let spread = qkv.index_select(0, &rows.view([-1])).view([events, width, 3, size[2], size[3]]);
    let spread = spread.permute([2, 0, 3, 1, 4]); // [3, B, H, T, d]
    let (q, k, v) = (spread.get(0), spread.get(1), spread.get(2));
    let mask = valid.unsqueeze(1).unsqueeze(1); // [B, 1, 1, T]
    let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, Some(&mask), dropout, false, None, false);
    mixed.transpose(1, 2).reshape([events * width, -1]).index_select(0, back)
}

/// How the rows of a batch fall into events.
#[derive(Debug)]
pub struct Layout {
    /// Tokens of each event.
    pub runs: Runs,
    /// On a GPU: the row of each padded place, which are valid, and the place of each row.
    padded: Option<(Tensor, Tensor, Tensor)>,
}

impl Layout {
    /// For tensors on `device`.
    pub fn new(runs: Runs, device: Device) -> Self {
        let padded = (device != Device::Cpu && runs.rows() > 0).then(|| {
            let (rows, valid) = runs.padded(device);
            let width = runs.longest();
            let back: Vec<i64> = runs
                .lengths()
                .iter()
                .enumerate()
                .flat_map(|(b, &n)| (0..n).map(move |i| b as i64 * width + i))
                .collect();
            (rows, valid, device::placed(&Tensor::from_slice(&back), device))
        });
        Self { runs, padded }
    }
}

/// `blocks.<i>`, and `norm` where there is a final one.
#[derive(Debug)]
pub struct Transformer {
    pub(super) blocks: Vec<Block>,
    pub(super) norm: Option<TokenNorm>,
    pub(super) every_layer: bool,
}

impl Transformer {
    /// Builds the blocks below `p`.
    pub fn new(p: &Path, config: &TransformerConfig) -> Result<Self> {
        let blocks =
            (0..config.depth()).map(|i| Block::new(&p.sub("blocks").sub(i), config, i)).collect::<Result<_>>()?;
        let norm =
            if config.postnorm { Some(TokenNorm::new(&p.sub("norm"), config.dim(), config.norm)?) } else { None };
        Ok(Self { blocks, norm, every_layer: config.add_pos_at_every_layer })
    }

    /// `[R, C]` tokens and positions -> `[R, C]`.
    pub fn forward(&self, x: &Tensor, positions: &Tensor, layout: &Layout, train: bool) -> Result<Tensor> {
        self.run(x, positions, layout, train, |_, _| {})
    }

    /// The same, and the outputs of the blocks `wanted`, in that order.
    pub fn hidden(
        &self,
        x: &Tensor,
        positions: &Tensor,
        layout: &Layout,
        train: bool,
        wanted: &[usize],
    ) -> Result<(Tensor, Vec<Tensor>)> {
        let mut hidden: Vec<Option<Tensor>> = wanted.iter().map(|_| None).collect();
        let last = self.run(x, positions, layout, train, |i, x| {
            for (slot, _) in hidden.iter_mut().zip(wanted).filter(|(_, w)| **w == i) {
                *slot = Some(x.shallow_clone());
            }
        })?;
        Ok((last, hidden.into_iter().flatten().collect()))
    }

    fn run(
        &self,
        x: &Tensor,
        positions: &Tensor,
        layout: &Layout,
        train: bool,
        mut see: impl FnMut(usize, &Tensor),
    ) -> Result<Tensor> {
        let mut x = x.shallow_clone();
        for (i, block) in self.blocks.iter().enumerate() {
            if self.every_layer || i == 0 {
                x = &x + positions;
            }
            x = block.forward(&x, layout, train)?;
            see(i, &x);
        }
        self.norm.as_ref().map_or(Ok(x.shallow_clone()), |norm| norm.forward(&x))
    }

    /// Number of blocks.
    pub fn depth(&self) -> usize {
        self.blocks.len()
    }
}
