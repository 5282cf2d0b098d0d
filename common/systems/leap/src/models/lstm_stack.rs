//! Stacks of bidirectional LSTM layers with normalisation, skip connections and GELU (2nd place of LEAP, `fdzm_part`):
//! ForcewithMe's reslstm (18, 32) and 1LSTM1mamba-5 (37), and Max2020's 014, 015, 021 and 022, the best single network.
//!
//! Layer i computes `y = lstm_i(h)` (1LSTM1mamba: `mamba_i(lstm_i(h))`), `v = norm_i(y)`, where norm_i runs jointly over all 60 levels and channels, and
//! then the next `h` from `v` and an earlier result `r`. The networks differ in that last step alone: see
//! [`Rule::step`].
//!
//! Train one with `train-model configs/leap/max2020/022.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::layers::{BiLstm, LayerNorm, Linear, Mamba, MambaConfig, Network};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{HEAD, TAPS, head_init, lstm_init, targets};
use crate::columns::{CHANNELS, LEVELS};

/// How the layers are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Every odd layer adds the result of two layers before.
    Reslstm,
    /// Weighted skips from the third layer on, two GELUs in even layers.
    Max014,
    /// Weighted skips from the fourth layer on.
    Max015,
    /// Weighted skips from the second layer on (021, 022).
    Max021,
    /// As [`Rule::Max021`] with another weight, and a Mamba block behind every LSTM.
    OneLstmOneMamba,
}

/// What follows the normalisation of one layer: `h = GELU(skip(g(v), r))`, or `h = g(v)` without a skip connection;
/// then `r = h` if `keep`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    /// g is GELU instead of nothing. The published names of such a layer's norm have one more `.0`.
    wrapped: bool,
    /// How r comes in.
    skip: Option<Skip>,
    /// The result is the next layers' r.
    keep: bool,
}

/// A skip connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Skip {
    /// `v + r`.
    Sum,
    /// `w v + (1 - w) r`.
    Weighted(f64),
}

/// The weight of the layer's own result in all of Max2020's networks.
const OWN_WEIGHT: f64 = 0.7;
/// The same in 1LSTM1mamba.
const OWN_WEIGHT_MAMBA: f64 = 0.6;

impl Rule {
    fn step(self, layer: usize) -> Step {
        let plain = Step { wrapped: true, skip: None, keep: true };
        let own = if self == Self::OneLstmOneMamba { OWN_WEIGHT_MAMBA } else { OWN_WEIGHT };
        let weighted = |wrapped| Step { wrapped, skip: Some(Skip::Weighted(own)), keep: true };
        match (self, layer) {
            (_, 0) => plain,
            (Self::Reslstm, i) if i % 2 == 0 => Step { keep: false, ..plain },
            (Self::Reslstm, _) => Step { wrapped: false, skip: Some(Skip::Sum), keep: true },
            (Self::Max014, 1) => Step { wrapped: false, skip: None, keep: false },
            (Self::Max014, i) => weighted(i % 2 == 0),
            (Self::Max015, 1 | 2) => plain,
            (Self::Max015 | Self::Max021 | Self::OneLstmOneMamba, _) => weighted(false),
        }
    }

    /// 021 and 022 replace the library's initial values of LSTMs and head.
    fn has_own_init(self) -> bool {
        self == Self::Max021
    }
}

/// All that a network of this family depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of `Max022`")]
pub struct Config {
    pub rule: Rule,
    pub hidden_state: i64,
    pub num_lstm: usize,
    /// Channels that come in.
    pub inputs: i64,
    /// States and taps of the Mamba block behind every LSTM; `None`: there is no such block.
    pub mamba: Option<(i64, i64)>,
}

/// The networks differ in their defaults only, which serde ties to a type.
macro_rules! network {
    ($(#[$doc:meta])* $name:ident, $rule:ident: $hidden:literal, $layers:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// Hidden size of every LSTM per direction.
            pub hidden_state: i64,
            /// Number of LSTM layers.
            pub num_lstm: usize,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { hidden_state: $hidden, num_lstm: $layers }
            }
        }

        impl From<&$name> for Config {
            fn from(c: &$name) -> Self {
                Self { rule: Rule::$rule, hidden_state: c.hidden_state, num_lstm: c.num_lstm, inputs: CHANNELS as i64, mamba: None }
            }
        }
    };
}

network!(
    /// ForcewithMe's reslstm (CV 0.7890; 12,117,006 parameters).
    Reslstm, Reslstm: 256, 8
);
network!(
    /// Max2020's 014 (CV 0.7894).
    Max014, Max014: 256, 8
);
network!(
    /// Max2020's 015.
    Max015, Max015: 256, 8
);
network!(
    /// Max2020's 021 (16,522,814 parameters).
    Max021, Max021: 300, 8
);
network!(
    /// Max2020's 022 (CV 0.7908 after fine-tuning; 15,393,806 parameters).
    Max022, Max021: 256, 10
);

