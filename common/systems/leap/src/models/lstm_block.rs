//! The LSTM block of ForcewithMe's deeper networks (`LSTM_BLOCK`): stacked bidirectional LSTM, residual, normalisation
//! over all levels and channels, and a feed-forward part with the same around it.

use common::Result;
use neural::layers::{BiLstm, LayerNorm, Linear};
use neural::params::Path;
use tch::Tensor;

use crate::columns::LEVELS;

/// Sizes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LstmBlockConfig {
    /// Channels that come in.
    pub inputs: i64,
    /// Hidden size of the LSTM per direction; twice that comes out.
    pub hidden: i64,
    /// Stacked LSTM layers.
    pub layers: i64,
    /// How much wider the feed-forward part is inside.
    pub expansion: i64,
    /// Whether the LSTM's input is added to its output, which then must be as wide.
    pub residual: bool,
}

impl LstmBlockConfig {
    /// The sizes of the published networks: two stacked layers, twice the width inside.
    pub fn new(hidden: i64, residual: bool) -> Self {
        Self { inputs: 2 * hidden, hidden, layers: 2, expansion: 2, residual }
    }
}

/// `V = LN1(U + LSTM(U))`, `out = LN2(V + W2 GELU(W1 V))`; the first block of a network can leave the first residual
/// out.
#[derive(Debug)]
pub struct LstmBlock {
    residual: bool,
    lstm: BiLstm,
    feed_forward: (Linear, Linear),
    norms: (LayerNorm, LayerNorm),
}

impl LstmBlock {
    /// Creates the parameters in the published order.
    pub fn new(p: &Path, config: LstmBlockConfig) -> Result<Self> {
        let LstmBlockConfig { inputs, hidden, layers, expansion, residual } = config;
        let width = 2 * hidden;
        let norm = |name: &str| LayerNorm::new(&p.sub(name), &[LEVELS as i64, width]);
        Ok(Self {
            residual,
            lstm: BiLstm::new(&p.sub("lstm_layer"), inputs, hidden, layers)?,
            feed_forward: (
                Linear::new(&p.sub("feed_forward.0"), width, expansion * width)?,
                Linear::new(&p.sub("feed_forward.2"), expansion * width, width)?,
            ),
            norms: (norm("norm1")?, norm("norm2")?),
        })
    }

    /// `[B, 60, inputs]` -> `[B, 60, 2H]`.
    pub fn forward(&self, u: &Tensor, train: bool) -> Tensor {
        let y = self.lstm.forward(u, train);
        let v = self.norms.0.forward(&if self.residual { u + y } else { y });
        let inside = self.feed_forward.0.forward(&v).gelu("none");
        self.norms.1.forward(&(&v + self.feed_forward.1.forward(&inside)))
    }
}
