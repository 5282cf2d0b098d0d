//! The U-Net of the benchmark of LEAP's networks (arXiv 2511.20963; Hu et al. 2025, "ClimSim-Online"): four resolutions of
//! the column, each with residual blocks, and skip connections between the way down and the way up.
//!
//! Train it with `train-model configs/leap/benchmark/unet.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::init::Init;
use neural::layers::{Conv1dSame, Network};
use neural::params::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::features::Features;
use super::{HEAD, at_least_one, targets, with_confidence};
use crate::columns::{CHANNELS, LEVELS};

/// Term under the root of every group norm.
const EPS: f64 = 1e-6;
/// What a sum of two branches is multiplied with.
const SKIP_SCALE: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// Weights that begin near zero are drawn as others and multiplied with this.
const NEARLY_ZERO: f64 = 1e-5;
/// The same for the maps of attention, `sqrt(0.2)`.
const ATTENTION_SCALE: f64 = 0.447_213_595_499_958;
/// Levels that a convolution sees.
const KERNEL: i64 = 3;

/// The U-Net of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Unet {
    /// Channels of the finest resolution, in multiples of 4.
    pub channels: i64,
    /// Channels of each resolution in multiples of that; each resolution is half of the one before.
    pub multiples: Vec<i64>,
    /// Blocks of each resolution on the way down; one more on the way up.
    pub blocks: usize,
    /// A second output for every target: the error that the network expects of itself. `loss.confidence` trains it.
    pub confidence: bool,
    /// Further channels of the input.
    #[serde(skip_serializing_if = "Features::is_none")]
    pub features: Features,
}

impl Default for Unet {
    fn default() -> Self {
        Self { channels: 128, multiples: vec![1, 2, 2, 2], blocks: 2, confidence: false, features: Features::default() }
    }
}

impl Unet {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        self.features.validate(format!("{key}.features").as_str(), problems);
        let n = self.multiples.len();
        problems
            .demand((1..=6).contains(&n), &format!("{key}.multiples"), || format!("has {n} entries, expected 1 to 6"));
        for (i, &multiple) in self.multiples.iter().enumerate() {
            at_least_one(key, problems, &[(format!("multiples.{i}").as_str(), multiple)]);
        }
        problems.demand(self.blocks >= 1, &format!("{key}.blocks"), || "is 0, expected at least 1".into());
        let channels = self.channels;
        problems.demand(channels >= 4 && channels % 4 == 0, &format!("{key}.channels"), || {
            format!("is {channels}, expected a multiple of 4")
        });
        // Every norm's groups must divide its channels, those of joined skips too.
        let widths = self.widths();
        let uneven = widths.iter().copied().find(|w| w % groups_of(*w) != 0);
        problems.demand(uneven.is_none(), &format!("{key}.channels"), || {
            format!("is {channels}, which gives norms of {} channels, no multiple of their groups", uneven.unwrap_or(0))
        });
    }

    /// Channels of all norms.
    fn widths(&self) -> Vec<i64> {
        let mut widths = Vec::new();
        let scaled: Vec<i64> = self.multiples.iter().map(|m| m * self.channels).collect();
        for a in &scaled {
            widths.push(*a);
            widths.extend(scaled.iter().chain([&self.channels]).map(|b| a + b));
        }
        widths
    }

    /// The shortest multiple of the coarsest step that holds all levels: 64 for four resolutions.
    fn length(&self) -> i64 {
        let step = 1_i64 << (self.multiples.len().max(1) - 1);
        (LEVELS as i64 + step - 1) / step * step
    }
}

/// 32 groups, or fewer such that a group has at least four channels.
fn groups_of(channels: i64) -> i64 {
    (channels / 4).clamp(1, 32)
}

#[derive(Debug)]
struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    fn new(p: &Path, channels: i64) -> Result<Self> {
        Ok(Self {
            weight: p.parameter("weight", &[channels], Init::Ones)?,
            bias: p.parameter("bias", &[channels], Init::Zeros)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.group_norm(groups_of(x.size()[1]), Some(&self.weight), Some(&self.bias), EPS, true)
    }
}

/// What a convolution does to the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resample {
    Keep,
    /// Mean of two neighbours.
    Halve,
    /// Every value twice.
    Double,
}

