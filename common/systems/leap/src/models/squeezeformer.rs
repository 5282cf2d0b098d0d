//! The Squeezeformer of LEAP's first place (S. Ron, private LB 0.78869 with a confidence head), in the form in which the
//! benchmark of the competition's networks published it (arXiv 2511.20963): a linear map of each level, then blocks of a
//! gated depthwise convolution and of self-attention, each followed by a gated pair of linear maps; a wide gated head.
//!
//! Gating throughout: of a linear map's two halves the first is multiplied with the SiLU of the second.
//!
//! Train it with `train-model configs/leap/first/squeezeformer.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::init::Init;
use neural::layers::{BatchNorm1d, LayerNorm, Linear, MOMENTUM, MultiheadAttention, Network, depthwise};
use neural::params::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::features::Features;
use super::{HEAD, at_least_one, targets, with_confidence};
use crate::columns::CHANNELS;
use crate::dataset::PLACES;

/// Term under the root of every layer norm.
const EPS: f64 = 1e-6;
/// Share of the present batch in the running statistics of the blocks' batch norms. As published: the library that the
/// first place used counts it the other way round, so that 0.95 was meant for the past.
const PRESENT: f64 = 0.95;
/// Levels that the attention over levels of a convolution sees.
const ECA_KERNEL: i64 = 5;

/// What follows the linear map of the inputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum First {
    /// Layer norm: the benchmark.
    #[default]
    LayerNorm,
    /// Batch norm: the first place.
    BatchNorm,
}

/// The Squeezeformer (benchmark: 384 wide, 12 blocks, confidence head; first place: 256 to 512 wide, head 1024 or 2048).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Squeezeformer {
    /// Width.
    pub dim: i64,
    /// Width of the head.
    pub head_dim: i64,
    /// Attention heads; they divide the width.
    pub heads: i64,
    /// Pairs of a convolution block and an attention block.
    pub blocks: usize,
    /// Levels that a convolution sees, odd.
    pub kernel: i64,
    /// Width of the gated maps, halves of a gate together, in multiples of `dim`; an even number.
    pub expand: i64,
    /// What follows the linear map of the inputs.
    pub first: First,
    /// A second output for every target: the error that the network expects of itself. `loss.confidence` trains it.
    pub confidence: bool,
    /// Outputs for where and when a row is, from the mean over the levels of what the head sees: `loss.places` trains them,
    /// nothing reads them.
    #[serde(skip_serializing_if = "super::features::is_false")]
    pub places: bool,
    /// Further channels of the input.
    #[serde(skip_serializing_if = "Features::is_none")]
    pub features: Features,
}

impl Default for Squeezeformer {
    fn default() -> Self {
        Self {
            dim: 384,
            head_dim: 2048,
            heads: 4,
            blocks: 12,
            kernel: 15,
            expand: 4,
            first: First::LayerNorm,
            confidence: false,
            places: false,
            features: Features::default(),
        }
    }
}

impl Squeezeformer {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        self.features.validate(&format!("{key}.features"), problems);
        let sizes = [("dim", self.dim), ("head_dim", self.head_dim), ("heads", self.heads), ("kernel", self.kernel)];
        at_least_one(key, problems, &sizes);
        at_least_one(key, problems, &[("blocks", self.blocks as i64), ("expand", self.expand)]);
        let (dim, heads) = (self.dim, self.heads);
        problems.demand(heads < 1 || dim % heads == 0, &format!("{key}.heads"), || {
            format!("is {heads}, expected a divisor of {dim}")
        });
        problems.demand(self.kernel % 2 == 1, &format!("{key}.kernel"), || {
            format!("is {}, expected an odd number", self.kernel)
        });
        problems.demand(self.expand % 2 == 0, &format!("{key}.expand"), || {
            format!("is {}, expected an even number", self.expand)
        });
    }
}

/// `W2 (a * silu(b)) + b2` with `[a, b] = W1 x + b1`.
#[derive(Debug)]
struct GatedMaps {
    dense_1: Linear,
    dense_2: Linear,
}

impl GatedMaps {
    fn new(p: &Path, width: i64, hidden: i64) -> Result<Self> {
        let dense_1 = Linear::new(&p.sub("dense_1"), width, hidden)?;
        Ok(Self { dense_1, dense_2: Linear::new(&p.sub("dense_2"), hidden / 2, width)? })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.dense_2.forward_fast(&gated(&self.dense_1, x))
    }
}

