//! The networks of IceCube: a batch of events in, one vector an event out, `[B, 3]`. Parameter names and shapes equal
//! the published checkpoints'.

pub mod block;
pub mod direction;
pub mod dynedge;
pub mod embed;
pub mod encoder;
pub mod graph;
pub mod heads;
pub mod layout;
pub mod linear;
pub mod recorded;
pub mod relative;

use common::Result;
use common::config::Problems;
use neural::Params;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::batch::Batch;
pub use direction::{Config, DeepIce, Direction, WithGraph};
pub use dynedge::DynEdgeConfig;
pub use encoder::{Encoder, EncoderConfig};
pub use heads::{Heads, Targets};

/// Is told the outputs of modules by name.
pub type Witness<'a> = dyn FnMut(&str, &Tensor) + 'a;

/// A whole network.
pub trait Network {
    /// The vector of each event, `[B, 3]`; its length is the concentration kappa. Networks that regress angles give
    /// azimuth and zenith, `[B, 2]`. `train`: gradients will be asked for.
    fn forward(&self, batch: &Batch, train: bool) -> Result<Tensor> {
        Ok(self.with_features(batch, train)?.0)
    }

    /// The same, and the vector `[B, width]` that the last map of the network made it of.
    fn with_features(&self, batch: &Batch, train: bool) -> Result<(Tensor, Tensor)>;

    /// Channels of that vector.
    fn width(&self) -> i64;
}

/// Which network, and its sizes. Left-out sizes are the defaults of the published classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelConfig {
    /// `DeepIceModel`: a transformer with relative space-time bias.
    DeepIce(DeepIce),
    /// `EncoderWithDirectionReconstructionV22`: with a graph encoder on xyz.
    V22(WithGraph),
    /// `EncoderWithDirectionReconstructionV23`: with a graph encoder on xyz and time, and the bias in all four blocks.
    V23(WithGraph),
    /// The encoder of the experiment log, with all its choices.
    Encoder(Box<EncoderConfig>),
}

impl ModelConfig {
    /// The network's name, as in config files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeepIce(_) => "deep_ice",
            Self::V22(_) => "v22",
            Self::V23(_) => "v23",
            Self::Encoder(_) => "encoder",
        }
    }

    /// Reports sizes that cannot work; `key` is the dotted path of the model in its config.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let key = format!("{key}.{}", self.name());
        match self.published() {
            Ok(config) => config.validate(&key, problems),
            Err(encoder) => encoder.validate(&key, problems),
        }
    }

    /// Creates the parameters in `params`, with their published initial distribution.
    pub fn build(&self, params: &Params) -> Result<Box<dyn Network>> {
        Ok(match self.published() {
            Ok(config) => Box::new(Direction::new(&params.root(), &config)?),
            Err(encoder) => Box::new(Encoder::new(&params.root(), encoder)?),
        })
    }

    /// The sizes of a published network, none of the encoder.
    pub fn config(&self) -> Option<Config> {
        self.published().ok()
    }

    /// Pulses of an event at most, where the network has a limit.
    pub fn limit(&self) -> Option<i64> {
        self.published().err().and_then(EncoderConfig::limit)
    }

    fn published(&self) -> std::result::Result<Config, &EncoderConfig> {
        match self {
            Self::DeepIce(c) => Ok(c.into()),
            Self::V22(c) => Ok(Config::v22(c)),
            Self::V23(c) => Ok(Config::v23(c)),
            Self::Encoder(c) => Err(c),
        }
    }
}

/// A network with its parameters.
pub struct Built {
    /// The parameters; the network shares their memory.
    pub params: Params,
    /// The network.
    pub network: Box<dyn Network>,
    /// Its heads beside the direction; none where it has no further targets.
    pub heads: Option<Heads>,
}

/// Builds a network with initial weights drawn from `seed`.
pub fn build(model: &ModelConfig, device: Device, seed: u64) -> Result<Built> {
    build_with(model, &Targets::default(), device, seed)
}

/// The same with heads for further targets.
pub fn build_with(model: &ModelConfig, targets: &Targets, device: Device, seed: u64) -> Result<Built> {
    let params = Params::new(device, seed);
    let network = model.build(&params)?;
    let heads = if targets.is_none() { None } else { Some(Heads::new(&params, targets, network.width())?) };
    Ok(Built { params, network, heads })
}
