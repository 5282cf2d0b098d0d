//! StepAheadTrackNET (`src/tracknet/models`): two GRU layers over the hits of a track; at every step four heads give a
//! sphere for the next hit and one for the hit after it, in normalised coordinates.
//!
//! `train-model configs/tracknet/published/step_ahead.yaml --from PREPARED`

use common::Result;
use common::config::Problems;
use neural::init::Init;
use neural::layers::{all_seen, seen};
use neural::params::{Params, Path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Sizes of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Values of a hit: 3, its normalised position.
    pub input_features: i64,
    /// Hidden units of each GRU layer, >= 1. Published: 32.
    pub hidden_features: i64,
    /// Coordinates of a prediction, >= 3.
    pub output_features: i64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { input_features: 3, hidden_features: 32, output_features: 3 }
    }
}

impl ModelConfig {
    /// Checks ranges.
    pub fn validate(&self, at: &str, problems: &mut Problems) {
        for (key, value, least) in [
            ("input_features", self.input_features, 1),
            ("hidden_features", self.hidden_features, 1),
            ("output_features", self.output_features, 3),
        ] {
            problems
                .demand(value >= least, &format!("{at}.{key}"), || format!("is {value}, expected at least {least}"));
        }
    }
}

/// What the network says at every step: centres `[B, L, out]`, radii `[B, L, 1]`.
#[derive(Debug)]
pub struct Outputs {
    /// Centre for the next hit.
    pub coords_1: Tensor,
    /// Radius around it, > 0.
    pub radius_1: Tensor,
    /// Centre for the hit after it.
    pub coords_2: Tensor,
    /// Radius around it, > 0.
    pub radius_2: Tensor,
}

/// The network.
#[derive(Debug)]
pub struct StepAhead {
    hidden: i64,
    /// Per layer: input weights, hidden weights, input biases, hidden biases; gates in the order reset, update, new.
    gru: Vec<Tensor>,
    coords_1: Head,
    radius_1: Head,
    coords_2: Head,
    radius_2: Head,
}

#[derive(Debug)]
struct Head {
    weight: Tensor,
    bias: Tensor,
}

impl Head {
    fn new(p: &Path, hidden: i64, outputs: i64) -> Result<Self> {
        let p = p.sub(0);
        Ok(Self {
            weight: p.parameter("weight", &[outputs, hidden], Init::FanIn)?,
            bias: p.parameter("bias", &[outputs], Init::fan_in(hidden))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// Layers of the GRU.
const LAYERS: usize = 2;

impl StepAhead {
    /// All parameters uniform in ± 1/sqrt(hidden), under the published names and in the published order.
    pub fn new(params: &Params, config: &ModelConfig) -> Result<Self> {
        let (root, hidden) = (params.root(), config.hidden_features);
        let rnn = root.sub("rnn");
        let mut gru = Vec::new();
        for layer in 0..LAYERS {
            let inputs = if layer == 0 { config.input_features } else { hidden };
            for (name, shape) in [
                ("weight_ih", vec![3 * hidden, inputs]),
                ("weight_hh", vec![3 * hidden, hidden]),
                ("bias_ih", vec![3 * hidden]),
                ("bias_hh", vec![3 * hidden]),
            ] {
                gru.push(rnn.parameter(&format!("{name}_l{layer}"), &shape, Init::fan_in(hidden))?);
            }
        }
        Ok(Self {
            hidden,
            gru,
            coords_1: Head::new(&root.sub("coords_1"), hidden, config.output_features)?,
            radius_1: Head::new(&root.sub("radius_1"), hidden, 1)?,
            coords_2: Head::new(&root.sub("coords_2"), hidden, config.output_features)?,
            radius_2: Head::new(&root.sub("radius_2"), hidden, 1)?,
        })
    }

    /// `[B, L, in]` and lengths `[B]` -> outputs. Positions from a sequence's length on see a hidden vector of zeros.
    ///
    /// The sequences need no packing: padding stands at the end, and a GRU that runs forward never looks back from it.
    pub fn forward(&self, inputs: &Tensor, lengths: &Tensor) -> Outputs {
        let (batch, length) = (inputs.size()[0], inputs.size()[1]);
        let state = Tensor::zeros([LAYERS as i64, batch, self.hidden], (Kind::Float, inputs.device()));
        let (hidden, _) =
            seen(inputs).gru(&seen(&state), &all_seen(&self.gru), true, LAYERS as i64, 0.0, true, false, true); // [B, L, H]
        let steps = Tensor::arange(length, (Kind::Int64, inputs.device()));
        let real = steps.unsqueeze(0).lt_tensor(&lengths.to_kind(Kind::Int64).unsqueeze(1)); // [B, L]
        let hidden = hidden.where_self(&real.unsqueeze(-1), &Tensor::zeros([1], (Kind::Float, inputs.device())));
        self.heads(&hidden)
    }

    /// One step for N sequences at once: hits `[N, in]`, state `[2, N, H]` -> the next state.
    pub fn step(&self, inputs: &Tensor, state: &Tensor) -> Tensor {
        let mut x = inputs.shallow_clone();
        let mut next = Vec::with_capacity(LAYERS);
        for layer in 0..LAYERS {
            let w = all_seen(&self.gru[4 * layer..4 * layer + 4]);
            x = seen(&x).gru_cell(&seen(&state.get(layer as i64)), &w[0], &w[1], Some(&w[2]), Some(&w[3]));
            next.push(x.shallow_clone());
        }
        Tensor::stack(&next, 0)
    }

    /// State of `n` sequences that have seen nothing, `[2, n, H]`.
    pub fn start(&self, n: i64) -> Tensor {
        Tensor::zeros([LAYERS as i64, n, self.hidden], (Kind::Float, self.gru[0].device()))
    }

    /// What the heads say of top hidden vectors `[..., H]`.
    pub fn heads(&self, hidden: &Tensor) -> Outputs {
        Outputs {
            coords_1: self.coords_1.forward(hidden),
            radius_1: self.radius_1.forward(hidden).softplus(),
            coords_2: self.coords_2.forward(hidden),
            radius_2: self.radius_2.forward(hidden).softplus(),
        }
    }
}