/// The gated halves of a linear map.
fn gated(map: &Linear, x: &Tensor) -> Tensor {
    match map.forward_parts(x, 2).as_slice() {
        [value, gate] => value * gate.silu(),
        _ => unreachable!("two parts were asked for"),
    }
}

/// A factor and a shift for every channel.
#[derive(Debug)]
struct ScaleBias {
    scale: Tensor,
    bias: Tensor,
}

impl ScaleBias {
    fn new(p: &Path, width: i64) -> Result<Self> {
        Ok(Self {
            scale: p.parameter("scale", &[width], Init::Ones)?,
            bias: p.parameter("bias", &[width], Init::Zeros)?,
        })
    }

    /// `residual + x * scale + bias`.
    fn add_to(&self, residual: &Tensor, x: &Tensor) -> Tensor {
        (residual + &self.bias).addcmul(x, &self.scale)
    }
}

/// Convolution along the levels, each channel by itself, between two linear maps; then gated maps.
#[derive(Debug)]
struct ConvBlock {
    // In every checkpoint, and in no forward pass.
    _scale_bias: ScaleBias,
    ffn: GatedMaps,
    layer_norm_2: LayerNorm,
    scale_bias_1: ScaleBias,
    scale_bias_2: ScaleBias,
    /// `[inner, 1, kernel]`.
    dwconv: Tensor,
    batch_norm: BatchNorm1d,
    /// `[1, 1, 5]`.
    eca: Tensor,
    expand: Linear,
    project: Linear,
}

impl ConvBlock {
    fn new(p: &Path, c: &Squeezeformer) -> Result<Self> {
        let (dim, hidden) = (c.dim, c.dim * c.expand);
        Ok(Self {
            _scale_bias: ScaleBias::new(&p.sub("scale_bias"), dim)?,
            ffn: GatedMaps::new(&p.sub("ffn"), dim, hidden)?,
            layer_norm_2: LayerNorm::with_eps(&p.sub("layer_norm_2"), &[dim], EPS)?,
            scale_bias_1: ScaleBias::new(&p.sub("scale_bias_1"), dim)?,
            scale_bias_2: ScaleBias::new(&p.sub("scale_bias_2"), dim)?,
            dwconv: p.sub("dwconv").parameter("weight", &[hidden / 2, 1, c.kernel], Init::FanIn)?,
            batch_norm: BatchNorm1d::new(&p.sub("batch_norm"), hidden / 2, PRESENT)?,
            eca: p.sub("eca_layer.conv").parameter("weight", &[1, 1, ECA_KERNEL], Init::FanIn)?,
            expand: Linear::new(&p.sub("expand"), dim, hidden)?,
            project: Linear::new(&p.sub("project"), hidden / 2, dim)?,
        })
    }

    /// `[B, 60, D]` -> the same shape.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        // Channels stay last throughout: [B, 60, inner].
        let inner = depthwise(&gated(&self.expand, x), &self.dwconv, None);
        let inner = self.batch_norm.forward_last(&inner, train).silu();
        // How much each level counts, from the mean over its channels.
        let mean = inner.mean_dim([2_i64].as_slice(), true, None::<Kind>).transpose(1, 2); // [B, 1, 60]
        let weight = mean.conv1d(&self.eca, None::<&Tensor>, [1], [ECA_KERNEL / 2], [1], 1).sigmoid().transpose(1, 2);
        let inner = inner * weight;
        let x = self.scale_bias_1.add_to(x, &self.project.forward_fast(&inner));
        self.layer_norm_2.forward(&self.scale_bias_2.add_to(&x, &self.ffn.forward(&x)))
    }
}

/// Self-attention over the levels, then gated maps.
#[derive(Debug)]
struct AttentionBlock {
    att: MultiheadAttention,
    ffn: GatedMaps,
    layer_norm_1: LayerNorm,
    layer_norm_2: LayerNorm,
    scale_bias_1: ScaleBias,
    scale_bias_2: ScaleBias,
}

