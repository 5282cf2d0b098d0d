//! Pretraining: Point-MAE reconstructs hidden groups of points, `PoLAr-MAE` also the energies of their points.
//!
//! The encoder sees visible tokens only and the decoder valid ones only; the published code evaluates all places and
//! masks. Exact up to rounding. Source: `polarmae/models/{mae,polarmae}.py`.

use common::Result;
use common::config::Problems;
use neural::Path;
use neural::init::Init;
use neural::trainer::Term;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::encoder::{Encoder, EncoderConfig};
use super::packed::{Runs, index};
use super::pointnet::{Members, MiniPointNet};
use super::tokens::Grouped;
use super::transformer::{Layout, Transformer, TransformerConfig};
use crate::grouping::CHANNELS;
use crate::losses::chamfer;
use crate::masking::Mask;

/// What is reconstructed of the points of hidden groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// Coordinates and energy.
    #[default]
    Full,
    /// Coordinates.
    Pos,
}

impl Prediction {
    fn channels(self) -> i64 {
        match self {
            Self::Full => CHANNELS as i64,
            Self::Pos => 3,
        }
    }
}

/// A masked autoencoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaeConfig {
    /// The encoder, which is what remains after pretraining.
    pub encoder: EncoderConfig,
    /// The decoder; its width is the encoder's. Published: 4 blocks with a final norm.
    #[serde(default = "published_decoder")]
    pub decoder: TransformerConfig,
    /// Share of hidden tokens, in [0, 1). Published: 0.6.
    #[serde(default = "published_ratio")]
    pub masking_ratio: f64,
    /// What is reconstructed.
    #[serde(default)]
    pub mae_prediction: Prediction,
    /// Energy infilling: true is `PoLAr-MAE`, false Point-MAE.
    #[serde(default = "yes")]
    pub energy_infilling: bool,
    /// Weight of the chamfer loss, >= 0.
    #[serde(default = "one")]
    pub chamfer_weight: f64,
    /// Weight of the energy loss, >= 0.
    #[serde(default = "one")]
    pub energy_weight: f64,
}

fn published_decoder() -> TransformerConfig {
    TransformerConfig { depth: Some(4), postnorm: true, ..TransformerConfig::default() }
}

fn published_ratio() -> f64 {
    0.6
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

impl MaeConfig {
    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        self.encoder.validate(&format!("{key}.encoder"), problems);
        self.decoder.validate(&format!("{key}.decoder"), problems);
        let (encoder, decoder) = (self.encoder.transformer.dim(), self.decoder.dim());
        problems.demand(encoder == decoder, &format!("{key}.decoder"), || {
            format!("is {decoder} wide, the encoder {encoder}: both must be the same")
        });
        let ratio = self.masking_ratio;
        problems.demand((0.0..1.0).contains(&ratio), &format!("{key}.masking_ratio"), || {
            format!("is {ratio}, expected 0 <= ratio < 1")
        });
        for (name, weight) in [("chamfer_weight", self.chamfer_weight), ("energy_weight", self.energy_weight)] {
            problems.demand(weight >= 0.0 && weight.is_finite(), &format!("{key}.{name}"), || {
                format!("is {weight}, expected a number >= 0")
            });
        }
    }
}

/// `mask_token`, `encoder.*`, `decoder.*`, `increase_dim.*`, and with infilling `equivariant_patch_encoder.*` and
/// `energy_decoder.*`.
#[derive(Debug)]
pub struct Mae {
    mask_token: Tensor,
    /// The encoder.
    pub encoder: Encoder,
    decoder: Transformer,
    increase: Conv,
    infilling: Option<Infilling>,
    config: MaeConfig,
}

/// A convolution of width one as a linear map.
#[derive(Debug)]
struct Conv {
    weight: Tensor,
    bias: Tensor,
}

impl Conv {
    fn new(p: &Path, inputs: i64, outputs: i64) -> Result<Self> {
        let weight = p.parameter("weight", &[outputs, inputs, 1], Init::FanIn)?;
        Ok(Self { weight, bias: p.parameter("bias", &[outputs], Init::fan_in(inputs))? })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight.squeeze_dim(2), Some(&self.bias))
    }
}

#[derive(Debug)]
struct Infilling {
    patches: MiniPointNet,
    decoder: Conv,
}

/// Losses of a batch, scalars with gradient.
#[derive(Debug)]
pub struct Losses {
    /// Weighted sum: what is minimised.
    pub total: Tensor,
    /// Reconstruction of points.
    pub chamfer: Tensor,
    /// Reconstruction of energies, with infilling.
    pub energy: Option<Tensor>,
    /// The parts of the total, and how many hidden groups or points each is a mean over.
    pub terms: Vec<Term>,
}

impl Mae {
    /// Builds the network at the root.
    pub fn new(p: &Path, config: &MaeConfig) -> Result<Self> {
        let dim = config.encoder.transformer.dim();
        let slots = config.encoder.tokenizer.slots as i64;
        let channels = config.mae_prediction.channels();
        let mask_token = p.parameter("mask_token", &[dim], Init::TruncatedNormal { std: 0.02, bound: 0.02 })?;
        let encoder = Encoder::new(&p.sub("encoder"), &config.encoder)?;
        let decoder = Transformer::new(&p.sub("decoder.transformer"), &config.decoder)?;
        let increase = Conv::new(&p.sub("increase_dim"), dim, channels * slots)?;
        let infilling = if config.energy_infilling {
            let patches = MiniPointNet::new(&p.sub("equivariant_patch_encoder"), 3, dim, slots, true)?;
            Some(Infilling { patches, decoder: Conv::new(&p.sub("energy_decoder"), 2 * dim, slots)? })
        } else {
            None
        };
        Ok(Self { mask_token, encoder, decoder, increase, infilling, config: config.clone() })
    }

