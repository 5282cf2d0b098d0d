//! ADAM's networks 195, 197 and 200 (2nd place of LEAP, `adam_part`): convolutions over the levels, a stacked
//! bidirectional LSTM, one encoder layer, and a small head on every level.
//!
//! ```text
//! X [B,60,25] + positions -> U = norm1([X | conv 2 | conv 4 | conv 6]) -> L = lstm1(U) -> T = trans1(L) -> head
//! ```
//!
//! | | 195 | 197 | 200 |
//! |---|---|---|---|
//! | encoder input | L | L | swish(L) |
//! | head input | L, T, U | L, T | swish(T) |
//! | head activation | ReLU | ReLU | swish |
//! | parameters | 9,683,881 | 45,414,855 | 9,532,713 |
//!
//! Train one with `train-model configs/leap/adam/exp195.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::layers::{Activation, BiLstm, Conv1dSame, LayerNorm, Linear, Network, TransformerEncoderLayer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{HEAD, head_init, lstm_init, targets};
use crate::columns::{CHANNELS, LEVELS};

/// Which of the three arrangements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Experiment {
    /// The head sees LSTM, encoder and convolutions.
    Exp195,
    /// The head sees LSTM and encoder.
    Exp197,
    /// Swish around the encoder and in the head.
    Exp200,
}

/// All that a network of this family depends on.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of `Adam195`")]
pub struct Config {
    pub experiment: Experiment,
    pub lstm_hidden: i64,
    pub lstm_layers: i64,
    pub heads: i64,
    pub feed_forward: i64,
    pub head_hidden: Vec<i64>,
    pub conv_multipliers: Vec<i64>,
    pub conv_kernels: Vec<i64>,
    pub activation: Activation,
    pub dropout: f64,
}

/// The three networks differ in their defaults only, which serde ties to a type.
macro_rules! experiment {
    ($(#[$doc:meta])* $name:ident, $experiment:ident: $hidden:literal, $layers:literal, $heads:literal, $feed_forward:literal,
     $head:expr, $multipliers:expr, $activation:ident, $dropout:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// Hidden size of the LSTM per direction. The encoder is twice as wide.
            pub lstm_hidden: i64,
            /// Stacked LSTM layers.
            pub lstm_layers: i64,
            /// Attention heads; they divide twice the hidden size.
            pub heads: i64,
            /// Hidden width of the encoder's two linear maps.
            pub feed_forward: i64,
            /// Widths of the head's layers before the last one.
            pub head_hidden: Vec<i64>,
            /// Output channels of each convolution, in multiples of the 25 input channels.
            pub conv_multipliers: Vec<i64>,
            /// Kernel lengths of the convolutions, in levels.
            pub conv_kernels: Vec<i64>,
            /// Activation inside the encoder.
            pub activation: Activation,
            /// Dropout before the head, 0..1.
            pub dropout: f64,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    lstm_hidden: $hidden,
                    lstm_layers: $layers,
                    heads: $heads,
                    feed_forward: $feed_forward,
                    head_hidden: $head.to_vec(),
                    conv_multipliers: $multipliers.to_vec(),
                    conv_kernels: vec![2, 4, 6],
                    activation: Activation::$activation,
                    dropout: $dropout,
                }
            }
        }

        impl From<&$name> for Config {
            fn from(c: &$name) -> Self {
                Self {
                    experiment: Experiment::$experiment,
                    lstm_hidden: c.lstm_hidden,
                    lstm_layers: c.lstm_layers,
                    heads: c.heads,
                    feed_forward: c.feed_forward,
                    head_hidden: c.head_hidden.clone(),
                    conv_multipliers: c.conv_multipliers.clone(),
                    conv_kernels: c.conv_kernels.clone(),
                    activation: c.activation,
                    dropout: c.dropout,
                }
            }
        }
    };
}

experiment!(
    /// Experiment 195 (CV 0.78569).
    Adam195, Exp195: 256, 5, 8, 1024, [256], [2, 3, 2], Relu, 0.1
);
experiment!(
    /// Experiment 197 (CV 0.78551).
    Adam197, Exp197: 512, 6, 16, 2048, [1024, 256], [3, 3, 3], Gelu, 0.0
);
experiment!(
    /// Experiment 200 (CV 0.78362).
    Adam200, Exp200: 256, 5, 8, 1024, [256, 128], [2, 3, 2], Relu, 0.0
);

