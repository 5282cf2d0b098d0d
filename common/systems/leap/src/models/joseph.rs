//! Joseph's networks: 907, residual LSTM layers, and 912, blocks of convolution, LSTM and linear map; both with one
//! self-attention at the end. 912sep is 912 fine-tuned per group of targets.
//!
//! Train one with `train-model configs/leap/joseph/912.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::init::Init;
use neural::layers::{BiLstm, Conv1dSame, LayerNorm, Linear, MultiheadAttention, Network};
use neural::params::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{HEAD, targets};
use crate::columns::CHANNELS;

/// Levels that a convolution of 912 sees.
const KERNEL: i64 = 5;

/// Joseph's 907 (CV 0.7855; 12,677,134 parameters).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Jo907 {
    /// Hidden size of every LSTM per direction.
    pub hidden: i64,
    /// LSTM layers after the first.
    pub blocks_after_first: usize,
    /// Attention heads; they divide twice the hidden size.
    pub heads: i64,
}

impl Default for Jo907 {
    fn default() -> Self {
        Self { hidden: 256, blocks_after_first: 7, heads: 4 }
    }
}

/// Joseph's 912 (CV 0.7885, 0.78935 after fine-tuning; 12,533,774 parameters).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Jo912 {
    /// Width of every block, and hidden size of its LSTM per direction.
    pub hidden: i64,
    /// Blocks after the first.
    pub blocks_after_first: usize,
    /// Attention heads; they divide the hidden size.
    pub heads: i64,
    /// Dropout before the head, 0..1.
    pub dropout: f64,
    /// Further dropouts, 0..1; the head's results under each of them are averaged.
    pub sample_dropouts: Vec<f64>,
}

impl Default for Jo912 {
    fn default() -> Self {
        let sample_dropouts = vec![0.1, 0.2, 0.3, 0.4];
        Self { hidden: 256, blocks_after_first: 7, heads: 4, dropout: 0.1, sample_dropouts }
    }
}

fn validate(key: &str, problems: &mut Problems, hidden: i64, heads: i64, width: i64) {
    for (name, value) in [("hidden", hidden), ("heads", heads)] {
        problems.demand(value >= 1, &format!("{key}.{name}"), || format!("is {value}, expected at least 1"));
    }
    if heads >= 1 && width % heads != 0 {
        problems.push(format!("{key}.heads"), format!("is {heads}, expected a divisor of {width}"));
    }
}

impl Jo907 {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        validate(key, problems, self.hidden, self.heads, 2 * self.hidden);
    }
}

impl Jo912 {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        validate(key, problems, self.hidden, self.heads, self.hidden);
        let samples = self.sample_dropouts.iter().enumerate().map(|(i, &p)| (format!("sample_dropouts.{i}"), p));
        for (name, p) in std::iter::once(("dropout".to_string(), self.dropout)).chain(samples) {
            problems.demand((0.0..1.0).contains(&p), &format!("{key}.{name}"), || {
                format!("is {p}, expected 0 or more and less than 1")
            });
        }
        problems.demand(!self.sample_dropouts.is_empty(), &format!("{key}.sample_dropouts"), || {
            "is empty, expected at least one rate".into()
        });
    }
}

/// 907: `x = lstm_0(X)`, then `x = lstm(x) + r` with r the LSTM output before, which for the first is x itself. The last
/// sum is not used.
#[derive(Debug)]
pub struct Network907 {
    // In every checkpoint, and in no forward pass.
    _layer_norm: LayerNorm,
    lstm_0: BiLstm,
    lstm_layers: Vec<BiLstm>,
    attention: MultiheadAttention,
    final_fc: Linear,
}

impl Network907 {
    /// Creates all parameters: library defaults, but for the head's weight.
    pub fn new(params: &Params, c: &Jo907) -> Result<Self> {
        let (p, width) = (params.root(), 2 * c.hidden);
        let layer_norm = LayerNorm::new(&p.sub("layer_norm"), &[width])?;
        let lstm_0 = BiLstm::new(&p.sub("lstm_0"), CHANNELS as i64, c.hidden, 1)?;
        let layer = |i: usize| BiLstm::new(&p.sub("lstm_layers").sub(i), width, c.hidden, 1);
        let lstm_layers = (0..c.blocks_after_first).map(layer).collect::<Result<_>>()?;
        let attention = MultiheadAttention::new(&p.sub("attention"), width, c.heads)?;
        let final_fc = Linear::new(&p.sub("final_fc"), width, HEAD)?;
        params.reinitialise(|name, _| (name == "final_fc.weight").then_some(Init::KaimingNormal))?;
        Ok(Self { _layer_norm: layer_norm, lstm_0, lstm_layers, attention, final_fc })
    }
}