impl Resample {
    fn apply(self, x: &Tensor) -> Tensor {
        let (batch, channels, length) = x.size3().unwrap_or_else(|e| panic!("resampling {:?}: {e}", x.size()));
        match self {
            Self::Keep => x.shallow_clone(),
            Self::Halve => x.view([batch, channels, length / 2, 2]).mean_dim([3_i64].as_slice(), false, None::<Kind>),
            Self::Double => {
                x.unsqueeze(3).expand([batch, channels, length, 2], false).reshape([batch, channels, 2 * length])
            }
        }
    }
}

/// `(conv1(norm1(conv0(silu(norm0(x))))) + skip(x)) / sqrt(2)`; self-attention with one head after it, where there is one.
///
/// As published: no activation behind the second norm. The original of such blocks has one there.
#[derive(Debug)]
struct Block {
    resample: Resample,
    norm0: GroupNorm,
    conv0: Conv1dSame,
    norm1: GroupNorm,
    conv1: Conv1dSame,
    skip: Option<Conv1dSame>,
    attention: Option<Attention>,
}

#[derive(Debug)]
struct Attention {
    norm2: GroupNorm,
    qkv: Conv1dSame,
    proj: Conv1dSame,
}

impl Block {
    fn new(p: &Path, inputs: i64, outputs: i64, resample: Resample, attention: bool) -> Result<Self> {
        let conv = |name: &str, inputs, outputs, kernel| Conv1dSame::new(&p.sub(name), inputs, outputs, kernel);
        let norm0 = GroupNorm::new(&p.sub("norm0"), inputs)?;
        let conv0 = conv("conv0", inputs, outputs, KERNEL)?;
        let norm1 = GroupNorm::new(&p.sub("norm1"), outputs)?;
        let conv1 = conv("conv1", outputs, outputs, KERNEL)?;
        let changed = inputs != outputs || resample != Resample::Keep;
        let skip = if changed { Some(conv("skip", inputs, outputs, 1)?) } else { None };
        let attention = match attention {
            true => Some(Attention {
                norm2: GroupNorm::new(&p.sub("norm2"), outputs)?,
                qkv: conv("qkv", outputs, 3 * outputs, 1)?,
                proj: conv("proj", outputs, outputs, 1)?,
            }),
            false => None,
        };
        Ok(Self { resample, norm0, conv0, norm1, conv1, skip, attention })
    }

    /// `[B, inputs, L]` -> `[B, outputs, L']`.
    fn forward(&self, x: &Tensor) -> Tensor {
        let h = self.conv0.forward(&self.resample.apply(&self.norm0.forward(x).silu()));
        let h = self.conv1.forward(&self.norm1.forward(&h));
        let x = match &self.skip {
            Some(skip) => skip.forward(&self.resample.apply(x)),
            None => x.shallow_clone(),
        };
        let x = (h + x) * SKIP_SCALE;
        match &self.attention {
            Some(attention) => (attention.forward(&x) + x) * SKIP_SCALE,
            None => x,
        }
    }
}

impl Attention {
    /// `[B, C, L]` -> the same shape.
    fn forward(&self, x: &Tensor) -> Tensor {
        let (batch, channels, length) = x.size3().unwrap_or_else(|e| panic!("attention on {:?}: {e}", x.size()));
        // As published: queries, keys and values of a channel stand next to each other.
        let qkv = self.qkv.forward(&self.norm2.forward(x)).view([batch, channels, 3, length]);
        let part = |i: i64| qkv.select(2, i).transpose(1, 2); // [B, L, C]
        let (q, k, v) = (part(0), part(1), part(2));
        let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, None, false);
        self.proj.forward(&mixed.transpose(1, 2).contiguous())
    }
}

/// The network.
#[derive(Debug)]
pub struct UnetNetwork {
    /// Zeros before the first level.
    padding: i64,
    first: Conv1dSame,
    down: Vec<Block>,
    /// Whether the way down's results at this place are joined first.
    up: Vec<(bool, Block)>,
    norm: GroupNorm,
    last: Conv1dSame,
    confidence: Option<Conv1dSame>,
}

