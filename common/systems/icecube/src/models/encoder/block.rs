//! Blocks of attention and perceptron with the choices of the log: rotary positions, gate, norm, dropout, windows,
//! adjacency and distance.

use common::Result;
use neural::Path;
use neural::init::Init;
use neural::layers::LayerNorm;
use tch::{Kind, Tensor};

use super::rotary::Rotary;
use super::{DropoutConfig, EncoderConfig, Norm};
use crate::models::linear::{Dense, normal};

/// What attention needs to know of a batch.
#[derive(Debug)]
pub struct Sight<'a> {
    /// Added to the logits, `[B, 1, 1, L]` or `[B, 1, L, L]`, of the number format of the tokens.
    pub mask: Option<Tensor>,
    /// Turns queries and keys.
    pub rotary: Option<&'a Rotary>,
    /// Added to the attention weights, `[B, 1, L, L]`, and the weight of the attention itself.
    pub matrices: Option<(&'a Tensor, f64)>,
    /// Whether dropout acts.
    pub train: bool,
}

impl Sight<'_> {
    /// Logits to add for what may be seen (bool, broadcastable to `[B, 1, L, L]`): 0, or minus infinity. Rows
    /// that see nothing see everything, which keeps them finite; nothing reads them.
    pub fn logits(seen: &Tensor, kind: Kind) -> Tensor {
        let any = seen.any_dim(-1, true);
        let seen = seen.logical_or(&any.logical_not());
        seen.zeros_like().to_kind(kind).masked_fill(&seen.logical_not(), f64::NEG_INFINITY)
    }
}

/// The norm in front of a half of a block.
#[derive(Debug)]
pub enum Normalise {
    /// Mean and deviation.
    Layer(LayerNorm),
    /// Root of the mean square.
    Rms(Tensor),
}

impl Normalise {
    /// Weight 1, bias 0.
    pub fn new(p: &Path, norm: Norm, dim: i64) -> Result<Self> {
        Ok(match norm {
            Norm::Layer => Self::Layer(LayerNorm::new(p, &[dim])?),
            Norm::Rms => Self::Rms(p.parameter("weight", &[dim], Init::Ones)?),
        })
    }

    /// The same shape as `x`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(weight) => {
                let mean = x.to_kind(Kind::Float).square().mean_dim([-1_i64].as_slice(), true, Kind::Float);
                x * (mean + 1e-8).rsqrt() * weight
            }
        }
    }
}

/// Attention in heads that need not fill the channels.
#[derive(Debug)]
pub struct Attention {
    to_qkv: Dense,
    to_out: Dense,
    heads: i64,
    head_size: i64,
    dropout: f64,
}

impl Attention {
    fn new(p: &Path, config: &EncoderConfig) -> Result<Self> {
        let inner = config.heads * config.head_size;
        Ok(Self {
            to_qkv: Dense::without_bias(&p.sub("to_qkv"), config.dim, 3 * inner, normal())?,
            to_out: Dense::new(&p.sub("to_out"), inner, config.dim, normal())?,
            heads: config.heads,
            head_size: config.head_size,
            dropout: config.dropout.attention,
        })
    }

    fn forward(&self, x: &Tensor, sight: &Sight) -> Tensor {
        let (b, l, h) = (x.size()[0], x.size()[1], self.head_size);
        let qkv = self.to_qkv.forward(x).view([b, l, 3, self.heads, h]).permute([2, 0, 3, 1, 4]);
        let (mut q, mut k, v) = (qkv.get(0), qkv.get(1), qkv.get(2)); // [B, H, L, h]
        if let Some(rotary) = sight.rotary {
            (q, k) = (rotary.turn(&q), rotary.turn(&k));
        }
        let dropout = if sight.train { self.dropout } else { 0.0 };
        let mixed = match sight.matrices {
            None => Tensor::scaled_dot_product_attention(&q, &k, &v, sight.mask.as_ref(), dropout, false, None, false),
            Some((added, weight)) => {
                let logits = q.matmul(&k.transpose(-2, -1)) * (h as f64).powf(-0.5);
                let logits = sight.mask.as_ref().map_or_else(|| logits.shallow_clone(), |mask| &logits + mask);
                let weights = logits.softmax(-1, logits.kind()) * weight + added.to_kind(logits.kind());
                weights.dropout(dropout, sight.train).matmul(&v)
            }
        };
        self.to_out.forward(&mixed.transpose(1, 2).reshape([b, l, self.heads * h]))
    }
}

