//! ConvNeXt of the benchmark of LEAP's networks (arXiv 2511.20963), after a team's of the competition: four stages of
//! blocks that look along the levels channel by channel and then mix the channels. No stage shortens the column.
//!
//! Train it with `train-model configs/leap/benchmark/convnext.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::init::Init;
use neural::layers::{BatchNorm1d, Conv1dSame, Linear, MOMENTUM, Network, depthwise};
use neural::params::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::features::Features;
use super::{at_least_one, with_confidence};
use crate::columns::{CHANNELS, LEVELS, PROFILE_TARGETS, SCALAR_TARGETS};

/// Levels that a block looks at.
const BLOCK_KERNEL: i64 = 7;
/// Levels that the last convolution looks at.
const LAST_KERNEL: i64 = 3;
/// What a block's result is multiplied with in the beginning.
const LAYER_SCALE: f32 = 1e-6;

/// ConvNeXt of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Convnext {
    /// Blocks of each stage.
    pub depths: Vec<usize>,
    /// Width of each stage.
    pub dims: Vec<i64>,
    /// Levels that the convolution before each stage looks at.
    pub kernels: Vec<i64>,
    /// A second output for every target: the error that the network expects of itself. `loss.confidence` trains it.
    pub confidence: bool,
    /// Further channels of the input.
    #[serde(skip_serializing_if = "Features::is_none")]
    pub features: Features,
}

impl Default for Convnext {
    fn default() -> Self {
        Self {
            depths: vec![3, 3, 9, 3],
            dims: vec![96, 192, 384, 768],
            kernels: vec![4, 2, 2, 2],
            confidence: false,
            features: Features::default(),
        }
    }
}

impl Convnext {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        self.features.validate(format!("{key}.features").as_str(), problems);
        let stages = self.dims.len();
        problems.demand(stages > 0, &format!("{key}.dims"), || "is empty, expected at least one stage".into());
        for (name, found) in [("depths", self.depths.len()), ("kernels", self.kernels.len())] {
            problems.demand(found == stages, &format!("{key}.{name}"), || {
                format!("has {found} entries, expected {stages}, as many as `dims`")
            });
        }
        for (i, (dim, kernel)) in self.dims.iter().zip(&self.kernels).enumerate() {
            at_least_one(
                key,
                problems,
                &[(format!("dims.{i}").as_str(), *dim), (format!("kernels.{i}").as_str(), *kernel)],
            );
        }
    }
}

/// `x + gamma * W2 gelu(W1 norm(conv(x)))`.
#[derive(Debug)]
struct Block {
    dwconv: Depthwise,
    norm: BatchNorm1d,
    pwconv1: Linear,
    pwconv2: Linear,
    gamma: Tensor,
}

/// A convolution of each channel by itself.
#[derive(Debug)]
struct Depthwise {
    weight: Tensor,
    bias: Tensor,
}

impl Block {
    fn new(p: &Path, dim: i64) -> Result<Self> {
        let conv = p.sub("dwconv");
        let dwconv = Depthwise {
            weight: conv.parameter("weight", &[dim, 1, BLOCK_KERNEL], Init::FanIn)?,
            bias: conv.parameter("bias", &[dim], Init::fan_in(BLOCK_KERNEL))?,
        };
        let gamma = p.parameter("gamma", &[dim], Init::Constant(LAYER_SCALE))?;
        let norm = BatchNorm1d::new(&p.sub("norm"), dim, MOMENTUM)?;
        let p = p.sub("pwconv");
        let pwconv1 = Linear::new(&p.sub("pwconv1"), dim, 4 * dim)?;
        Ok(Self { dwconv, norm, pwconv1, pwconv2: Linear::new(&p.sub("pwconv2"), 4 * dim, dim)?, gamma })
    }

    /// `[B, 60, D]` -> the same shape.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let Depthwise { weight, bias } = &self.dwconv;
        let h = self.norm.forward_last(&depthwise(x, weight, Some(bias)), train);
        let h = self.pwconv2.forward_fast(&self.pwconv1.forward_fast(&h).gelu("none"));
        x.addcmul(&h, &self.gamma)
    }
}