impl AttentionBlock {
    fn new(p: &Path, c: &Squeezeformer) -> Result<Self> {
        let dim = c.dim;
        Ok(Self {
            att: MultiheadAttention::new(&p.sub("att"), dim, c.heads)?,
            ffn: GatedMaps::new(&p.sub("ffn"), dim, dim * c.expand)?,
            layer_norm_1: LayerNorm::with_eps(&p.sub("layer_norm_1"), &[dim], EPS)?,
            layer_norm_2: LayerNorm::with_eps(&p.sub("layer_norm_2"), &[dim], EPS)?,
            scale_bias_1: ScaleBias::new(&p.sub("scale_bias_1"), dim)?,
            scale_bias_2: ScaleBias::new(&p.sub("scale_bias_2"), dim)?,
        })
    }

    /// `[B, 60, D]` -> the same shape.
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.layer_norm_1.forward(&self.scale_bias_1.add_to(x, &self.att.forward_fast(x)));
        self.layer_norm_2.forward(&self.scale_bias_2.add_to(&x, &self.ffn.forward(&x)))
    }
}

/// The norm behind the first linear map.
#[derive(Debug)]
enum FirstNorm {
    Layer(LayerNorm),
    Batch(BatchNorm1d),
}

/// The network.
#[derive(Debug)]
pub struct SqueezeformerNetwork {
    /// `[D, 25]`, without bias.
    dense: Tensor,
    first: FirstNorm,
    blocks: Vec<(ConvBlock, AttentionBlock)>,
    head_dense: Linear,
    ffn: GatedMaps,
    predictions: Linear,
    confidence: Option<Linear>,
    places: Option<Linear>,
}

impl SqueezeformerNetwork {
    /// Creates all parameters, with the library's default distributions.
    pub fn new(params: &Params, c: &Squeezeformer) -> Result<Self> {
        let inputs = (CHANNELS + c.features.channels()) as i64;
        let p = params.root();
        let dense = p.sub("dense").parameter("weight", &[c.dim, inputs], Init::FanIn)?;
        let name = p.sub("layer_norm");
        let first = match c.first {
            First::LayerNorm => FirstNorm::Layer(LayerNorm::with_eps(&name, &[c.dim], EPS)?),
            First::BatchNorm => FirstNorm::Batch(BatchNorm1d::new(&name, c.dim, MOMENTUM)?),
        };
        let convolutions = (0..c.blocks).map(|i| ConvBlock::new(&p.sub("conv_blocks").sub(i), c));
        let convolutions = convolutions.collect::<Result<Vec<_>>>()?;
        let attentions = (0..c.blocks).map(|i| AttentionBlock::new(&p.sub("transformer_encoders").sub(i), c));
        let attentions = attentions.collect::<Result<Vec<_>>>()?;
        let last = |name: &str| Linear::new(&p.sub(name), c.head_dim, HEAD);
        Ok(Self {
            dense,
            first,
            blocks: convolutions.into_iter().zip(attentions).collect(),
            head_dense: Linear::new(&p.sub("head_dense.dense"), c.dim, c.head_dim)?,
            ffn: GatedMaps::new(&p.sub("ffn"), c.head_dim, c.dim * c.expand)?,
            predictions: last("final_dense_pred")?,
            confidence: if c.confidence { Some(last("final_dense_conf")?) } else { None },
            places: match c.places {
                true => Some(Linear::new(&p.sub("final_dense_places"), c.head_dim, PLACES as i64)?),
                false => None,
            },
        })
    }
}

impl Network for SqueezeformerNetwork {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = neural::layers::linear(x, &self.dense, None);
        let mut x = match &self.first {
            FirstNorm::Layer(norm) => norm.forward(&x),
            FirstNorm::Batch(norm) => norm.forward_last(&x, train),
        };
        for (convolution, attention) in &self.blocks {
            x = attention.forward(&convolution.forward(&x, train));
        }
        let x = self.ffn.forward(&self.head_dense.forward_fast(&x).silu());
        let channels = |map: &Linear| targets(&map.forward_fast(&x));
        let output = with_confidence(channels(&self.predictions), self.confidence.as_ref().map(channels));
        match &self.places {
            // Only training needs them.
            Some(places) if train => {
                let places = places.forward(&x.mean_dim([1_i64].as_slice(), false, None::<Kind>));
                Tensor::cat(&[output, places], 1)
            }
            _ => output,
        }
    }
}
