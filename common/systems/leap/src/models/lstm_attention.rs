//! ZuiYe's two designs: LSTM layers followed by multi-head attention, with or without three convolutions of different
//! reach before them. Max2020's 007 (fine-tuned 010) is the coded instance of the first; of ZuiYe's own networks only
//! the description is published, so their sizes are 007's where the description gives none.
//!
//! Train one with `train-model configs/leap/max2020/007.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::layers::{BiLstm, Conv1dSame, Linear, MultiheadAttention, Network};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{HEAD, targets, targets_with_scalars_of};
use crate::columns::{CHANNELS, LEVELS};

/// All that a network of this family depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of `ZuiyeB`")]
pub struct Config {
    pub kernels: Vec<i64>,
    pub conv_channels: i64,
    pub h1: i64,
    pub h2: i64,
    pub num_lstm: i64,
    pub heads: i64,
    /// Scalars are read at the surface instead of averaged over the levels.
    pub surface_scalars: bool,
}

/// Max2020's 007 and its fine-tuned 010 (CV 0.7882, 0.7888 after fine-tuning; 15,437,710 parameters): two stacks of three
/// LSTM layers, then attention; scalars are read at the lowest level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Max007 {
    /// Hidden size per direction of the first LSTM stack.
    pub h1: i64,
    /// Hidden size per direction of the second LSTM stack; the attention is twice as wide.
    pub h2: i64,
    /// Attention heads; they divide `2 h2`.
    pub heads: i64,
}

impl Default for Max007 {
    fn default() -> Self {
        Self { h1: 400, h2: 256, heads: 4 }
    }
}

impl From<&Max007> for Config {
    fn from(c: &Max007) -> Self {
        let Max007 { h1, h2, heads } = *c;
        Self { kernels: vec![], conv_channels: 0, h1, h2, num_lstm: 3, heads, surface_scalars: true }
    }
}

/// ZuiYe's first design: two LSTM layers, then attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZuiyeA {
    /// Hidden size per direction of the first LSTM.
    pub h1: i64,
    /// Hidden size per direction of the second LSTM; the attention is twice as wide.
    pub h2: i64,
    /// Stacked layers of each of the two LSTMs.
    pub num_lstm: i64,
    /// Attention heads; they divide `2 h2`.
    pub heads: i64,
}

impl Default for ZuiyeA {
    fn default() -> Self {
        Self { h1: 400, h2: 256, num_lstm: 1, heads: 4 }
    }
}

impl From<&ZuiyeA> for Config {
    fn from(c: &ZuiyeA) -> Self {
        let ZuiyeA { h1, h2, num_lstm, heads } = *c;
        Self { kernels: vec![], conv_channels: 0, h1, h2, num_lstm, heads, surface_scalars: false }
    }
}

/// ZuiYe's second design: three parallel convolutions, two LSTM layers, attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZuiyeB {
    /// Kernel lengths of the parallel convolutions, in levels; they see the input, and the LSTM sees all of them and
    /// the input.
    pub kernels: Vec<i64>,
    /// Output channels of each convolution.
    pub conv_channels: i64,
    /// Hidden size per direction of the first LSTM.
    pub h1: i64,
    /// Hidden size per direction of the second LSTM; the attention is twice as wide.
    pub h2: i64,
    /// Stacked layers of each of the two LSTMs.
    pub num_lstm: i64,
    /// Attention heads; they divide `2 h2`.
    pub heads: i64,
}

impl Default for ZuiyeB {
    fn default() -> Self {
        Self { kernels: vec![3, 5, 7], conv_channels: 64, h1: 400, h2: 256, num_lstm: 1, heads: 4 }
    }
}

impl From<&ZuiyeB> for Config {
    fn from(c: &ZuiyeB) -> Self {
        let ZuiyeB { conv_channels, h1, h2, num_lstm, heads, .. } = *c;
        Self { kernels: c.kernels.clone(), conv_channels, h1, h2, num_lstm, heads, surface_scalars: false }
    }
}

impl Config {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let mut numbers = vec![("h1".to_string(), self.h1), ("h2".into(), self.h2), ("num_lstm".into(), self.num_lstm)];
        numbers.push(("heads".into(), self.heads));
        if !self.kernels.is_empty() {
            numbers.push(("conv_channels".into(), self.conv_channels));
        }
        numbers.extend(self.kernels.iter().enumerate().map(|(i, &kernel)| (format!("kernels.{i}"), kernel)));
        for (name, value) in numbers {
            problems.demand(value >= 1, &format!("{key}.{name}"), || format!("is {value}, expected at least 1"));
        }
        let width = 2 * self.h2;
        if self.heads >= 1 && width % self.heads != 0 {
            problems.push(format!("{key}.heads"), format!("is {}, expected a divisor of {width}", self.heads));
        }
    }
}

/// A network of this family.
#[derive(Debug)]
pub struct LstmAttention {
    surface_scalars: bool,
    convs: Vec<Conv1dSame>,
    fc: Linear,
    lstml: BiLstm,
    lstm2: BiLstm,
    attention: MultiheadAttention,
}

impl LstmAttention {
    /// Creates all parameters, with the library's default distributions; the names are 007's.
    pub fn new(params: &Params, c: &Config) -> Result<Self> {
        let (p, channels, width) = (params.root(), CHANNELS as i64, 2 * c.h2);
        let conv =
            |(i, &kernel): (usize, &i64)| Conv1dSame::new(&p.sub("convs").sub(i), channels, c.conv_channels, kernel);
        let convs: Vec<_> = c.kernels.iter().enumerate().map(conv).collect::<Result<_>>()?;
        let inputs = channels + c.conv_channels * convs.len() as i64;
        Ok(Self {
            surface_scalars: c.surface_scalars,
            convs,
            fc: Linear::new(&p.sub("fc"), width, HEAD)?,
            lstml: BiLstm::new(&p.sub("lstml"), inputs, c.h1, c.num_lstm)?,
            lstm2: BiLstm::new(&p.sub("lstm2"), 2 * c.h1, c.h2, c.num_lstm)?,
            attention: MultiheadAttention::new(&p.sub("attention"), width, c.heads)?,
        })
    }
}

impl Network for LstmAttention {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let levels_last = x.transpose(1, 2); // [B, 25, 60]
        let mut parts = vec![x.shallow_clone()];
        parts.extend(self.convs.iter().map(|conv| conv.forward(&levels_last).relu().transpose(1, 2)));
        let start = if parts.len() == 1 { x.shallow_clone() } else { Tensor::cat(&parts, 2) };
        let h = self.lstm2.forward(&self.lstml.forward(&start, train), train); // [B, 60, 2 h2]
        let channels = self.fc.forward(&self.attention.forward(&h));
        if self.surface_scalars {
            return targets_with_scalars_of(&channels, LEVELS as i64 - 1);
        }
        targets(&channels)
    }
}