/// What stands before a stage: a convolution, with a norm behind it before the first stage and before it elsewhere.
#[derive(Debug)]
struct Between {
    conv: Conv1dSame,
    norm: BatchNorm1d,
    norm_first: bool,
}

impl Between {
    /// `[B, 60, D]` -> `[B, 60, D']`.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let conv = |x: &Tensor| self.conv.forward(&x.transpose(1, 2)).transpose(1, 2).contiguous();
        match self.norm_first {
            true => conv(&self.norm.forward_last(x, train)),
            false => self.norm.forward_last(&conv(x), train),
        }
    }
}

/// The last layers: profiles of a convolution, scalars of a linear map of the whole column.
#[derive(Debug)]
struct Head {
    conv: Conv1dSame,
    fc_scalar: Linear,
}

impl Head {
    fn new(p: &Path, names: [&str; 2], dim: i64) -> Result<Self> {
        let (scalars, profiles) = (SCALAR_TARGETS as i64, PROFILE_TARGETS as i64);
        let conv = Conv1dSame::new(&p.sub(names[0]), dim, scalars + profiles, LAST_KERNEL)?;
        Ok(Self { conv, fc_scalar: Linear::new(&p.sub(names[1]), scalars * LEVELS as i64, scalars)? })
    }

    /// `[B, D, 60]` -> `[B, 368]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        let channels = self.conv.forward(x); // [B, 14, 60]
        let flat = |from: i64, n: i64| channels.narrow(1, from, n).reshape([-1, n * LEVELS as i64]);
        let scalars = self.fc_scalar.forward(&flat(0, SCALAR_TARGETS as i64));
        Tensor::cat(&[scalars, flat(SCALAR_TARGETS as i64, PROFILE_TARGETS as i64)], 1)
    }
}

/// The network.
#[derive(Debug)]
pub struct ConvnextNetwork {
    stages: Vec<(Between, Vec<Block>)>,
    head: Head,
    confidence: Option<Head>,
}

impl ConvnextNetwork {
    /// Creates all parameters, with the library's default distributions.
    pub fn new(params: &Params, c: &Convnext) -> Result<Self> {
        let inputs = (CHANNELS + c.features.channels()) as i64;
        let p = params.root();
        let mut between = Vec::new();
        for (i, (&dim, &kernel)) in c.dims.iter().zip(&c.kernels).enumerate() {
            let p = p.sub("downsample_layers").sub(i);
            between.push(match i.checked_sub(1).and_then(|before| c.dims.get(before)) {
                None => Between {
                    conv: Conv1dSame::new(&p.sub(0), inputs, dim, kernel)?,
                    norm: BatchNorm1d::new(&p.sub(1), dim, MOMENTUM)?,
                    norm_first: false,
                },
                Some(&before) => Between {
                    norm: BatchNorm1d::new(&p.sub("norm"), before, MOMENTUM)?,
                    conv: Conv1dSame::new(&p.sub("conv"), before, dim, kernel)?,
                    norm_first: true,
                },
            });
        }
        let mut stages = Vec::new();
        for (i, ((&dim, &depth), between)) in c.dims.iter().zip(&c.depths).zip(between).enumerate() {
            let block = |j: usize| Block::new(&p.sub("stages").sub(i).sub(j), dim);
            stages.push((between, (0..depth).map(block).collect::<Result<Vec<_>>>()?));
        }
        let dim = c.dims.last().copied().unwrap_or_default();
        let head = Head::new(&p, ["final_conv_layer", "fc_scalar"], dim)?;
        let confidence = match c.confidence {
            true => Some(Head::new(&p, ["final_conv_layer_conf", "fc_scalar_conf"], dim)?),
            false => None,
        };
        Ok(Self { stages, head, confidence })
    }
}

impl Network for ConvnextNetwork {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let mut x = x.shallow_clone();
        for (between, blocks) in &self.stages {
            x = blocks.iter().fold(between.forward(&x, train), |x, block| block.forward(&x, train));
        }
        let x = x.transpose(1, 2); // [B, D, 60]
        with_confidence(self.head.forward(&x), self.confidence.as_ref().map(|head| head.forward(&x)))
    }
}
