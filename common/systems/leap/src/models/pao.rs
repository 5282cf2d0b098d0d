//! Pao, a network of LEAP's third place as the benchmark of the competition's networks has it (arXiv 2511.20963):
//! profiles with a learned place for each level and scalars spread over the levels, residual convolutions with
//! attention, an LSTM, and two heads: the scalars' one sees the whole column at once.
//!
//! Train it with `train-model configs/leap/benchmark/pao.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::init::Init;
use neural::layers::{
    Activation, BatchNorm1d, BiLstm, Conv1dSame, LayerNorm, Linear, MOMENTUM, Network, TransformerEncoderLayer,
};
use neural::params::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::features::Features;
use super::{at_least_one, with_confidence};
use crate::columns::{LEVELS, PROFILE_INPUTS, PROFILE_TARGETS, SCALAR_INPUTS, SCALAR_TARGETS};

/// Residual blocks.
const BLOCKS: usize = 4;
/// Levels that a convolution sees.
const KERNEL: i64 = 5;
/// LSTM layers.
const LSTM_LAYERS: i64 = 2;

/// Pao of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pao {
    /// Channels that the profiles become.
    pub hidden_profile: i64,
    /// Channels that the scalars become.
    pub hidden_scalar: i64,
    /// Attention heads; they divide the sum of both.
    pub heads: i64,
    /// A second output for every target: the error that the network expects of itself. `loss.confidence` trains it.
    pub confidence: bool,
    /// Further channels of the input.
    #[serde(skip_serializing_if = "Features::is_none")]
    pub features: Features,
}

impl Default for Pao {
    fn default() -> Self {
        Self { hidden_profile: 160, hidden_scalar: 160, heads: 8, confidence: false, features: Features::default() }
    }
}

impl Pao {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        self.features.validate(&format!("{key}.features"), problems);
        let (profile, scalar, heads) = (self.hidden_profile, self.hidden_scalar, self.heads);
        at_least_one(key, problems, &[("hidden_profile", profile), ("hidden_scalar", scalar), ("heads", heads)]);
        let width = profile + scalar;
        problems.demand(heads < 1 || width % heads == 0, &format!("{key}.heads"), || {
            format!("is {heads}, expected a divisor of {width}")
        });
    }
}

/// A factor and a shift for every level of one profile.
#[derive(Debug)]
struct FeatureScale {
    weights: Tensor,
    biases: Tensor,
}

/// `encoder(gelu(norm(conv(gelu(norm(conv(x)))))) + x)`.
#[derive(Debug)]
struct ResidualBlock {
    convs: [(Conv1dSame, BatchNorm1d); 2],
    transformer: TransformerEncoderLayer,
}

impl ResidualBlock {
    fn new(p: &Path, width: i64, heads: i64) -> Result<Self> {
        let conv = |i: usize| -> Result<_> {
            let conv = Conv1dSame::new(&p.sub("conv").sub(3 * i), width, width, KERNEL)?;
            Ok((conv, BatchNorm1d::new(&p.sub("conv").sub(3 * i + 1), width, MOMENTUM)?))
        };
        let name = p.sub("transformer.layers.0");
        let transformer = TransformerEncoderLayer::new(&name, width, heads, width, Activation::Relu)?;
        Ok(Self { convs: [conv(0)?, conv(1)?], transformer })
    }

    /// `[B, 60, D]` -> the same shape.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let levels_last = x.transpose(1, 2); // [B, D, 60]
        let h = self
            .convs
            .iter()
            .fold(levels_last.contiguous(), |h, (conv, norm)| norm.forward(&conv.forward(&h), train).gelu("none"));
        self.transformer.forward(&(h.transpose(1, 2) + x))
    }
}

/// Linear maps with GELU between them, named as in a sequence with the activations counted.
fn maps(p: &Path, widths: &[i64]) -> Result<Vec<Linear>> {
    widths.windows(2).enumerate().map(|(i, w)| Linear::new(&p.sub(2 * i), w[0], w[1])).collect()
}

fn through(maps: &[Linear], x: &Tensor) -> Tensor {
    let mut maps = maps.iter();
    let first = maps.next().map_or_else(|| x.shallow_clone(), |map| map.forward_fast(x));
    maps.fold(first, |x, map| map.forward_fast(&x.gelu("none")))
}

/// Heads of one kind of output.
#[derive(Debug)]
struct Heads {
    profiles: Vec<Linear>,
    scalars: Vec<Linear>,
}

impl Heads {
    fn new(p: &Path, names: [&str; 2], c: &Pao) -> Result<Self> {
        let width = c.hidden_profile + c.hidden_scalar;
        let profiles = [2 * width, width, width, c.hidden_profile, PROFILE_TARGETS as i64];
        let scalars = [2 * width * LEVELS as i64, c.hidden_scalar, c.hidden_scalar, SCALAR_TARGETS as i64];
        Ok(Self { profiles: maps(&p.sub(names[0]), &profiles)?, scalars: maps(&p.sub(names[1]), &scalars)? })
    }

    /// `[B, 60, 2D]` and the same normalised as one row `[B, 120 D]` -> `[B, 368]`.
    ///
    /// Differs: the published code lays the profiles out level by level, while its targets stand profile by profile, so
    /// that each of its outputs has to learn another place than its own level.
    fn forward(&self, x: &Tensor, flat: &Tensor) -> Tensor {
        let profiles = through(&self.profiles, x).transpose(1, 2).reshape([x.size()[0], -1]);
        Tensor::cat(&[through(&self.scalars, flat), profiles], 1)
    }
}

