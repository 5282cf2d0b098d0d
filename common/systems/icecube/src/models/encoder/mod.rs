//! One encoder with many choices: the networks of the experiment log, which led to the published ones.
//!
//! ```text
//! features | sensor embedding | sinusoids | graph -> linear [-> norm]
//!   -> equivariant layers -> local attention -> blocks of attention -> norm -> pooling -> vector or angles
//! ```
//!
//! Every part may be left out, so a graph network alone (`depth: 0`) and a plain transformer are two configs of it.
//! The experiments stand in `configs/icecube/log`, what we read into them in `docs/icecube-log.md`.

pub mod block;
pub mod equivariant;
pub mod features;
pub mod local;
pub mod matrices;
pub mod network;
pub mod pooling;
pub mod rotary;

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dynedge::DynEdgeConfig;
pub use equivariant::EquivariantConfig;
pub use features::{Feature, Scaling};
pub use local::{LocalConfig, MOST_NEIGHBOURS, Space};
pub use matrices::MatricesConfig;
pub use network::Encoder;
pub use pooling::{Pool, PoolingConfig};

/// All choices of the encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderConfig {
    /// Numbers of a pulse that the encoder sees as they are.
    pub features: Vec<Feature>,
    /// Range of positions and times among them.
    pub scaling: Scaling,
    /// Channels of a learned vector for each sensor; 0: none. Log: 128.
    pub sensor_embedding: i64,
    /// Normalises that vector.
    pub sensor_norm: bool,
    /// Values of each sinusoidal embedding of position, charge, time and number of pulses, a multiple of 4; 0: none.
    pub sinusoids: i64,
    /// A graph encoder whose output joins the features.
    pub graph: Option<GraphConfig>,
    /// Normalises what the features are mapped to.
    pub embed_norm: bool,
    /// Layers of an equivariant graph network behind the features.
    pub equivariant: Option<EquivariantConfig>,
    /// Blocks whose attention sees the nearest pulses only, before the others.
    pub local: Option<LocalConfig>,
    /// Channels of a token.
    pub dim: i64,
    /// Blocks of attention over all pulses; 0: none.
    pub depth: i64,
    /// Heads of attention.
    pub heads: i64,
    /// Channels of a head; even. They need not fill `dim`.
    pub head_size: i64,
    /// How a token knows its place in the event.
    pub positions: Positions,
    /// Pulses of an event at most, where learned positions or pooling over padding need to know it.
    pub max_length: i64,
    /// Adjacency and distance of sensors beside the attention.
    pub matrices: Option<MatricesConfig>,
    /// A gate on the hidden channels of the perceptrons: `W2 (a * gelu(b))` with `a, b = W1 x`.
    pub gated: bool,
    /// Normalisation inside of the blocks.
    pub norm: Norm,
    /// Shares that are left out in training.
    pub dropout: DropoutConfig,
    /// How tokens become one vector.
    pub pooling: PoolingConfig,
    /// What the network says about an event.
    pub head: Head,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        use Feature::{Auxiliary, Charge, Position, Qe, Scattering, Time};
        Self {
            features: vec![Position, Time, Charge, Auxiliary, Qe, Scattering],
            scaling: Scaling::Detector,
            sensor_embedding: 0,
            sensor_norm: false,
            sinusoids: 0,
            graph: None,
            embed_norm: false,
            equivariant: None,
            local: None,
            dim: 128,
            depth: 6,
            heads: 8,
            head_size: 64,
            positions: Positions::Absolute,
            max_length: 150,
            matrices: None,
            gated: false,
            norm: Norm::Layer,
            dropout: DropoutConfig::default(),
            pooling: PoolingConfig::default(),
            head: Head::Vector,
        }
    }
}

/// A graph encoder of dynamic edge convolutions in front of the tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GraphConfig {
    /// What spans the space of its first graph; the later ones lie in the first three latent channels.
    pub space: Space,
    /// Channels that it gives to each pulse.
    pub outputs: i64,
    /// Sizes of its layers.
    pub dynedge: DynEdgeConfig,
}

impl Default for GraphConfig {
    fn default() -> Self {
        Self { space: Space::Xyz, outputs: 256, dynedge: DynEdgeConfig::default() }
    }
}

/// How a token knows its place in the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Not at all: its time says it.
    None,
    /// A learned vector for each place, added to the token.
    Absolute,
    /// Queries and keys are turned by angles that grow with the place.
    Rotary,
}

/// Normalisation inside of the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Mean and deviation.
    Layer,
    /// Root of the mean square alone, with a weight for each channel.
    Rms,
}

/// Shares that are left out in training, each in [0, 1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DropoutConfig {
    /// Whole halves of blocks.
    pub layer: f64,
    /// Attention weights.
    pub attention: f64,
    /// Hidden channels of the perceptrons.
    pub feed_forward: f64,
}

/// What the network says about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// A vector, whose length is the concentration kappa: one linear map.
    Vector,
    /// Azimuth and zenith as plain numbers: a perceptron.
    Angles,
    /// Azimuth and zenith, each behind a sigmoid that spans its range.
    BoundedAngles,
}

