//! The networks of LEAP, a file a family: input `[B, 60, 25]` (see [`crate::layout`]), output `[B, 368]` in training
//! order. Parameter names and shapes equal the published checkpoints'.

pub mod adam;
pub mod lstm_stack;

use common::Result;
use neural::Path;
use neural::layers::Network;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::columns::{LEVELS, PROFILE_TARGETS, SCALAR_TARGETS, TARGETS};
use crate::norm::Chain;

/// Channels per level that every network ends with: 8 scalars, 6 profiles.
pub(crate) const HEAD: i64 = (SCALAR_TARGETS + PROFILE_TARGETS) as i64;

/// Which network, and its sizes. Left-out sizes are the published ones: `max022: {}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelConfig {
    /// ADAM's experiment 195: convolutions, LSTM, encoder; the head sees all three.
    Adam195(adam::Adam195),
    /// ADAM's experiment 197: wider; the head sees LSTM and encoder.
    Adam197(adam::Adam197),
    /// ADAM's experiment 200: swish activations; the head sees the encoder.
    Adam200(adam::Adam200),
    /// ForcewithMe's residual LSTM (18, fine-tuned 32).
    Reslstm(lstm_stack::Reslstm),
    /// Max2020's 014.
    Max014(lstm_stack::Max014),
    /// Max2020's 015.
    Max015(lstm_stack::Max015),
    /// Max2020's 021.
    Max021(lstm_stack::Max021),
    /// Max2020's 022, the best single network.
    Max022(lstm_stack::Max022),
}

impl ModelConfig {
    /// The network's name, as in config files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adam195(_) => "adam195",
            Self::Adam197(_) => "adam197",
            Self::Adam200(_) => "adam200",
            Self::Reslstm(_) => "reslstm",
            Self::Max014(_) => "max014",
            Self::Max015(_) => "max015",
            Self::Max021(_) => "max021",
            Self::Max022(_) => "max022",
        }
    }

    /// The preprocessing that the published network was trained on.
    pub fn chain(&self) -> Chain {
        match self {
            Self::Adam195(_) | Self::Adam197(_) | Self::Adam200(_) => Chain::A,
            _ => Chain::B,
        }
    }

    /// Everything that is wrong with the sizes: dotted key below the model, and a sentence.
    pub fn problems(&self) -> Vec<(String, String)> {
        let found = match self {
            Self::Adam195(c) => adam::Config::from(c).problems(),
            Self::Adam197(c) => adam::Config::from(c).problems(),
            Self::Adam200(c) => adam::Config::from(c).problems(),
            _ => self.lstm_stack().map(|c| c.problems()).unwrap_or_default(),
        };
        found.into_iter().map(|(key, problem)| (format!("{}.{key}", self.name()), problem)).collect()
    }

    /// Creates the parameters below `p` with their published initial distribution.
    pub fn build(&self, p: &Path) -> Result<Box<dyn Network>> {
        if let Some(config) = self.lstm_stack() {
            return Ok(Box::new(lstm_stack::LstmStack::new(p, &config)?));
        }
        let config = match self {
            Self::Adam195(c) => adam::Config::from(c),
            Self::Adam197(c) => adam::Config::from(c),
            Self::Adam200(c) => adam::Config::from(c),
            _ => return Err(common::Error::failed(format!("no way to build `{}`", self.name()))),
        };
        Ok(Box::new(adam::Adam::new(p, &config)?))
    }

    fn lstm_stack(&self) -> Option<lstm_stack::Config> {
        match self {
            Self::Reslstm(c) => Some(c.into()),
            Self::Max014(c) => Some(c.into()),
            Self::Max015(c) => Some(c.into()),
            Self::Max021(c) => Some(c.into()),
            Self::Max022(c) => Some(c.into()),
            _ => None,
        }
    }
}