/// ForcewithMe's 1LSTM1mamba-5 (37: CV 0.7886, 0.7896 after fine-tuning; 15,675,406 parameters). The base script's default
/// is 8 layers; fine-tuning and inference, and the published weights, have 5.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OneLstmOneMamba {
    /// Hidden size of every LSTM per direction.
    pub hidden_state: i64,
    /// Number of LSTM layers, each with a Mamba block.
    pub num_lstm: usize,
    /// States of every inner channel of a Mamba block.
    pub d_state: i64,
    /// Taps of a Mamba block's convolution.
    #[serde(skip_serializing_if = "super::published_taps")]
    pub d_conv: i64,
}

impl Default for OneLstmOneMamba {
    fn default() -> Self {
        Self { hidden_state: 256, num_lstm: 5, d_state: 16, d_conv: TAPS }
    }
}

impl From<&OneLstmOneMamba> for Config {
    fn from(c: &OneLstmOneMamba) -> Self {
        let OneLstmOneMamba { hidden_state, num_lstm, d_state, d_conv } = *c;
        let (inputs, mamba) = (CHANNELS as i64, Some((d_state, d_conv)));
        Self { rule: Rule::OneLstmOneMamba, hidden_state, num_lstm, inputs, mamba }
    }
}

impl Config {
    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let hidden = self.hidden_state;
        problems.demand(hidden >= 1, &format!("{key}.hidden_state"), || format!("is {hidden}, expected at least 1"));
        problems.demand(self.num_lstm >= 1, &format!("{key}.num_lstm"), || "is 0, expected at least 1".into());
        for (name, value) in self.mamba.into_iter().flat_map(|(states, taps)| [("d_state", states), ("d_conv", taps)]) {
            problems.demand(value >= 1, &format!("{key}.{name}"), || format!("is {value}, expected at least 1"));
        }
    }
}

/// A network of this family.
#[derive(Debug)]
pub struct LstmStack {
    layers: Vec<Layer>,
    fc: Linear,
}

#[derive(Debug)]
struct Layer {
    step: Step,
    lstm: BiLstm,
    mamba: Option<Mamba>,
    norm: LayerNorm,
}

impl LstmStack {
    /// Creates all parameters.
    pub fn new(params: &Params, c: &Config) -> Result<Self> {
        let (p, width) = (params.root(), 2 * c.hidden_state);
        // All blocks of one kind stand together in the published order.
        let mut mambas = Vec::new();
        for i in 0..c.num_lstm {
            let block = |(states, taps)| {
                let sizes = MambaConfig { taps, ..MambaConfig::new(width, states) };
                Mamba::new(&p.sub("mamba_layers").sub(i), sizes)
            };
            mambas.push(c.mamba.map(block).transpose()?);
        }
        let mut lstms = Vec::new();
        for i in 0..c.num_lstm {
            let inputs = if i == 0 { c.inputs } else { width };
            lstms.push(BiLstm::new(&p.sub("lstm_stack").sub(format!("lstm{}", i + 1)), inputs, c.hidden_state, 1)?);
        }
        let mut layers = Vec::new();
        for (i, (lstm, mamba)) in lstms.into_iter().zip(mambas).enumerate() {
            let step = c.rule.step(i);
            let name = p.sub("residual_stack").sub(i);
            let name = if step.wrapped { name.sub(0) } else { name };
            layers.push(Layer { step, lstm, mamba, norm: LayerNorm::new(&name, &[LEVELS as i64, width])? });
        }
        let fc = Linear::new(&p.sub("fc").sub(0), width, HEAD)?;
        if c.rule.has_own_init() {
            params.reinitialise(|name, _| match name {
                _ if name.contains("lstm") => lstm_init(name),
                _ if name.contains("fc") => Some(head_init(name)),
                _ => None,
            })?;
        }
        Ok(Self { layers, fc })
    }
}

impl Layer {
    fn forward(&self, h: &Tensor, r: Option<&Tensor>, train: bool) -> Tensor {
        let y = self.lstm.forward(h, train);
        let y = match &self.mamba {
            Some(mamba) => mamba.forward(&y),
            None => y,
        };
        let v = self.norm.forward(&y);
        let v = if self.step.wrapped { v.gelu("none") } else { v };
        match (self.step.skip, r) {
            (Some(Skip::Sum), Some(r)) => (v + r).gelu("none"),
            // One pass over memory instead of three; equal to `0.7 v + 0.3 r` up to the last bit.
            (Some(Skip::Weighted(own)), Some(r)) => r.lerp(&v, own).gelu("none"),
            _ => v,
        }
    }
}

impl LstmStack {
    /// What the head reads: `[B, 60, 25]` -> `[B, 60, 2H]`.
    pub(super) fn hidden(&self, x: &Tensor, train: bool) -> Tensor {
        let mut h = x.shallow_clone();
        let mut r = None;
        for layer in &self.layers {
            h = layer.forward(&h, r.as_ref(), train);
            if layer.step.keep {
                r = Some(h.shallow_clone());
            }
        }
        h
    }

    /// `[B, 60, 2H]` -> `[B, 368]`.
    pub(super) fn head(&self, hidden: &Tensor) -> Tensor {
        targets(&self.fc.forward(hidden))
    }
}

impl Network for LstmStack {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.head(&self.hidden(x, train))
    }
}