impl EncoderConfig {
    /// Pulses of an event at most, where there is a limit.
    pub fn limit(&self) -> Option<i64> {
        (self.positions == Positions::Absolute && self.depth > 0 || !self.pooling.masked).then_some(self.max_length)
    }

    /// Reports choices that cannot work; `key` is the dotted path of this section.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let mut demand = |holds: bool, name: &str, problem: &str| {
            problems.demand(holds, &format!("{key}.{name}"), || problem.to_string());
        };
        let blocks = self.depth > 0 || self.local.is_some();
        let sources = !self.features.is_empty() || self.sensor_embedding > 0 || self.sinusoids > 0;
        demand(
            sources || self.graph.is_some(),
            "features",
            "is empty, and neither `sensor_embedding`, `sinusoids` nor `graph` is there: the encoder would see nothing",
        );
        let twice = self.features.iter().enumerate().any(|(i, f)| self.features[..i].contains(f));
        demand(!twice, "features", "names a feature twice");
        demand(self.sensor_embedding >= 0, "sensor_embedding", "is below 0");
        demand(self.sinusoids >= 0 && self.sinusoids % 4 == 0, "sinusoids", "is no multiple of 4");
        demand(self.dim >= 1, "dim", "is below 1");
        demand(self.depth >= 0, "depth", "is below 0");
        demand(self.heads >= 1, "heads", "is below 1");
        demand(self.head_size >= 2 && self.head_size % 2 == 0, "head_size", "is not an even number above 0");
        demand(self.max_length >= 1, "max_length", "is below 1");
        demand(
            self.positions != Positions::Rotary || blocks,
            "positions",
            "is `rotary`, but there is no attention: `depth` is 0 and `local` not there",
        );
        demand(
            self.matrices.is_none() || self.depth > 0,
            "matrices",
            "is there, but no attention over all pulses: `depth` is 0",
        );
        if let Some(graph) = &self.graph {
            demand(graph.outputs >= 1, "graph.outputs", "is below 1");
            demand(graph.space != Space::Xyztc, "graph.space", "is `xyztc`, expected `xyz` or `xyzt`");
            demand(
                !graph.dynedge.layers.is_empty(),
                "graph.dynedge.layers",
                "is empty, expected a convolution or more",
            );
            let wide = graph.dynedge.layers.iter().all(|[hidden, out]| *hidden >= 1 && *out >= 3);
            demand(wide, "graph.dynedge.layers", "has hidden widths below 1 or outputs below 3");
        }
        for (name, share) in [
            ("dropout.layer", self.dropout.layer),
            ("dropout.attention", self.dropout.attention),
            ("dropout.feed_forward", self.dropout.feed_forward),
        ] {
            demand((0.0..1.0).contains(&share), name, "is not in [0, 1)");
        }
        let pools = &self.pooling;
        demand(!pools.kinds.is_empty(), "pooling.kinds", "is empty, expected `mean`, `max`, `min`, `sum` or `class`");
        demand(
            !pools.kinds.contains(&Pool::Class) || self.depth > 0,
            "pooling.kinds",
            "has `class`, but no attention fills that token: `depth` is 0",
        );
        demand(pools.bottleneck >= 0, "pooling.bottleneck", "is below 0");
        if let Some(layers) = &self.equivariant {
            layers.validate(&format!("{key}.equivariant"), problems);
        }
        if let Some(local) = &self.local {
            local.validate(&format!("{key}.local"), problems);
        }
        if let Some(matrices) = &self.matrices {
            matrices.validate(&format!("{key}.matrices"), problems);
        }
    }
}

#[cfg(test)]
mod testing {
    //! A batch for the tests of the parts.

    use tch::{Device, Kind, Tensor};

    use crate::batch::Batch;

    /// Events of these lengths: pulses of random sensors, ascending in time, zero in padded places.
    pub fn batch(lengths: &[i64], seed: i64) -> Batch {
        tch::manual_seed(seed);
        let (b, l) = (lengths.len() as i64, lengths.iter().copied().max().unwrap_or(1).max(1));
        let places = Tensor::arange(l, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let mask = places.lt_tensor(&Tensor::from_slice(lengths).unsqueeze(1));
        let uniform = |shape: &[i64]| Tensor::rand(shape, (Kind::Float, Device::Cpu));
        let whole = |most: i64| Tensor::randint(most, [b, l], (Kind::Int64, Device::Cpu)) * &mask;
        let absent = mask.logical_not();
        let wide = |n: i64| (uniform(&[b, l, n]) * 2.0 - 1.0) * mask.unsqueeze(-1);
        Batch {
            pos: wide(3),
            time: (uniform(&[b, l]) * 0.1).cumsum(1, Kind::Float).masked_fill(&absent, 0.0),
            charge: uniform(&[b, l]).masked_fill(&absent, 0.0) * 0.5,
            auxiliary: whole(2),
            qe: whole(2),
            ice_properties: wide(2),
            sensor_id: whole(5160),
            pulses: Tensor::from_slice(lengths).clamp_min(1),
            event_id: Tensor::arange(b, (Kind::Int64, Device::Cpu)),
            target: Some(uniform(&[b, 2]) * 3.0),
            extra: None,
            mask,
        }
    }
}

#[cfg(test)]
mod tests;
