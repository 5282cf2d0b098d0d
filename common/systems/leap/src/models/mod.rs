//! The networks of LEAP, a file a family: input `[B, 60, 25]` (see [`crate::layout`]), output `[B, 368]` in training
//! order. Parameter names and shapes equal the published checkpoints'.

pub mod adam;
pub mod lstm_stack;

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::init::Init;
use neural::layers::Network;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::columns::{LEVELS, PROFILE_TARGETS, SCALAR_TARGETS};
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

    /// Reports sizes that cannot work; `key` is the dotted path of the model in its config.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let key = format!("{key}.{}", self.name());
        match self.family() {
            Family::Adam(config) => config.validate(&key, problems),
            Family::LstmStack(config) => config.validate(&key, problems),
        }
    }

    /// Creates the parameters in `params`, with their published initial distribution.
    pub fn build(&self, params: &Params) -> Result<Box<dyn Network>> {
        Ok(match self.family() {
            Family::Adam(config) => Box::new(adam::Adam::new(params, &config)?),
            Family::LstmStack(config) => Box::new(lstm_stack::LstmStack::new(params, &config)?),
        })
    }

    fn family(&self) -> Family {
        match self {
            Self::Adam195(c) => Family::Adam(c.into()),
            Self::Adam197(c) => Family::Adam(c.into()),
            Self::Adam200(c) => Family::Adam(c.into()),
            Self::Reslstm(c) => Family::LstmStack(c.into()),
            Self::Max014(c) => Family::LstmStack(c.into()),
            Self::Max015(c) => Family::LstmStack(c.into()),
            Self::Max021(c) => Family::LstmStack(c.into()),
            Self::Max022(c) => Family::LstmStack(c.into()),
        }
    }
}

enum Family {
    Adam(adam::Config),
    LstmStack(lstm_stack::Config),
}

/// `[B, 60, 14]` -> `[B, 368]`: scalars are the mean of channels 0..8 over the levels, profiles are channels 8..14.
pub(crate) fn targets(channels: &Tensor) -> Tensor {
    let (scalars, profiles) = (SCALAR_TARGETS as i64, PROFILE_TARGETS as i64);
    let scalars = channels.narrow(2, 0, scalars).mean_dim([1_i64].as_slice(), false, Kind::Float);
    let profiles = channels.narrow(2, SCALAR_TARGETS as i64, profiles).transpose(1, 2); // [B, 6, 60]
    Tensor::cat(&[scalars.to_kind(channels.kind()), profiles.reshape([-1, (PROFILE_TARGETS * LEVELS) as i64])], 1)
}

/// The published rule for LSTMs: input weights Xavier uniform, recurrent weights orthogonal, all biases 0 but the
/// forget gates' `bias_ih`, which are 1.
pub(crate) fn lstm_init(name: &str) -> Option<Init> {
    let last = name.rsplit('.').next().unwrap_or(name);
    let rules = [
        ("weight_ih", Init::XavierUniform),
        ("weight_hh", Init::Orthogonal),
        ("bias_ih", Init::ForgetGate),
        ("bias_hh", Init::Zeros),
    ];
    rules.into_iter().find(|(start, _)| last.starts_with(start)).map(|(_, init)| init)
}

/// The published rule for the linear maps of the head: Xavier uniform, biases 0.
pub(crate) fn head_init(name: &str) -> Init {
    if name.ends_with("weight") { Init::XavierUniform } else { Init::Zeros }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn parse(text: &str) -> Result<ModelConfig, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn left_out_sizes_are_the_published_ones() {
        let expected = lstm_stack::Max022 { hidden_state: 256, num_lstm: 10 };
        assert_eq!(parse(r#"{"max022": {}}"#).unwrap(), ModelConfig::Max022(expected));
        let ModelConfig::Adam197(c) = parse(r#"{"adam197": {"lstm_layers": 2}}"#).unwrap() else { panic!("not 197") };
        assert_eq!((c.lstm_hidden, c.lstm_layers, c.heads, c.head_hidden), (512, 2, 16, vec![1024, 256]));
        assert!(parse(r#"{"max022": {"hidden": 4}}"#).unwrap_err().contains("unknown field `hidden`"));
        assert!(parse(r#"{"max023": {}}"#).unwrap_err().contains("unknown variant `max023`"));
    }

    #[test]
    fn sizes_that_cannot_work_are_reported_with_their_keys() {
        let found = |text: &str| {
            let mut problems = Problems::default();
            parse(text).unwrap().validate("model", &mut problems);
            format!("{problems:?}")
        };
        assert!(found(r#"{"max022": {"num_lstm": 0}}"#).contains("model.max022.num_lstm"));
        assert!(found(r#"{"adam195": {"lstm_hidden": 5, "heads": 4}}"#).contains("a divisor of 10"));
        assert!(found(r#"{"adam200": {"conv_kernels": [2, 4]}}"#).contains("has 2 entries, expected 3"));
        assert!(found(r#"{"adam195": {"dropout": 1.0, "head_hidden": [0]}}"#).contains("model.adam195.head_hidden.0"));
        assert_eq!(found(r#"{"max021": {}}"#), format!("{:?}", Problems::default()));
    }

    #[test]
    fn every_network_maps_a_batch_to_368_targets() {
        let adam = r#"{"lstm_hidden": 4, "lstm_layers": 1, "heads": 2, "feed_forward": 8, "head_hidden": [6]}"#;
        let stack = r#"{"hidden_state": 3, "num_lstm": 5}"#;
        for (sizes, names) in [
            (adam, ["adam195", "adam197", "adam200"].as_slice()),
            (stack, ["reslstm", "max014", "max015", "max021", "max022"].as_slice()),
        ] {
            for name in names {
                let config = parse(&format!(r#"{{"{name}": {sizes}}}"#)).unwrap();
                assert_eq!(config.name(), *name);
                let network = config.build(&Params::new(Device::Cpu, 1)).unwrap();
                let x = Tensor::ones([3, 60, 25], (Kind::Float, Device::Cpu));
                let output = tch::no_grad(|| network.forward(&x, false));
                assert_eq!(output.size(), [3, 368], "{name}");
            }
        }
    }

    #[test]
    fn the_same_seed_builds_the_same_network() {
        let config = parse(r#"{"max022": {"hidden_state": 3, "num_lstm": 2}}"#).unwrap();
        let weights = |seed| {
            let params = Params::new(Device::Cpu, seed);
            config.build(&params).unwrap();
            let flat: Vec<Tensor> = params.named().iter().map(|(_, t)| t.detach().flatten(0, -1)).collect();
            Vec::<f32>::try_from(Tensor::cat(&flat, 0)).unwrap()
        };
        assert_eq!(weights(7), weights(7));
        assert_ne!(weights(7), weights(8));
    }
}