/// `W2 act(W1 x)`, four times as wide inside; with a gate `W2 (a * gelu(b))`, `a, b = W1 x`.
#[derive(Debug)]
pub struct FeedForward {
    fc1: Dense,
    fc2: Dense,
    gated: bool,
    dropout: f64,
}

impl FeedForward {
    fn new(p: &Path, config: &EncoderConfig) -> Result<Self> {
        let inner = 4 * config.dim;
        let width = if config.gated { 2 * inner } else { inner };
        Ok(Self {
            fc1: Dense::new(&p.sub("fc1"), config.dim, width, normal())?,
            fc2: Dense::new(&p.sub("fc2"), inner, config.dim, normal())?,
            gated: config.gated,
            dropout: config.dropout.feed_forward,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let hidden = self.fc1.forward(x);
        let hidden = if self.gated {
            let parts = hidden.chunk(2, -1);
            &parts[0] * parts[1].gelu("none")
        } else {
            hidden.gelu("none")
        };
        self.fc2.forward(&hidden.dropout(self.dropout, train && self.dropout > 0.0))
    }
}

/// `x + attention(norm1 x)`, then `x + ff(norm2 x)`.
#[derive(Debug)]
pub struct Block {
    norm1: Normalise,
    attn: Attention,
    norm2: Normalise,
    ff: FeedForward,
    dropout: DropoutConfig,
}

impl Block {
    /// A block with the config's sizes.
    pub fn new(p: &Path, config: &EncoderConfig) -> Result<Self> {
        Ok(Self {
            norm1: Normalise::new(&p.sub("norm1"), config.norm, config.dim)?,
            attn: Attention::new(&p.sub("attn"), config)?,
            norm2: Normalise::new(&p.sub("norm2"), config.norm, config.dim)?,
            ff: FeedForward::new(&p.sub("ff"), config)?,
            dropout: config.dropout,
        })
    }

    /// `[B, L, D]` -> `[B, L, D]`.
    pub fn forward(&self, x: &Tensor, sight: &Sight) -> Tensor {
        let mut x = x.shallow_clone();
        if self.acts(sight.train) {
            x = &x + self.attn.forward(&self.norm1.forward(&x), sight);
        }
        if self.acts(sight.train) {
            x = &x + self.ff.forward(&self.norm2.forward(&x), sight.train);
        }
        x
    }

    /// Whether a half acts in this pass: drawn from the library's generator, which the trainer seeds for each step.
    fn acts(&self, train: bool) -> bool {
        let share = self.dropout.layer;
        !train || share == 0.0 || Tensor::rand([1], tch::kind::FLOAT_CPU).double_value(&[0]) >= share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use neural::Params;
    use tch::Device;

    fn sight(mask: Option<Tensor>) -> Sight<'static> {
        Sight { mask, rotary: None, matrices: None, train: false }
    }

    fn config() -> EncoderConfig {
        EncoderConfig { dim: 16, heads: 2, head_size: 6, ..EncoderConfig::default() }
    }

    fn tokens() -> Tensor {
        tch::manual_seed(5);
        Tensor::randn([2, 7, 16], (Kind::Float, Device::Cpu))
    }

    fn largest(t: &Tensor) -> f64 {
        t.abs().max().double_value(&[])
    }

    #[test]
    fn a_gate_multiplies_one_half_of_the_hidden_channels_with_the_other() {
        for gated in [true, false] {
            let params = Params::new(Device::Cpu, 2);
            let ff = FeedForward::new(&params.root(), &EncoderConfig { gated, ..config() }).unwrap();
            let weight = |name: &str| params.get(name).unwrap();
            assert_eq!(weight("fc1.weight").size(), [if gated { 128 } else { 64 }, 16]);
            let x = tokens();
            let map = |from: i64| x.matmul(&weight("fc1.weight").narrow(0, from, 64).transpose(0, 1));
            let hidden = if gated { map(0) * map(64).gelu("none") } else { map(0).gelu("none") };
            let expected = hidden.matmul(&weight("fc2.weight").transpose(0, 1));
            let found = ff.forward(&x, false);
            assert!(largest(&found) > 1e-4 && largest(&(found - expected)) < 1e-6, "gated: {gated}");
        }
    }

    #[test]
    fn what_may_not_be_seen_changes_nothing() {
        let params = Params::new(Device::Cpu, 2);
        let block = Block::new(&params.root(), &config()).unwrap();
        let x = tokens();
        let seen = Tensor::from_slice(&[true, true, true, true, true, false, false]).view([1, 1, 1, 7]);
        let mask = || Some(Sight::logits(&seen, Kind::Float));
        let before = block.forward(&x, &sight(mask())).narrow(1, 0, 5);
        let short = block.forward(&x.narrow(1, 0, 5), &sight(None));
        assert!(largest(&(&before - short)) < 1e-5, "padding changes valid tokens");
        let other = Tensor::cat(&[x.narrow(1, 0, 5), x.narrow(1, 5, 2) * 9.0], 1);
        assert!(largest(&(before - block.forward(&other, &sight(mask())).narrow(1, 0, 5))) < 1e-5);
        let nothing = Tensor::zeros([1, 1, 1, 7], (Kind::Bool, Device::Cpu));
        assert_eq!(largest(&Sight::logits(&nothing, Kind::Float)), 0.0, "rows that see nothing stay finite");
    }

    #[test]
    fn matrices_of_zeros_are_plain_attention() {
        let params = Params::new(Device::Cpu, 2);
        let block = Block::new(&params.root(), &config()).unwrap();
        let x = tokens();
        let zeros = Tensor::zeros([2, 1, 7, 7], (Kind::Float, Device::Cpu));
        let with = |added: &Tensor, weight| {
            let sight = Sight { matrices: Some((added, weight)), ..sight(None) };
            block.forward(&x, &sight)
        };
        let plain = block.forward(&x, &sight(None));
        assert!(largest(&(&plain - with(&zeros, 1.0))) < 1e-5);
        assert!(largest(&(plain - with(&(zeros + 0.5), 1.0))) > 1e-6);
    }

    #[test]
    fn the_root_mean_square_norm_has_unit_mean_square_and_keeps_the_direction() {
        let params = Params::new(Device::Cpu, 2);
        let norm = Normalise::new(&params.root(), Norm::Rms, 16).unwrap();
        let x = tokens() * 30.0 + 4.0;
        let y = norm.forward(&x);
        let mean = y.square().mean_dim([-1_i64].as_slice(), false, Kind::Float);
        assert!(largest(&(mean - 1.0)) < 1e-4);
        let ratio = &x / &y;
        assert!(largest(&(&ratio - ratio.narrow(-1, 0, 1))) < 1e-2);
    }

    #[test]
    fn dropout_acts_in_training_alone() {
        let dropout = DropoutConfig { layer: 0.3, attention: 0.2, feed_forward: 0.2 };
        let params = Params::new(Device::Cpu, 2);
        let block = Block::new(&params.root(), &EncoderConfig { dropout, ..config() }).unwrap();
        let x = tokens();
        let draw = |seed, train| {
            tch::manual_seed(seed);
            block.forward(&x, &Sight { train, ..sight(None) })
        };
        assert_eq!(draw(1, false), draw(2, false));
        let all: Vec<Tensor> = (0..6).map(|seed| draw(seed, true)).collect();
        assert!(all.iter().any(|t| largest(&(t - &all[0])) > 1e-7));
    }
}