    /// Losses of a batch under the given masks, one an event. A batch without hidden tokens has losses of zero.
    pub fn losses(&self, grouped: &Grouped, masks: &[Mask], train: bool) -> Result<Losses> {
        let device = grouped.features.device();
        let (hidden, masked) = self.hidden(grouped, masks, train)?;
        let (rows, runs) = grouped.points_of(&masked);
        let truth = grouped.features.index_select(0, &index(&rows, device)); // [P, 4]
        let slots = self.config.encoder.tokenizer.slots as i64;
        let used = used_slots(&runs, slots);
        let chamfer_loss = self.chamfer(&hidden, &truth, &runs, &used)?;
        let mut terms = vec![Term { mean: &chamfer_loss * self.config.chamfer_weight, count: runs.len() as f64 }];
        let energy = match &self.infilling {
            None => None,
            Some(infilling) => {
                let loss = infilling.loss(&hidden, &truth, &runs, &used, train)?;
                terms.push(Term { mean: &loss * self.config.energy_weight, count: runs.rows() as f64 });
                Some(loss)
            }
        };
        Ok(Losses { total: Term::sum(&terms)?, chamfer: chamfer_loss, energy, terms })
    }

    /// What the decoder makes of the hidden tokens of a batch, `[M, C]`, and which tokens they are.
    fn hidden(&self, grouped: &Grouped, masks: &[Mask], train: bool) -> Result<(Tensor, Vec<i64>)> {
        let device = grouped.features.device();
        let tokens = self.encoder.tokens(grouped, train)?;
        let starts = grouped.events.starts();
        let flat = |pick: fn(&Mask) -> &Vec<i64>| -> Vec<i64> {
            masks.iter().zip(starts).flat_map(|(mask, start)| pick(mask).iter().map(move |t| t + start)).collect()
        };
        let (visible, masked) = (flat(|m| &m.visible), flat(|m| &m.masked));
        let lengths = |pick: fn(&Mask) -> usize| Runs::new(masks.iter().map(|m| pick(m) as i64).collect());
        let encoder_layout = Layout::new(lengths(|m| m.visible.len()), device);
        let encoded = self.encoder.visible(&tokens, &visible, &encoder_layout, train)?;

        // Rows of the decoder: the encoder's output where visible, the mask token elsewhere.
        let total = grouped.events.rows();
        let mut source = vec![visible.len() as i64; total as usize];
        visible.iter().enumerate().for_each(|(row, &token)| source[token as usize] = row as i64);
        let with_token = Tensor::cat(&[encoded.to_kind(Kind::Float), self.mask_token.unsqueeze(0)], 0);
        let input = with_token.index_select(0, &index(&source, device));
        let layout = Layout::new(grouped.events.clone(), device);
        let decoded = self.decoder.forward(&input, &tokens.positions, &layout, train)?;
        Ok((decoded.index_select(0, &index(&masked, device)), masked))
    }

    /// What stands in the place of the points of hidden groups: `[P, channels]` in the groups' own coordinates, and how many
    /// points each hidden group has, which is known.
    pub fn rebuilt(&self, grouped: &Grouped, masks: &[Mask]) -> Result<(Tensor, Runs)> {
        let (hidden, masked) = self.hidden(grouped, masks, false)?;
        let (_, runs) = grouped.points_of(&masked);
        let used = used_slots(&runs, self.config.encoder.tokenizer.slots as i64);
        Ok((self.points(&hidden, &used), runs))
    }

    /// Share of tokens that are hidden.
    pub fn masking_ratio(&self) -> f64 {
        self.config.masking_ratio
    }

    /// The used slots of hidden groups.
    fn points(&self, hidden: &Tensor, used: &[i64]) -> Tensor {
        let channels = self.config.mae_prediction.channels();
        let predicted = self.increase.forward(hidden).to_kind(Kind::Float).view([-1, channels]);
        predicted.index_select(0, &index(used, hidden.device())) // [P, channels]
    }

    fn chamfer(&self, hidden: &Tensor, truth: &Tensor, runs: &Runs, used: &[i64]) -> Result<Tensor> {
        let channels = self.config.mae_prediction.channels();
        chamfer(&self.points(hidden, used), runs, &truth.narrow(1, 0, channels), runs)
    }
}

impl Infilling {
    /// Mean squared error of the energies, point by point: slot i of the output belongs to point i.
    fn loss(&self, hidden: &Tensor, truth: &Tensor, runs: &Runs, used: &[i64], train: bool) -> Result<Tensor> {
        if runs.is_empty() {
            return Ok(hidden.sum(Kind::Float) * 0.0);
        }
        let places = truth.narrow(1, 0, 3).contiguous();
        let patches = self.patches.forward(&Members { features: &places, runs }, train)?;
        let energies = self.decoder.forward(&Tensor::cat(&[patches, hidden.to_kind(Kind::Float)], 1));
        let energies = energies.to_kind(Kind::Float).flatten(0, 1).index_select(0, &index(used, hidden.device()));
        Ok(energies.mse_loss(&truth.select(1, 3), tch::Reduction::Mean))
    }
}

/// Rows of the used slots in `[groups * slots]`: the first ones of each group.
fn used_slots(runs: &Runs, slots: i64) -> Vec<i64> {
    runs.lengths().iter().enumerate().flat_map(|(g, &n)| (0..n).map(move |s| g as i64 * slots + s)).collect()
}
