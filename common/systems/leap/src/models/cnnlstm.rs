//! ForcewithMe's cnnlstm (39): six convolutions of different reach and an LSTM side by side, then three LSTM blocks.
//!
//! Train it with `train-model configs/leap/forcewithme/cnnlstm.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::layers::{BiLstm, Conv1dSame, LayerNorm, Linear, Network};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::lstm_block::{LstmBlock, LstmBlockConfig};
use super::{HEAD, targets};
use crate::columns::CHANNELS;

/// Kernel lengths in levels, and their output channels in multiples of the input channels.
const KERNELS: [(i64, i64); 6] = [(1, 1), (3, 2), (5, 2), (7, 2), (11, 2), (19, 2)];

/// ForcewithMe's cnnlstm (CV 0.7881, 0.789 after fine-tuning; 13,158,876 parameters).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cnnlstm {
    /// Hidden size of the blocks' LSTMs per direction. Twice that is the width of everything in between: 12 times the
    /// 25 input channels and twice `enc`.
    pub hidden_state: i64,
    /// LSTM blocks.
    pub num_lstm: usize,
    /// Hidden size per direction of the LSTM beside the convolutions.
    pub enc: i64,
    /// Channels that come in: always those of [`crate::layout`], other numbers are for comparisons with small networks.
    #[serde(skip, default = "channels")]
    pub inputs_dim: i64,
}

fn channels() -> i64 {
    CHANNELS as i64
}

impl Default for Cnnlstm {
    fn default() -> Self {
        Self { hidden_state: 256, num_lstm: 3, enc: 106, inputs_dim: channels() }
    }
}

impl Cnnlstm {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        for (name, value) in
            [("hidden_state", self.hidden_state), ("num_lstm", self.num_lstm as i64), ("enc", self.enc)]
        {
            problems.demand(value >= 1, &format!("{key}.{name}"), || format!("is {value}, expected at least 1"));
        }
        let (found, expected) = (2 * self.hidden_state, self.width());
        problems.demand(found == expected, &format!("{key}.hidden_state"), || {
            format!("is {}, expected {} with `enc` = {}", self.hidden_state, expected / 2, self.enc)
        });
    }

    /// Channels of input, convolutions and LSTM together.
    fn width(&self) -> i64 {
        let convolved: i64 = KERNELS.iter().map(|(_, channels)| channels).sum();
        (1 + convolved) * self.inputs_dim + 2 * self.enc
    }
}

/// The network.
#[derive(Debug)]
pub struct CnnLstm {
    convs: Vec<Conv1dSame>,
    lstm_enc: BiLstm,
    enc_norm: LayerNorm,
    blocks: Vec<LstmBlock>,
    fc: Linear,
}

impl CnnLstm {
    /// Creates all parameters, with the library's default distributions.
    pub fn new(params: &Params, c: &Cnnlstm) -> Result<Self> {
        let (p, inputs, width) = (params.root(), c.inputs_dim, 2 * c.hidden_state);
        let conv = |(kernel, channels): &(i64, i64)| {
            Conv1dSame::new(&p.sub(format!("convk{kernel}")), inputs, channels * inputs, *kernel)
        };
        let convs = KERNELS.iter().map(conv).collect::<Result<_>>()?;
        let lstm_enc = BiLstm::new(&p.sub("lstm_enc"), inputs, c.enc, 1)?;
        let enc_norm = LayerNorm::new(&p.sub("enc_norm"), &[width])?;
        let block = |i: usize| {
            let name = p.sub("lstm_layers").sub(format!("lstm{}", i + 1));
            LstmBlock::new(&name, LstmBlockConfig::new(c.hidden_state, i > 0))
        };
        let blocks = (0..c.num_lstm).map(block).collect::<Result<_>>()?;
        Ok(Self { convs, lstm_enc, enc_norm, blocks, fc: Linear::new(&p.sub("fc").sub(0), width, HEAD)? })
    }
}

impl Network for CnnLstm {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let levels_last = x.transpose(1, 2); // [B, 25, 60]
        let mut parts = vec![x.shallow_clone()];
        parts.extend(self.convs.iter().map(|conv| conv.forward(&levels_last).gelu("none").transpose(1, 2)));
        parts.push(self.lstm_enc.forward(x, train));
        let start = self.enc_norm.forward(&Tensor::cat(&parts, 2)); // [B, 60, 2H]
        let h = self.blocks.iter().fold(start, |h, block| block.forward(&h, train));
        targets(&self.fc.forward(&h))
    }
}
