//! The LSTM block of ForcewithMe's deeper networks (`LSTM_BLOCK`): stacked bidirectional LSTM, residual, normalisation
//! over all levels and channels, and a feed-forward part with the same around it.

use common::Result;
use neural::layers::{BiLstm, LayerNorm, Linear};
use neural::params::Path;
use tch::Tensor;

use crate::columns::LEVELS;

/// Stacked LSTM layers of a block.
const LAYERS: i64 = 2;
/// How much wider the feed-forward part is inside.
const EXPANSION: i64 = 2;

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
    /// Two stacked layers of `hidden_state` per direction; the width in and out is twice that.
    pub fn new(p: &Path, hidden_state: i64, residual: bool) -> Result<Self> {
        let width = 2 * hidden_state;
        let norm = |name: &str| LayerNorm::new(&p.sub(name), &[LEVELS as i64, width]);
        Ok(Self {
            residual,
            lstm: BiLstm::new(&p.sub("lstm_layer"), width, hidden_state, LAYERS)?,
            feed_forward: (
                Linear::new(&p.sub("feed_forward.0"), width, EXPANSION * width)?,
                Linear::new(&p.sub("feed_forward.2"), EXPANSION * width, width)?,
            ),
            norms: (norm("norm1")?, norm("norm2")?),
        })
    }

    /// `[B, 60, 2H]` -> `[B, 60, 2H]`.
    pub fn forward(&self, u: &Tensor, train: bool) -> Tensor {
        let y = self.lstm.forward(u, train);
        let v = self.norms.0.forward(&if self.residual { u + y } else { y });
        let inside = self.feed_forward.0.forward(&v).gelu("none");
        self.norms.1.forward(&(&v + self.feed_forward.1.forward(&inside)))
    }
}