impl Network for Network907 {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let mut out = self.lstm_0.forward(x, train); // [B, 60, 2H]
        let mut x = out.shallow_clone();
        for lstm in &self.lstm_layers {
            let next = lstm.forward(&x, train);
            x = &next + &out;
            out = next;
        }
        targets(&self.final_fc.forward(&self.attention.forward(&out)))
    }
}

/// One block of 912: `ReLU(W lstm(conv(x)) + r)`, r being x, or a linear map of it where the width changes.
#[derive(Debug)]
struct Block {
    conv: Conv1dSame,
    lstm: BiLstm,
    timefc: Linear,
    // Every block has one; only the first uses it.
    resfc: Linear,
    same_width: bool,
}

impl Block {
    fn new(p: &Path, inputs: i64, hidden: i64) -> Result<Self> {
        Ok(Self {
            conv: Conv1dSame::new(&p.sub("conv"), inputs, hidden, KERNEL)?,
            lstm: BiLstm::new(&p.sub("lstm"), hidden, hidden, 1)?,
            timefc: Linear::new(&p.sub("timefc.module"), 2 * hidden, hidden)?,
            resfc: Linear::new(&p.sub("resfc.module"), inputs, hidden)?,
            same_width: inputs == hidden,
        })
    }

    /// `[B, 60, inputs]` -> `[B, 60, H]`.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let c = self.conv.forward(&x.transpose(1, 2)).transpose(1, 2);
        let z = self.timefc.forward(&self.lstm.forward(&c, train));
        let r = if self.same_width { x.shallow_clone() } else { self.resfc.forward(x) };
        (z + r).relu()
    }
}

/// 912: blocks, attention, and in training the head under several dropouts at once.
#[derive(Debug)]
pub struct Network912 {
    lstm_layers: Vec<Block>,
    attention: MultiheadAttention,
    final_fc: Linear,
    dropout: f64,
    sample_dropouts: Vec<f64>,
}

impl Network912 {
    /// Creates all parameters: Xavier uniform weights and zero biases, but for the attention.
    pub fn new(params: &Params, c: &Jo912) -> Result<Self> {
        let p = params.root();
        let block = |i: usize| {
            let inputs = if i == 0 { CHANNELS as i64 } else { c.hidden };
            Block::new(&p.sub("lstm_layers").sub(i), inputs, c.hidden)
        };
        let lstm_layers = (0..=c.blocks_after_first).map(block).collect::<Result<_>>()?;
        let attention = MultiheadAttention::new(&p.sub("attention"), c.hidden, c.heads)?;
        let final_fc = Linear::new(&p.sub("final_fc.module"), c.hidden, HEAD)?;
        params.reinitialise(|name, shape| {
            let own = name.starts_with("lstm_layers.") || name.starts_with("final_fc.");
            own.then_some(if shape.len() > 1 { Init::XavierUniform } else { Init::Zeros })
        })?;
        Ok(Self { lstm_layers, attention, final_fc, dropout: c.dropout, sample_dropouts: c.sample_dropouts.clone() })
    }

    fn head(&self, x: &Tensor, train: bool) -> Tensor {
        if !train {
            return self.final_fc.forward(x);
        }
        let y = x.dropout(self.dropout, true);
        let samples: Vec<Tensor> =
            self.sample_dropouts.iter().map(|&p| self.final_fc.forward(&y.dropout(p, true))).collect();
        Tensor::stack(&samples, 0).mean_dim([0_i64].as_slice(), false, None)
    }
}

impl Network for Network912 {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let h = self.lstm_layers.iter().fold(x.shallow_clone(), |h, block| block.forward(&h, train));
        targets(&self.head(&self.attention.forward(&h), train))
    }
}