impl Config {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let mut at_least_one = |name: &str, value: i64| {
            problems.demand(value >= 1, &format!("{key}.{name}"), || format!("is {value}, expected at least 1"));
        };
        at_least_one("lstm_hidden", self.lstm_hidden);
        at_least_one("lstm_layers", self.lstm_layers);
        at_least_one("heads", self.heads);
        at_least_one("feed_forward", self.feed_forward);
        let lists = [
            ("head_hidden", &self.head_hidden),
            ("conv_multipliers", &self.conv_multipliers),
            ("conv_kernels", &self.conv_kernels),
        ];
        for (name, list) in lists {
            for (i, &value) in list.iter().enumerate() {
                at_least_one(&format!("{name}.{i}"), value);
            }
        }
        let width = 2 * self.lstm_hidden;
        if self.heads >= 1 && width % self.heads != 0 {
            problems.push(format!("{key}.heads"), format!("is {}, expected a divisor of {width}", self.heads));
        }
        let (multipliers, kernels) = (self.conv_multipliers.len(), self.conv_kernels.len());
        if multipliers != kernels {
            problems.push(format!("{key}.conv_kernels"), format!("has {kernels} entries, expected {multipliers}"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            problems.push(format!("{key}.dropout"), format!("is {}, expected 0 or more and less than 1", self.dropout));
        }
    }
}

/// What the network computes on the way.
#[derive(Debug)]
pub struct Activations {
    /// U: input and convolutions, normalised, `[B, 60, 25 + channels]`.
    pub norm1: Tensor,
    /// L: output of the LSTM, `[B, 60, 2H]`.
    pub lstm1: Tensor,
    /// T: output of the encoder, `[B, 60, 2H]`.
    pub trans1: Tensor,
    /// The targets, `[B, 368]`.
    pub output: Tensor,
}

/// A network of this family.
#[derive(Debug)]
pub struct Adam {
    experiment: Experiment,
    dropout: f64,
    positions: Tensor,
    convs: Vec<Conv1dSame>,
    norm1: LayerNorm,
    lstm1: BiLstm,
    trans1: TransformerEncoderLayer,
    head: Vec<Linear>,
}

impl Adam {
    /// Creates all parameters. LSTM and head follow the published rules, everything else the library defaults.
    pub fn new(params: &Params, c: &Config) -> Result<Self> {
        let (p, channels) = (params.root(), CHANNELS as i64);
        let convs = c.conv_multipliers.iter().zip(&c.conv_kernels).enumerate();
        let convs = convs
            // As published: the names count up from 2, whatever the kernel.
            .map(|(i, (m, kernel))| Conv1dSame::new(&p.sub(format!("con1d{}", i + 2)), channels, m * channels, *kernel))
            .collect::<Result<_>>()?;
        let width = channels * (1 + c.conv_multipliers.iter().sum::<i64>());
        let encoder = 2 * c.lstm_hidden;
        let norm1 = LayerNorm::new(&p.sub("norm1"), &[width])?;
        let lstm1 = BiLstm::new(&p.sub("lstm1"), width, c.lstm_hidden, c.lstm_layers)?;
        let positions = p.sub("pos_encdoer").buffer("pe", positions(channels + channels % 2))?;
        let trans1 = TransformerEncoderLayer::new(&p.sub("trans1"), encoder, c.heads, c.feed_forward, c.activation)?;
        let inputs = match c.experiment {
            Experiment::Exp195 => 2 * encoder + width,
            Experiment::Exp197 => 2 * encoder,
            Experiment::Exp200 => encoder,
        };
        let widths: Vec<i64> = [inputs].into_iter().chain(c.head_hidden.iter().copied()).chain([HEAD]).collect();
        let head = widths.windows(2).enumerate();
        let head = head.map(|(i, w)| Linear::new(&p.sub(format!("fc{}", i + 1)), w[0], w[1])).collect::<Result<_>>()?;
        params.reinitialise(|name, _| match name {
            _ if name.starts_with("lstm1.") => lstm_init(name),
            _ if name.contains("fc") => Some(head_init(name)),
            _ => None,
        })?;
        Ok(Self { experiment: c.experiment, dropout: c.dropout, positions, convs, norm1, lstm1, trans1, head })
    }

    /// The forward pass with everything on its way.
    pub fn activations(&self, x: &Tensor, train: bool) -> Activations {
        // The term has one channel more than the input, because it is made for even widths.
        let x = x + self.positions.narrow(2, 0, x.size()[2]);
        let levels_last = x.transpose(1, 2); // [B, 25, 60]
        let convs = self.convs.iter().map(|conv| conv.forward(&levels_last).relu().transpose(1, 2));
        let parts: Vec<Tensor> = [x.shallow_clone()].into_iter().chain(convs).collect();
        let norm1 = self.norm1.forward(&Tensor::cat(&parts, 2));
        let lstm1 = self.lstm1.forward(&norm1, train);
        let (trans1, features, activation) = match self.experiment {
            Experiment::Exp195 => {
                let trans1 = self.trans1.forward(&lstm1);
                let features = Tensor::cat(&[&lstm1, &trans1, &norm1], 2);
                (trans1, features, Activation::Relu)
            }
            Experiment::Exp197 => {
                let trans1 = self.trans1.forward(&lstm1);
                let features = Tensor::cat(&[&lstm1, &trans1], 2);
                (trans1, features, Activation::Relu)
            }
            Experiment::Exp200 => {
                let trans1 = self.trans1.forward(&lstm1.silu());
                let features = trans1.silu();
                (trans1, features, Activation::Swish)
            }
        };
        let features = if train && self.dropout > 0.0 { features.dropout(self.dropout, true) } else { features };
        let output = targets(&self.head(features, activation));
        Activations { norm1, lstm1, trans1, output }
    }

    fn head(&self, mut features: Tensor, activation: Activation) -> Tensor {
        for (i, layer) in self.head.iter().enumerate() {
            features = layer.forward(&features);
            if i + 1 < self.head.len() {
                features = activation.forward(&features);
            }
        }
        features
    }
}

impl Network for Adam {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.activations(x, train).output
    }
}

/// `[1, 60, width]`: sines in even channels, cosines in odd ones, in f32 as published.
fn positions(width: i64) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    let levels = Tensor::arange(LEVELS as i64, options).unsqueeze(1);
    let even = Tensor::arange_start_step(0, width, 2, options);
    let angles = levels * (even * (-(10000.0_f64.ln()) / width as f64)).exp(); // [60, width / 2]
    Tensor::stack(&[angles.sin(), angles.cos()], 2).view([1, LEVELS as i64, width])
}