impl UnetNetwork {
    /// Creates all parameters: Xavier uniform weights and zero biases, nearly zero at the end of each block.
    pub fn new(params: &Params, c: &Unet) -> Result<Self> {
        let inputs = (CHANNELS + c.features.channels()) as i64;
        let (p, length) = (params.root(), c.length());
        let (enc, dec) = (p.sub("enc"), p.sub("dec"));
        let coarsest = c.multiples.len().saturating_sub(1);
        let mut width = c.channels;
        let first = Conv1dSame::new(&enc.sub(format!("{length}_conv")), inputs, width, KERNEL)?;
        let (mut skips, mut down) = (vec![width], Vec::new());
        for (level, multiple) in c.multiples.iter().enumerate() {
            let size = length >> level;
            if level > 0 {
                down.push(Block::new(&enc.sub(format!("{size}_down")), width, width, Resample::Halve, false)?);
                skips.push(width);
            }
            for i in 0..c.blocks {
                let outputs = c.channels * multiple;
                let block = enc.sub(format!("{size}_block{i}"));
                down.push(Block::new(&block, width, outputs, Resample::Keep, false)?);
                width = outputs;
                skips.push(width);
            }
        }
        let mut up = Vec::new();
        for (level, multiple) in c.multiples.iter().enumerate().rev() {
            let size = length >> level;
            let mut plain = |name: String, resample, attention| -> Result<()> {
                up.push((false, Block::new(&dec.sub(name), width, width, resample, attention)?));
                Ok(())
            };
            if level == coarsest {
                plain(format!("{size}_in0"), Resample::Keep, true)?;
                plain(format!("{size}_in1"), Resample::Keep, false)?;
            } else {
                plain(format!("{size}_up"), Resample::Double, false)?;
            }
            for i in 0..=c.blocks {
                let (joined, outputs) = (width + skips.pop().unwrap_or_default(), c.channels * multiple);
                let block = dec.sub(format!("{size}_block{i}"));
                up.push((true, Block::new(&block, joined, outputs, Resample::Keep, false)?));
                width = outputs;
            }
        }
        let norm = GroupNorm::new(&p.sub("dec_aux_norm").sub(format!("{length}_aux_norm")), width)?;
        let last = |name: &str| Conv1dSame::new(&p.sub(name).sub(format!("{length}_aux_conv")), width, HEAD, KERNEL);
        let predictions = last("dec_aux_conv")?;
        let confidence = if c.confidence { Some(last("dec_aux_conv_conf")?) } else { None };
        params.reinitialise(|name, shape| match shape {
            [outputs, inputs, kernel] => Some(first_weight(name, inputs * kernel, outputs * kernel)),
            _ => name.ends_with("bias").then_some(Init::Zeros),
        })?;
        Ok(Self { padding: length - LEVELS as i64, first, down, up, norm, last: predictions, confidence })
    }
}

/// Xavier uniform, or a small part of it.
fn first_weight(name: &str, fan_in: i64, fan_out: i64) -> Init {
    let ends = [".conv1.weight", ".proj.weight", "_aux_conv.weight"];
    let scale = match name {
        _ if ends.iter().any(|end| name.ends_with(end)) => NEARLY_ZERO,
        _ if name.ends_with(".qkv.weight") => ATTENTION_SCALE,
        _ => 1.0,
    };
    Init::Uniform(scale * (6.0 / (fan_in + fan_out) as f64).sqrt())
}

impl Network for UnetNetwork {
    /// Differs: scalars may be negative, as their standardised targets are; the published targets are only scaled, and a
    /// ReLU keeps them at 0. The published skip connections have a map that is held at the identity; here they have none.
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        let x = x.transpose(1, 2).constant_pad_nd([self.padding, 0]); // [B, 25, 64]
        let mut x = self.first.forward(&x);
        let mut skips = vec![x.shallow_clone()];
        for block in &self.down {
            x = block.forward(&x);
            skips.push(x.shallow_clone());
        }
        for (joins, block) in &self.up {
            if *joins && let Some(skip) = skips.pop() {
                x = Tensor::cat(&[x, skip], 1);
            }
            x = block.forward(&x);
        }
        let x = self.norm.forward(&x).silu();
        let channels = |conv: &Conv1dSame| {
            targets(&conv.forward(&x).narrow(2, self.padding, LEVELS as i64).transpose(1, 2)) // [B, 60, 14]
        };
        with_confidence(channels(&self.last), self.confidence.as_ref().map(channels))
    }
}
