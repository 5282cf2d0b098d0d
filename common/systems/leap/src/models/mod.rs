//! The networks of LEAP, a file a family: input `[B, 60, 25]` (see [`crate::layout`]), output `[B, 368]` in training
//! order, or twice that with the errors that a network expects of itself. Parameter names and shapes equal the published checkpoints'.

pub mod adam;
pub mod cnnlstm;
pub mod convnext;
pub mod encdec_lstm;
pub mod features;
pub mod joseph;
pub mod lstm_attention;
pub mod lstm_block;
pub mod lstm_mamba;
pub mod lstm_stack;
pub mod pao;
pub mod pure_reslstm;
pub mod representations;
pub mod squeezeformer;
pub mod unet;

use common::Result;
use common::config::Problems;
use neural::Params;
use neural::init::Init;
use neural::layers::Network;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::columns::{LEVELS, PROFILE_TARGETS, SCALAR_TARGETS, TARGETS};
use crate::dataset::{Extras, PLACES};
use crate::norm::{Chain, Constants};
use features::{FeatureLayer, Features};

/// Channels per level that every network ends with: 8 scalars, 6 profiles.
pub(crate) const HEAD: i64 = (SCALAR_TARGETS + PROFILE_TARGETS) as i64;

/// Taps of the convolution in a Mamba block of the published networks.
pub(crate) const TAPS: i64 = 4;

/// Whether these are the published taps, which a config need not say.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
pub(crate) fn published_taps(taps: &i64) -> bool {
    *taps == TAPS
}

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
    /// ForcewithMe's convolutions and LSTM blocks (39).
    Cnnlstm(cnnlstm::Cnnlstm),
    /// ForcewithMe's LSTM and Mamba blocks, first stage.
    #[serde(rename = "lstmmamba_stage1")]
    LstmmambaStage1(lstm_mamba::LstmmambaStage1),
    /// The same, second stage (40).
    #[serde(rename = "lstmmamba_stage2")]
    LstmmambaStage2(lstm_mamba::LstmmambaStage2),
    /// ForcewithMe's LSTM and Mamba blocks in turn.
    Lstmmambamixed(lstm_mamba::Lstmmambamixed),
    /// The same with 64 states (38).
    #[serde(rename = "2lstm1mamba")]
    TwoLstmOneMamba(lstm_mamba::TwoLstmOneMamba),
    /// ForcewithMe's LSTM stack with Mamba blocks (37).
    #[serde(rename = "1lstm1mamba")]
    OneLstmOneMamba(lstm_stack::OneLstmOneMamba),
    /// Max2020's 007 (fine-tuned 010), a design of `ZuiYe`'s.
    Max007(lstm_attention::Max007),
    /// Max2020's 014.
    Max014(lstm_stack::Max014),
    /// Max2020's 015.
    Max015(lstm_stack::Max015),
    /// Max2020's 021.
    Max021(lstm_stack::Max021),
    /// Max2020's 022, the best single network.
    Max022(lstm_stack::Max022),
    /// Joseph's 907.
    Jo907(joseph::Jo907),
    /// Joseph's 912 (fine-tuned 912sep).
    Jo912(joseph::Jo912),
    /// `ZuiYe`'s LSTM and attention.
    ZuiyeA(lstm_attention::ZuiyeA),
    /// `ZuiYe`'s convolutions, LSTM and attention.
    ZuiyeB(lstm_attention::ZuiyeB),
    /// The first place's Squeezeformer.
    Squeezeformer(squeezeformer::Squeezeformer),
    /// The benchmark's U-Net.
    Unet(unet::Unet),
    /// The benchmark's Pao, of the third place.
    Pao(pao::Pao),
    /// The benchmark's `ConvNeXt`.
    Convnext(convnext::Convnext),
    /// The benchmark's encoder-decoder LSTM.
    EncdecLstm(encdec_lstm::EncdecLstm),
    /// The benchmark's pure residual LSTM.
    PureReslstm(pure_reslstm::PureReslstm),
}