/// The network.
#[derive(Debug)]
pub struct PaoNetwork {
    feature_scales: Vec<FeatureScale>,
    /// `[60, D]`.
    positions: Tensor,
    input_linear: Linear,
    scalars: [(Linear, BatchNorm1d); 2],
    /// One map of the scalars for every level.
    spread: Vec<Linear>,
    profile_layer_norm: LayerNorm,
    blocks: Vec<ResidualBlock>,
    lstm: BiLstm,
    scalar_layer_norm: LayerNorm,
    heads: Heads,
    confidence: Option<Heads>,
}

impl PaoNetwork {
    /// Creates all parameters, with the library's default distributions.
    pub fn new(params: &Params, c: &Pao) -> Result<Self> {
        let profiles = (PROFILE_INPUTS + c.features.channels()) as i64;
        let (p, levels, width) = (params.root(), LEVELS as i64, c.hidden_profile + c.hidden_scalar);
        let scale = |i: usize| -> Result<_> {
            let p = p.sub("feature_scale_list").sub(i);
            Ok(FeatureScale {
                weights: p.parameter("weights", &[levels], Init::Ones)?,
                biases: p.parameter("biases", &[levels], Init::Zeros)?,
            })
        };
        let feature_scales = (0..profiles as usize).map(scale).collect::<Result<_>>()?;
        let positions =
            p.sub("positional_encoding").parameter("weight", &[levels, c.hidden_profile], Init::Normal(1.0))?;
        let input_linear = Linear::new(&p.sub("input_linear"), profiles, c.hidden_profile)?;
        let scalar = |at: usize, inputs: i64| -> Result<_> {
            let p = p.sub("other_feats_mlp");
            let map = Linear::new(&p.sub(at), inputs, c.hidden_scalar)?;
            Ok((map, BatchNorm1d::new(&p.sub(at + 1), c.hidden_scalar, MOMENTUM)?))
        };
        let scalars = [scalar(0, SCALAR_INPUTS as i64)?, scalar(3, c.hidden_scalar)?];
        let spread = |l: usize| Linear::new(&p.sub("other_feats_proj_list").sub(l), c.hidden_scalar, c.hidden_scalar);
        let spread = (0..LEVELS).map(spread).collect::<Result<_>>()?;
        let profile_layer_norm = LayerNorm::new(&p.sub("profile_layer_norm"), &[width])?;
        let block = |i: usize| ResidualBlock::new(&p.sub("cnn1").sub(i), width, c.heads);
        let blocks = (0..BLOCKS).map(block).collect::<Result<_>>()?;
        let lstm = BiLstm::new(&p.sub("lstm.0"), width, width, LSTM_LAYERS)?;
        let heads = Heads::new(&p, ["profile_output_mlp", "scalar_output_mlp"], c)?;
        let scalar_layer_norm = LayerNorm::new(&p.sub("scalar_layer_norm"), &[2 * width * levels])?;
        let confidence = match c.confidence {
            true => Some(Heads::new(&p, ["profile_output_mlp_conf", "scalar_output_mlp_conf"], c)?),
            false => None,
        };
        Ok(Self {
            feature_scales,
            positions,
            input_linear,
            scalars,
            spread,
            profile_layer_norm,
            blocks,
            lstm,
            scalar_layer_norm,
            heads,
            confidence,
        })
    }

    /// Every level's own map of the scalars in one product: `[B, S]` -> `[B, 60, S]`.
    fn spread(&self, scalars: &Tensor) -> Tensor {
        let maps: Vec<Tensor> = self.spread.iter().map(|map| map.forward_fast(scalars)).collect();
        Tensor::stack(&maps, 1)
    }
}

impl Network for PaoNetwork {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        // The scalars are the same on every level.
        let scalars = x.select(1, 0).narrow(1, 0, SCALAR_INPUTS as i64); // [B, 16]
        let channels = x.size()[2] - SCALAR_INPUTS as i64;
        let profiles = x.narrow(2, SCALAR_INPUTS as i64, channels); // [B, 60, 9 or more]
        let stacked = |of: fn(&FeatureScale) -> &Tensor| {
            Tensor::stack(&self.feature_scales.iter().map(of).collect::<Vec<_>>(), 1) // [60, 9]
        };
        let profiles = profiles * stacked(|scale| &scale.weights) + stacked(|scale| &scale.biases);
        let profiles = self.input_linear.forward(&profiles) + &self.positions;
        let scalars =
            self.scalars.iter().fold(scalars, |x, (map, norm)| norm.forward(&map.forward(&x), train).gelu("none"));
        let h = self.profile_layer_norm.forward(&Tensor::cat(&[profiles, self.spread(&scalars)], 2)); // [B, 60, D]
        let h = self.blocks.iter().fold(h, |h, block| block.forward(&h, train));
        let h = self.lstm.forward(&h, train); // [B, 60, 2D]
        let flat = self.scalar_layer_norm.forward(&h.reshape([h.size()[0], -1]));
        with_confidence(self.heads.forward(&h, &flat), self.confidence.as_ref().map(|heads| heads.forward(&h, &flat)))
    }
}
