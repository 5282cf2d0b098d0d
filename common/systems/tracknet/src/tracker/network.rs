//! The network of the tracker: one GRU layer over the hits so far, one linear head.

use common::Result;
use neural::init::Init;
use neural::layers::{all_seen, seen};
use neural::params::Params;
use tch::{Kind, Tensor};

use super::state::FEATURES;

/// Numbers that the head gives: means of u and v, logarithms of their widths.
pub const OUTPUTS: i64 = 4;

/// The network.
#[derive(Debug)]
pub struct TrackerNet {
    hidden: i64,
    gru: Vec<Tensor>,
    weight: Tensor,
    bias: Tensor,
}

impl TrackerNet {
    /// Uniform initial weights.
    pub fn new(params: &Params, hidden: i64) -> Result<Self> {
        let rnn = params.root().sub("rnn");
        let shapes = [
            ("weight_ih_l0", vec![3 * hidden, FEATURES as i64]),
            ("weight_hh_l0", vec![3 * hidden, hidden]),
            ("bias_ih_l0", vec![3 * hidden]),
            ("bias_hh_l0", vec![3 * hidden]),
        ];
        let gru = shapes
            .into_iter()
            .map(|(name, shape)| rnn.parameter(name, &shape, Init::fan_in(hidden)))
            .collect::<Result<Vec<_>>>()?;
        let head = params.root().sub("head");
        let weight = head.parameter("weight", &[OUTPUTS, hidden], Init::Zeros)?;
        let bias = head.parameter("bias", &[OUTPUTS], Init::Zeros)?;
        Ok(Self { hidden, gru, weight, bias })
    }

    /// Features `[B, L, F]` -> `[B, L, 4]`: means and log widths of the next residual.
    pub fn forward(&self, features: &Tensor) -> Tensor {
        let state = Tensor::zeros([1, features.size()[0], self.hidden], (Kind::Float, features.device()));
        let (hidden, _) = seen(features).gru(&seen(&state), &all_seen(&self.gru), true, 1, 0.0, true, false, true);
        self.head(&hidden)
    }

    /// One step: features `[N, F]`, state `[N, H]` -> the next state.
    pub fn step(&self, features: &Tensor, state: &Tensor) -> Tensor {
        let w = all_seen(&self.gru);
        seen(features).gru_cell(&seen(state), &w[0], &w[1], Some(&w[2]), Some(&w[3]))
    }

    /// State of `n` tracks that have no hit.
    pub fn start(&self, n: i64) -> Tensor {
        Tensor::zeros([n, self.hidden], (Kind::Float, self.weight.device()))
    }

    /// Means and log widths, the latter kept within sensible bounds.
    pub fn head(&self, hidden: &Tensor) -> Tensor {
        let raw = hidden.linear(&self.weight, Some(&self.bias));
        Tensor::cat(&[raw.narrow(-1, 0, 2), raw.narrow(-1, 2, 2).clamp(-3.0, 3.0)], -1)
    }
}

/// Mean over real steps of the negative log likelihood of two normal residuals; `targets` `[B, L, 2]`, `mask` `[B, L]`.
pub fn negative_log_likelihood(outputs: &Tensor, targets: &Tensor, mask: &Tensor) -> Tensor {
    let (mean, log) = (outputs.narrow(-1, 0, 2), outputs.narrow(-1, 2, 2));
    let pull = (targets - mean) / log.exp();
    // Beyond 3 widths the cost grows with the distance only: rare large kicks must not set the width.
    let cost = pull.huber_loss(&pull.zeros_like(), tch::Reduction::None, 3.0) + log;
    let per_step = cost.sum_dim_intlist([-1].as_slice(), false, Kind::Float);
    (&per_step * mask).sum(Kind::Float) / mask.sum(Kind::Float).clamp_min(1.0)
}
