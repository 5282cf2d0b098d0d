//! The encoder-decoder LSTM of the benchmark of LEAP's networks (arXiv 2511.20963), after a team's of the competition:
//! the whole column is squeezed through a narrow code and unfolded again beside itself, then recurrences run over it.
//!
//! Train it with `train-model configs/leap/benchmark/encdec_lstm.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::export::recording;
use neural::init::Init;
use neural::layers::{BiLstm, Linear, Network, all_seen, seen};
use neural::params::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::features::Features;
use super::{at_least_one, with_confidence};
use crate::columns::{CHANNELS, LEVELS, TARGETS};

/// Dropout between the LSTM layers.
const DROPOUT: f64 = 0.09;

/// The encoder-decoder LSTM of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EncdecLstm {
    /// Widths on the way to the code, in multiples of the 25 channels; the way back is the same.
    pub code: Vec<i64>,
    /// Hidden size of the LSTM per direction.
    pub hidden: i64,
    /// LSTM layers.
    pub layers: i64,
    /// Hidden size of the GRU behind it per direction.
    pub gru: i64,
    /// A second output for every target: the error that the network expects of itself. `loss.confidence` trains it.
    pub confidence: bool,
    /// Further channels of the input.
    #[serde(skip_serializing_if = "Features::is_none")]
    pub features: Features,
}

impl Default for EncdecLstm {
    fn default() -> Self {
        Self { code: vec![15, 8, 4], hidden: 512, layers: 3, gru: 16, confidence: false, features: Features::default() }
    }
}

impl EncdecLstm {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        self.features.validate(format!("{key}.features").as_str(), problems);
        at_least_one(key, problems, &[("hidden", self.hidden), ("layers", self.layers), ("gru", self.gru)]);
        problems.demand(!self.code.is_empty(), &format!("{key}.code"), || "is empty, expected a width".into());
        for (i, &width) in self.code.iter().enumerate() {
            at_least_one(key, problems, &[(format!("code.{i}").as_str(), width)]);
        }
    }
}

/// Linear maps with ReLU between them; weights Xavier uniform, biases 0.
#[derive(Debug)]
struct Maps(Vec<Linear>);

impl Maps {
    fn new(p: &Path, widths: &[i64]) -> Result<Self> {
        let p = p.sub("network");
        Ok(Self(
            widths
                .windows(2)
                .enumerate()
                .map(|(i, w)| Linear::new(&p.sub(2 * i), w[0], w[1]))
                .collect::<Result<_>>()?,
        ))
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut maps = self.0.iter();
        let first = maps.next().map_or_else(|| x.shallow_clone(), |map| map.forward_fast(x));
        maps.fold(first, |x, map| map.forward_fast(&x.relu()))
    }
}

/// A bidirectional GRU of one layer.
#[derive(Debug)]
struct BiGru {
    hidden: i64,
    weights: Vec<Tensor>,
}

impl BiGru {
    fn new(p: &Path, inputs: i64, hidden: i64) -> Result<Self> {
        let mut weights = Vec::new();
        for direction in ["", "_reverse"] {
            let three = 3 * hidden;
            let shapes = [
                ("weight_ih", vec![three, inputs]),
                ("weight_hh", vec![three, hidden]),
                ("bias_ih", vec![three]),
                ("bias_hh", vec![three]),
            ];
            for (name, shape) in shapes {
                weights.push(p.parameter(format!("{name}_l0{direction}").as_str(), &shape, Init::fan_in(hidden))?);
            }
        }
        Ok(Self { hidden, weights })
    }

    /// `[B, L, inputs]` -> `[B, L, 2H]`.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let state = Tensor::zeros([2, x.size()[0], self.hidden], (x.kind(), x.device()));
        // Recorded for gradients of the inputs, which cuDNN gives in training mode alone.
        let train = train || recording();
        seen(x).gru(&seen(&state), &all_seen(&self.weights), true, 1, 0.0, train, true, true).0
    }
}

/// The network.
#[derive(Debug)]
pub struct EncdecLstmNetwork {
    encoder: Maps,
    decoder: Maps,
    lstm: BiLstm,
    lstm2: BiGru,
    fc_lstm: Maps,
    confidence: Option<Maps>,
}

impl EncdecLstmNetwork {
    /// Creates all parameters: library defaults, but for the linear maps.
    pub fn new(params: &Params, c: &EncdecLstm) -> Result<Self> {
        let inputs = (CHANNELS + c.features.channels()) as i64;
        let (p, channels, levels) = (params.root(), inputs, LEVELS as i64);
        let down: Vec<i64> = std::iter::once(levels).chain(c.code.iter().copied()).map(|w| w * channels).collect();
        let up: Vec<i64> = down.iter().rev().copied().collect();
        let (encoder, decoder) = (Maps::new(&p.sub("encoder"), &down)?, Maps::new(&p.sub("decoder"), &up)?);
        let lstm = BiLstm::with_dropout(&p.sub("lstm"), 2 * channels, c.hidden, c.layers, DROPOUT)?;
        let lstm2 = BiGru::new(&p.sub("lstm2"), 2 * c.hidden, c.gru)?;
        let last = |name: &str| {
            let row = 2 * c.gru * levels;
            Maps::new(&p.sub(name), &[row, row / 2, TARGETS as i64])
        };
        let fc_lstm = last("fc_lstm")?;
        let confidence = if c.confidence { Some(last("fc_lstm_conf")?) } else { None };
        params.reinitialise(|name, shape| {
            let map = name.contains(".network.");
            map.then_some(if shape.len() > 1 { Init::XavierUniform } else { Init::Zeros })
        })?;
        Ok(Self { encoder, decoder, lstm, lstm2, fc_lstm, confidence })
    }
}

impl Network for EncdecLstmNetwork {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let batch = x.size()[0];
        let unfolded = self.decoder.forward(&self.encoder.forward(&x.reshape([batch, -1]))).reshape_as(x);
        let h = self.lstm.forward(&Tensor::cat(&[x, &unfolded], 2), train); // [B, 60, 2H]
        let h = self.lstm2.forward(&h, train).reshape([batch, -1]); // [B, 60 * 2G]
        with_confidence(self.fc_lstm.forward(&h), self.confidence.as_ref().map(|maps| maps.forward(&h)))
    }
}