impl ModelConfig {
    /// The network's name, as in config files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Adam195(_) => "adam195",
            Self::Adam197(_) => "adam197",
            Self::Adam200(_) => "adam200",
            Self::Reslstm(_) => "reslstm",
            Self::Cnnlstm(_) => "cnnlstm",
            Self::LstmmambaStage1(_) => "lstmmamba_stage1",
            Self::LstmmambaStage2(_) => "lstmmamba_stage2",
            Self::Lstmmambamixed(_) => "lstmmambamixed",
            Self::TwoLstmOneMamba(_) => "2lstm1mamba",
            Self::OneLstmOneMamba(_) => "1lstm1mamba",
            Self::Max007(_) => "max007",
            Self::Max014(_) => "max014",
            Self::Max015(_) => "max015",
            Self::Max021(_) => "max021",
            Self::Max022(_) => "max022",
            Self::Jo907(_) => "jo907",
            Self::Jo912(_) => "jo912",
            Self::ZuiyeA(_) => "zuiye_a",
            Self::ZuiyeB(_) => "zuiye_b",
            Self::Squeezeformer(_) => "squeezeformer",
            Self::Unet(_) => "unet",
            Self::Pao(_) => "pao",
            Self::Convnext(_) => "convnext",
            Self::EncdecLstm(_) => "encdec_lstm",
            Self::PureReslstm(_) => "pure_reslstm",
        }
    }

    /// The preprocessing that the published network was trained on.
    pub fn chain(&self) -> Chain {
        match self {
            Self::Adam195(_) | Self::Adam197(_) | Self::Adam200(_) => Chain::A,
            _ => Chain::B,
        }
    }

    /// Whether the network has a second output for every target: the error that it expects of itself.
    pub fn confidence(&self) -> bool {
        match self {
            Self::Squeezeformer(c) => c.confidence,
            Self::Unet(c) => c.confidence,
            Self::Pao(c) => c.confidence,
            Self::Convnext(c) => c.confidence,
            Self::EncdecLstm(c) => c.confidence,
            Self::PureReslstm(c) => c.confidence,
            _ => false,
        }
    }

    /// The further channels of its input, of a network that can have some.
    pub fn features(&self) -> Option<&Features> {
        match self {
            Self::Squeezeformer(c) => Some(&c.features),
            Self::Unet(c) => Some(&c.features),
            Self::Pao(c) => Some(&c.features),
            Self::Convnext(c) => Some(&c.features),
            Self::EncdecLstm(c) => Some(&c.features),
            Self::PureReslstm(c) => Some(&c.features),
            _ => None,
        }
    }

    /// Whether the network has outputs for where and when a row is.
    pub fn places(&self) -> bool {
        matches!(self, Self::Squeezeformer(c) if c.places)
    }

    /// What the loader brings beside the inputs.
    pub fn extras(&self) -> Extras {
        self.features().map(Features::extras).unwrap_or_default()
    }

    /// Reports sizes that cannot work; `key` is the dotted path of the model in its config.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let key = format!("{key}.{}", self.name());
        match self.family() {
            Family::Adam(config) => config.validate(&key, problems),
            Family::LstmStack(config) => config.validate(&key, problems),
            Family::LstmMamba(config) => config.validate(&key, problems),
            Family::LstmAttention(config) => config.validate(&key, problems),
            Family::Cnnlstm(config) => config.validate(&key, problems),
            Family::Jo907(config) => config.validate(&key, problems),
            Family::Jo912(config) => config.validate(&key, problems),
            Family::Squeezeformer(config) => config.validate(&key, problems),
            Family::Unet(config) => config.validate(&key, problems),
            Family::Pao(config) => config.validate(&key, problems),
            Family::Convnext(config) => config.validate(&key, problems),
            Family::EncdecLstm(config) => config.validate(&key, problems),
            Family::PureReslstm(config) => config.validate(&key, problems),
        }
    }

    /// Creates the parameters in `params`, with their published initial distribution. Further channels of the input are
    /// made with the published constants; [`ModelConfig::build_for`] takes others.
    pub fn build(&self, params: &Params) -> Result<Box<dyn Network>> {
        self.build_for(params, Constants::published(self.chain())?)
    }

    /// The same for inputs that were normalised with `constants`.
    pub fn build_for(&self, params: &Params, constants: &Constants) -> Result<Box<dyn Network>> {
        let layer = match self.features() {
            Some(features) => FeatureLayer::new(&params.root(), features, constants)?,
            None => None,
        };
        let network = self.bare(params)?;
        Ok(match layer {
            Some(layer) => Box::new(WithFeatures { layer, network }),
            None => network,
        })
    }

    fn bare(&self, params: &Params) -> Result<Box<dyn Network>> {
        Ok(match self.family() {
            Family::Adam(config) => Box::new(adam::Adam::new(params, &config)?),
            Family::LstmStack(config) => Box::new(lstm_stack::LstmStack::new(params, &config)?),
            Family::LstmMamba(config) => Box::new(lstm_mamba::LstmMamba::new(params, &config)?),
            Family::LstmAttention(config) => Box::new(lstm_attention::LstmAttention::new(params, &config)?),
            Family::Cnnlstm(config) => Box::new(cnnlstm::CnnLstm::new(params, config)?),
            Family::Jo907(config) => Box::new(joseph::Network907::new(params, config)?),
            Family::Jo912(config) => Box::new(joseph::Network912::new(params, config)?),
            Family::Squeezeformer(config) => Box::new(squeezeformer::SqueezeformerNetwork::new(params, config)?),
            Family::Unet(config) => Box::new(unet::UnetNetwork::new(params, config)?),
            Family::Pao(config) => Box::new(pao::PaoNetwork::new(params, config)?),
            Family::Convnext(config) => Box::new(convnext::ConvnextNetwork::new(params, config)?),
            Family::EncdecLstm(config) => Box::new(encdec_lstm::EncdecLstmNetwork::new(params, config)?),
            Family::PureReslstm(config) => Box::new(pure_reslstm::PureReslstmNetwork::new(params, config)?),
        })
    }

    fn family(&self) -> Family<'_> {
        match self {
            Self::Adam195(c) => Family::Adam(c.into()),
            Self::Adam197(c) => Family::Adam(c.into()),
            Self::Adam200(c) => Family::Adam(c.into()),
            Self::Reslstm(c) => Family::LstmStack(c.into()),
            Self::Max014(c) => Family::LstmStack(c.into()),
            Self::Max015(c) => Family::LstmStack(c.into()),
            Self::Max021(c) => Family::LstmStack(c.into()),
            Self::Max022(c) => Family::LstmStack(c.into()),
            Self::OneLstmOneMamba(c) => Family::LstmStack(c.into()),
            Self::LstmmambaStage1(c) => Family::LstmMamba(c.into()),
            Self::LstmmambaStage2(c) => Family::LstmMamba(c.into()),
            Self::Lstmmambamixed(c) => Family::LstmMamba(c.into()),
            Self::TwoLstmOneMamba(c) => Family::LstmMamba(c.into()),
            Self::Max007(c) => Family::LstmAttention(c.into()),
            Self::ZuiyeA(c) => Family::LstmAttention(c.into()),
            Self::ZuiyeB(c) => Family::LstmAttention(c.into()),
            Self::Cnnlstm(c) => Family::Cnnlstm(c),
            Self::Jo907(c) => Family::Jo907(c),
            Self::Jo912(c) => Family::Jo912(c),
            Self::Squeezeformer(c) => Family::Squeezeformer(c),
            Self::Unet(c) => Family::Unet(c),
            Self::Pao(c) => Family::Pao(c),
            Self::Convnext(c) => Family::Convnext(c),
            Self::EncdecLstm(c) => Family::EncdecLstm(c),
            Self::PureReslstm(c) => Family::PureReslstm(c),
        }
    }
}

