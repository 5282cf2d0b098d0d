//! Stacked bidirectional LSTM.

use common::Result;
use tch::{Device, Tensor};

use super::{all_seen, seen};
use crate::init::Init;
use crate::params::Path;
use crate::shim;

/// Gates in the order i, f, g, o; two bias vectors; zero initial state; batch first; no dropout unless asked for.
///
/// Layer k has `weight_ih_lk [4H, in]`, `weight_hh_lk [4H, H]`, `bias_ih_lk [4H]`, `bias_hh_lk [4H]` and the same four
/// with `_reverse`; layers after the first have in = 2H.
#[derive(Debug)]
pub struct BiLstm {
    hidden: i64,
    layers: i64,
    dropout: f64,
    weights: Vec<Tensor>,
}

impl BiLstm {
    /// All weights and biases uniform in ± 1/sqrt(hidden).
    pub fn new(p: &Path, inputs: i64, hidden: i64, layers: i64) -> Result<Self> {
        Self::with_dropout(p, inputs, hidden, layers, 0.0)
    }

    /// The same with dropout between the layers while training.
    pub fn with_dropout(p: &Path, inputs: i64, hidden: i64, layers: i64, dropout: f64) -> Result<Self> {
        let mut weights = Vec::new();
        for layer in 0..layers {
            let inputs = if layer == 0 { inputs } else { 2 * hidden };
            for direction in ["", "_reverse"] {
                for (name, shape) in [
                    ("weight_ih", vec![4 * hidden, inputs]),
                    ("weight_hh", vec![4 * hidden, hidden]),
                    ("bias_ih", vec![4 * hidden]),
                    ("bias_hh", vec![4 * hidden]),
                ] {
                    weights.push(p.parameter(&format!("{name}_l{layer}{direction}"), &shape, Init::fan_in(hidden))?);
                }
            }
        }
        let lstm = Self { hidden, layers, dropout, weights };
        if matches!(p.device(), Device::Cuda(_)) {
            lstm.flatten(inputs);
        }
        Ok(lstm)
    }

    /// `[B, L, inputs]` -> `[B, L, 2H]`: forward states, then backward states. Without `train`, cuDNN does not keep
    /// what a backward pass needs.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let zeros = Tensor::zeros([2 * self.layers, x.size()[0], self.hidden], (x.kind(), x.device()));
        let zeros = seen(&zeros);
        let state = [zeros.shallow_clone(), zeros];
        let dropout = if train { self.dropout } else { 0.0 };
        // A recorded pass is also there for gradients of the inputs, which cuDNN gives in training mode alone.
        let train = train || shim::recording();
        seen(x).lstm(&state, &all_seen(&self.weights), true, self.layers, dropout, train, true, true).0
    }

    /// Moves all weights into one buffer, which cuDNN would otherwise do in every forward pass. Without cuDNN there is
    /// nothing to gain, so a refusal changes nothing.
    fn flatten(&self, inputs: i64) {
        const CUDNN_LSTM: i64 = 2;
        const TENSORS_PER_DIRECTION: i64 = 4;
        let (hidden, layers) = (self.hidden, self.layers);
        let flat = tch::no_grad(|| {
            let (no_projection, batch_first, bidirectional) = (0, true, true);
            Tensor::f_internal_cudnn_rnn_flatten_weight(
                &self.weights,
                TENSORS_PER_DIRECTION,
                inputs,
                CUDNN_LSTM,
                hidden,
                no_projection,
                layers,
                batch_first,
                bidirectional,
            )
        });
        if let Err(error) = flat {
            tracing::debug!("the weights of an LSTM stay in separate buffers: {error}");
        }
    }
}
