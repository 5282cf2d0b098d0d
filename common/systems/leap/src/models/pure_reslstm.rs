//! The pure residual LSTM of the benchmark of LEAP's networks (arXiv 2511.20963): Max2020's network 022 of the second
//! place, here with a second head where one is asked for.
//!
//! Train it with `train-model configs/leap/benchmark/pure_reslstm.yaml`.

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::layers::{Linear, Network};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::features::Features;
use super::lstm_stack::{Config, LstmStack, Max022};
use super::{HEAD, head_init, targets, with_confidence};
use crate::columns::CHANNELS;

/// The pure residual LSTM of the benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PureReslstm {
    /// Hidden size of every LSTM per direction.
    pub hidden_state: i64,
    /// Number of LSTM layers.
    pub num_lstm: usize,
    /// A second output for every target: the error that the network expects of itself. `loss.confidence` trains it.
    pub confidence: bool,
    /// Further channels of the input.
    #[serde(skip_serializing_if = "Features::is_none")]
    pub features: Features,
}

impl Default for PureReslstm {
    fn default() -> Self {
        Self { hidden_state: 256, num_lstm: 10, confidence: false, features: Features::default() }
    }
}

impl PureReslstm {
    fn stack(&self) -> Config {
        let (hidden_state, num_lstm) = (self.hidden_state, self.num_lstm);
        let inputs = (CHANNELS + self.features.channels()) as i64;
        Config { inputs, ..Config::from(&Max022 { hidden_state, num_lstm }) }
    }

    /// Reports sizes that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        self.features.validate(&format!("{key}.features"), problems);
        self.stack().validate(key, problems);
    }
}

/// The network.
#[derive(Debug)]
pub struct PureReslstmNetwork {
    stack: LstmStack,
    confidence: Option<Linear>,
}

impl PureReslstmNetwork {
    /// Creates all parameters; initial values are those of 022.
    pub fn new(params: &Params, c: &PureReslstm) -> Result<Self> {
        let stack = LstmStack::new(params, &c.stack())?;
        if !c.confidence {
            return Ok(Self { stack, confidence: None });
        }
        let confidence = Linear::new(&params.root().sub("fc_conf").sub(0), 2 * c.hidden_state, HEAD)?;
        params.reinitialise(|name, _| name.starts_with("fc_conf.").then(|| head_init(name)))?;
        Ok(Self { stack, confidence: Some(confidence) })
    }
}

impl Network for PureReslstmNetwork {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let h = self.stack.hidden(x, train); // [B, 60, 2H]
        let confidence = self.confidence.as_ref().map(|map| targets(&map.forward(&h)));
        with_confidence(self.stack.head(&h), confidence)
    }
}