/// A network behind the layer that makes further channels.
struct WithFeatures {
    layer: FeatureLayer,
    network: Box<dyn Network>,
}

impl Network for WithFeatures {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.network.forward(&self.layer.forward(x), train)
    }
}

/// The code that a network is built by.
enum Family<'a> {
    Adam(adam::Config),
    LstmStack(lstm_stack::Config),
    LstmMamba(lstm_mamba::Config),
    LstmAttention(lstm_attention::Config),
    Cnnlstm(&'a cnnlstm::Cnnlstm),
    Jo907(&'a joseph::Jo907),
    Jo912(&'a joseph::Jo912),
    Squeezeformer(&'a squeezeformer::Squeezeformer),
    Unet(&'a unet::Unet),
    Pao(&'a pao::Pao),
    Convnext(&'a convnext::Convnext),
    EncdecLstm(&'a encdec_lstm::EncdecLstm),
    PureReslstm(&'a pure_reslstm::PureReslstm),
}

/// `[B, 60, 14]` -> `[B, 368]`: scalars are the mean of channels 0..8 over the levels, profiles are channels 8..14.
pub(crate) fn targets(channels: &Tensor) -> Tensor {
    let scalars = channels.narrow(2, 0, SCALAR_TARGETS as i64);
    join(&scalars.mean_dim([1_i64].as_slice(), false, Kind::Float), channels)
}

/// The same with the scalars of one level instead of their mean.
pub(crate) fn targets_with_scalars_of(channels: &Tensor, level: i64) -> Tensor {
    join(&channels.narrow(2, 0, SCALAR_TARGETS as i64).select(1, level), channels)
}

/// Scalars `[B, 8]` and the profiles among the channels, in training order.
fn join(scalars: &Tensor, channels: &Tensor) -> Tensor {
    let profiles = channels.narrow(2, SCALAR_TARGETS as i64, PROFILE_TARGETS as i64).transpose(1, 2); // [B, 6, 60]
    let profiles = profiles.reshape([-1, (PROFILE_TARGETS * LEVELS) as i64]);
    Tensor::cat(&[scalars.to_kind(channels.kind()), profiles], 1)
}

/// Predictions `[B, 368]`, with the expected errors behind them `[B, 736]` where there are any.
pub(crate) fn with_confidence(predictions: Tensor, confidence: Option<Tensor>) -> Tensor {
    match confidence {
        Some(confidence) => Tensor::cat(&[predictions, confidence], 1),
        None => predictions,
    }
}

/// Where and when the rows of a network's output (or of targets) are, which stands behind all else; where there is any.
pub fn places(output: &Tensor) -> Option<Tensor> {
    let (width, places) = (output.size()[1], PLACES as i64);
    (width % TARGETS as i64 == places).then(|| output.narrow(1, width - places, places))
}

/// The predictions `[B, 368]` of a network's output, and the expected errors where there are any.
pub fn parts(output: &Tensor) -> (Tensor, Option<Tensor>) {
    let targets = TARGETS as i64;
    match output.size()[1] >= 2 * targets {
        true => (output.narrow(1, 0, targets), Some(output.narrow(1, targets, targets))),
        false if output.size()[1] > targets => (output.narrow(1, 0, targets), None),
        false => (output.shallow_clone(), None),
    }
}

/// Reports sizes below 1.
pub(crate) fn at_least_one(key: &str, problems: &mut Problems, sizes: &[(&str, i64)]) {
    for (name, value) in sizes {
        problems.demand(*value >= 1, &format!("{key}.{name}"), || format!("is {value}, expected at least 1"));
    }
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
        assert!(found(r#"{"cnnlstm": {"hidden_state": 255}}"#).contains("expected 256 with `enc` = 106"));
        assert!(found(r#"{"jo912": {"sample_dropouts": [0.1, 1.0]}}"#).contains("model.jo912.sample_dropouts.1"));
        assert!(found(r#"{"zuiye_b": {"kernels": [3, 0]}}"#).contains("model.zuiye_b.kernels.1"));
        assert!(found(r#"{"2lstm1mamba": {"d_state": 0}}"#).contains("model.2lstm1mamba.d_state"));
        assert!(found(r#"{"1lstm1mamba": {"d_conv": 0}}"#).contains("model.1lstm1mamba.d_conv"));
        assert_eq!(found(r#"{"max021": {}}"#), format!("{:?}", Problems::default()));
    }

    #[test]
    fn every_network_maps_a_batch_to_368_targets() {
        let adam = r#"{"lstm_hidden": 4, "lstm_layers": 1, "heads": 2, "feed_forward": 8, "head_hidden": [6]}"#;
        let stack = r#"{"hidden_state": 3, "num_lstm": 5}"#;
        let mamba = r#"{"hidden_state": 3, "num_lstm": 1, "d_state": 4}"#;
        let joseph = r#"{"hidden": 4, "blocks_after_first": 2, "heads": 2}"#;
        let attention = r#"{"h1": 3, "h2": 4, "heads": 2}"#;
        for (sizes, names) in [
            (adam, ["adam195", "adam197", "adam200"].as_slice()),
            (stack, ["reslstm", "max014", "max015", "max021", "max022", "1lstm1mamba"].as_slice()),
            (mamba, ["lstmmamba_stage1", "lstmmamba_stage2", "lstmmambamixed", "2lstm1mamba"].as_slice()),
            (joseph, ["jo907", "jo912"].as_slice()),
            (attention, ["max007", "zuiye_a", "zuiye_b"].as_slice()),
            (r#"{"hidden_state": 155, "enc": 5, "num_lstm": 1}"#, ["cnnlstm"].as_slice()),
            (r#"{"dim": 8, "head_dim": 12, "heads": 2, "blocks": 2}"#, ["squeezeformer"].as_slice()),
            (r#"{"channels": 4, "blocks": 1}"#, ["unet"].as_slice()),
            (r#"{"hidden_profile": 4, "hidden_scalar": 4, "heads": 2}"#, ["pao"].as_slice()),
            (r#"{"dims": [4, 6], "depths": [1, 2], "kernels": [4, 2]}"#, ["convnext"].as_slice()),
            (r#"{"code": [1], "hidden": 4, "layers": 2, "gru": 2}"#, ["encdec_lstm"].as_slice()),
            (stack, ["pure_reslstm"].as_slice()),
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
    fn further_channels_reach_every_network_that_has_them() {
        let sizes = [
            (r#""dim": 8, "head_dim": 12, "heads": 2, "blocks": 1"#, "squeezeformer"),
            (r#""channels": 4, "blocks": 1"#, "unet"),
            (r#""hidden_profile": 4, "hidden_scalar": 4, "heads": 2"#, "pao"),
            (r#""dims": [4], "depths": [1], "kernels": [4]"#, "convnext"),
            (r#""code": [1], "hidden": 4, "layers": 1, "gru": 2"#, "encdec_lstm"),
            (r#""hidden_state": 3, "num_lstm": 2"#, "pure_reslstm"),
        ];
        let features =
            r#"{"column": true, "logarithm": true, "humidity": true, "cloud": true, "wind": true, "soft_clip": 5}"#;
        for (sizes, name) in sizes {
            let text = format!(r#"{{"{name}": {{{sizes}, "confidence": true, "features": {features}}}}}"#);
            let config = parse(&text).unwrap();
            let mut problems = Problems::default();
            config.validate("model", &mut problems);
            assert_eq!(format!("{problems:?}"), format!("{:?}", Problems::default()), "{name}");
            let params = Params::new(Device::Cpu, 1);
            let network = config.build(&params).unwrap();
            assert!(params.state().iter().any(|(name, _)| name == "features.exponents"));
            let x = Tensor::ones([3, 60, 25], (Kind::Float, Device::Cpu));
            let output = network.forward(&x, true);
            assert_eq!(output.size(), [3, 736], "{name}");
            let (predictions, expected) = parts(&output);
            assert_eq!((predictions.size(), expected.unwrap().size()), (vec![3, 368], vec![3, 368]));
            assert!(output.isfinite().all().int64_value(&[]) == 1, "{name}");
        }
        assert!(parse(r#"{"max022": {"features": {}}}"#).is_err());
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
