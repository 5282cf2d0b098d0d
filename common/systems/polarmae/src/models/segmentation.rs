//! Semantic segmentation: a class for every point, from the embeddings of the tokens near it.
//!
//! Two linear maps are moved to where they are cheap, exact up to rounding: the first map of the upsampler is applied
//! to tokens before they are interpolated, and the global part of the head's first map once an event.
//! Source: `polarmae/models/segmentation.py`, feature propagation after `PointNet++`.

use common::Result;
use common::config::Problems;
use neural::init::Init;
use neural::{Path, device};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::encoder::{Encoder, EncoderConfig};
use super::norm::MaskedBatchNorm;
use super::packed::{Runs, index, run_max, run_mean};
use super::tokens::Grouped;
use super::transformer::{Layout, Transformer, TransformerConfig};
use crate::classes::UNLABELLED;
pub use crate::classes::{CLASS_NAMES, published_weights};
use crate::geometry::{Points, nearest};
use crate::grouping::{CHANNELS, Groups};

/// Tokens that a point takes its features from.
pub(super) const NEIGHBORS: usize = 5;
/// Added to squared distances before they are inverted: the spacing of f32 at 1.
pub(super) const DISTANCE_EPS: f32 = f32::EPSILON;

/// A segmentation network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentationConfig {
    /// The encoder, usually pretrained.
    pub encoder: EncoderConfig,
    /// Number of classes, 2 to 254. Published: 4 (low-energy deposits are removed).
    #[serde(default = "four")]
    pub num_classes: usize,
    /// A transformer over the tokens instead of the outputs of several blocks. Published: none.
    #[serde(default)]
    pub seg_decoder: Option<TransformerConfig>,
    /// Whether maximum and mean over an event's tokens are given to each of its points.
    #[serde(default = "yes")]
    pub condition_global_features: bool,
    /// Blocks whose outputs are averaged, from 0.
    #[serde(default = "published_layers")]
    pub fetch_layers: Vec<usize>,
    /// First hidden width of the head; the second is half of it.
    #[serde(default = "published_head")]
    pub head_dim: i64,
    /// Dropout between them, in [0, 1).
    #[serde(default = "half")]
    pub head_dropout: f64,
    /// Missing neighbours count as token 0 at distance 0, as published, which ruins events of fewer than 5 tokens.
    #[serde(default)]
    pub ghost_neighbors: bool,
}

fn four() -> usize {
    4
}

fn yes() -> bool {
    true
}

fn published_layers() -> Vec<usize> {
    vec![3, 7, 11]
}

fn published_head() -> i64 {
    512
}

fn half() -> f64 {
    0.5
}

impl SegmentationConfig {
    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        self.encoder.validate(&format!("{key}.encoder"), problems);
        let most = usize::from(UNLABELLED) - 1;
        let classes = (2..=most).contains(&self.num_classes);
        problems.demand(classes, &format!("{key}.num_classes"), || {
            format!("is {}, expected 2 to {most}", self.num_classes)
        });
        let depth = self.encoder.transformer.depth();
        let layers = !self.fetch_layers.is_empty() && self.fetch_layers.iter().all(|&l| (l as i64) < depth);
        problems.demand(layers, &format!("{key}.fetch_layers"), || {
            format!("is {:?}, expected blocks from 0 to {}", self.fetch_layers, depth - 1)
        });
        problems.demand(self.head_dim >= 2, &format!("{key}.head_dim"), || {
            format!("is {}, expected at least 2", self.head_dim)
        });
        problems.demand((0.0..1.0).contains(&self.head_dropout), &format!("{key}.head_dropout"), || {
            format!("is {}, expected 0 <= rate < 1", self.head_dropout)
        });
        if let Some(decoder) = &self.seg_decoder {
            decoder.validate(&format!("{key}.seg_decoder"), problems);
            problems.demand(decoder.dim() == self.encoder.transformer.dim(), &format!("{key}.seg_decoder"), || {
                format!("is {} wide, the encoder {}", decoder.dim(), self.encoder.transformer.dim())
            });
        }
    }

    pub(super) fn has_global(&self) -> bool {
        self.condition_global_features && self.seg_decoder.is_none()
    }
}

/// `encoder.*`, `seg_decoder.*`, `upsampler.*`, `seg_head.*`, `loss_func.weight`.
#[derive(Debug)]
pub struct Segmentation {
    /// The encoder.
    pub encoder: Encoder,
    pub(super) decoder: Option<Transformer>,
    pub(super) upsampler: Upsampler,
    pub(super) head: Head,
    /// Weights of the classes in the loss, `[classes]`.
    pub class_weights: Tensor,
    pub(super) config: SegmentationConfig,
}

#[derive(Debug)]
pub(super) struct Upsampler {
    maps: [Tensor; 2],
    norms: [MaskedBatchNorm; 2],
}

#[derive(Debug)]
pub(super) struct Head {
    conv1: Tensor,
    norm1: MaskedBatchNorm,
    conv2: Tensor,
    norm2: MaskedBatchNorm,
    conv3: Tensor,
    bias3: Tensor,
    dropout: f64,
}

/// The points of a batch, and where they take their features from.
#[derive(Debug)]
pub struct PointBatch {
    /// Points of each event.
    pub runs: Runs,
    /// Normalised coordinates, `[P, 3]`.
    pub places: Tensor,
    /// Packed numbers of the nearest tokens, `[P, 5]`.
    pub neighbors: Tensor,
    /// Their weights, which add up to 1; 0 where an event has fewer tokens.
    pub weights: Tensor,
}

impl PointBatch {
    /// Finds the nearest tokens of all points: rows of x, y, z, energy of each event, and its groups.
    pub fn new(events: &[&[f32]], groups: &[Groups], ghosts: bool, device: Device) -> Self {
        let runs = Runs::new(events.iter().map(|rows| (rows.len() / CHANNELS) as i64).collect());
        let mut first = 0;
        let firsts: Vec<i64> = groups
            .iter()
            .map(|g| {
                first += g.len() as i64;
                first - g.len() as i64
            })
            .collect();
        let found: Vec<(Vec<i64>, Vec<f32>)> = events
            .par_iter()
            .zip(groups)
            .zip(firsts)
            .map(|((rows, groups), first)| neighbors(rows, groups, first, ghosts))
            .collect();
        let indices: Vec<i64> = found.iter().flat_map(|f| f.0.iter().copied()).collect();
        let weights: Vec<f32> = found.iter().flat_map(|f| f.1.iter().copied()).collect();
        let places: Vec<f32> =
            events.iter().flat_map(|rows| rows.chunks_exact(CHANNELS).flat_map(|row| row[..3].to_vec())).collect();
        let width = NEIGHBORS as i64;
        Self {
            runs,
            places: device::placed(&Tensor::from_slice(&places).view([-1, 3]), device),
            neighbors: device::placed(&Tensor::from_slice(&indices).view([-1, width]), device),
            weights: device::placed(&Tensor::from_slice(&weights).view([-1, width]), device),
        }
    }
}

fn neighbors(rows: &[f32], groups: &Groups, first: i64, ghosts: bool) -> (Vec<i64>, Vec<f32>) {
    let points = Points::from_rows(rows, CHANNELS);
    let mut near = nearest(&points, &groups.center_points(), NEIGHBORS);
    if ghosts {
        near = near.filled(NEIGHBORS);
    }
    let k = near.k.max(1);
    let mut indices = Vec::with_capacity(points.len() * NEIGHBORS);
    let mut weights = Vec::with_capacity(points.len() * NEIGHBORS);
    for (tokens, distances) in near.indices.chunks(k).zip(near.distances2.chunks(k)) {
        let inverse = distances.iter().map(|d| 1.0 / (d + DISTANCE_EPS));
        let total: f32 = inverse.clone().sum();
        indices.extend(tokens.iter().map(|&t| first + i64::from(t)));
        weights.extend(inverse.map(|w| w / total));
        indices.resize(indices.len() + NEIGHBORS - tokens.len(), first);
        weights.resize(weights.len() + NEIGHBORS - tokens.len(), 0.0);
    }
    (indices, weights)
}

impl Segmentation {
    /// Builds the network at the root, with these weights of the classes in the loss.
    pub fn new(p: &Path, config: &SegmentationConfig, class_weights: &[f32]) -> Result<Self> {
        let dim = config.encoder.transformer.dim();
        let encoder = Encoder::new(&p.sub("encoder"), &config.encoder)?;
        let decoder = match &config.seg_decoder {
            Some(decoder) => Some(Transformer::new(&p.sub("seg_decoder.transformer"), decoder)?),
            None => None,
        };
        let up = p.sub("upsampler");
        let map = |p: &Path, outputs: i64, inputs: i64| p.parameter("weight", &[outputs, inputs, 1], Init::FanIn);
        let maps = [map(&up.sub("mlp_convs.0"), dim, dim + 3)?, map(&up.sub("mlp_convs.1"), dim, dim)?];
        let norms =
            [MaskedBatchNorm::new(&up.sub("mlp_bns.0"), dim)?, MaskedBatchNorm::new(&up.sub("mlp_bns.1"), dim)?];
        let head = p.sub("seg_head");
        let (hidden, half) = (config.head_dim, config.head_dim / 2);
        let inputs = if config.has_global() { 3 * dim } else { dim };
        let classes = config.num_classes as i64;
        let head = Head {
            conv1: map(&head.sub("conv1"), hidden, inputs)?,
            norm1: MaskedBatchNorm::new(&head.sub("bn1"), hidden)?,
            conv2: map(&head.sub("conv2"), half, hidden)?,
            norm2: MaskedBatchNorm::new(&head.sub("bn2"), half)?,
            conv3: map(&head.sub("conv3"), classes, half)?,
            bias3: head.sub("conv3").parameter("bias", &[classes], Init::fan_in(half))?,
            dropout: config.head_dropout,
        };
        let class_weights = p.sub("loss_func").buffer("weight", Tensor::from_slice(class_weights))?;
        Ok(Self { encoder, decoder, upsampler: Upsampler { maps, norms }, head, class_weights, config: config.clone() })
    }

    /// Logits `[P, classes]` of all points. `encoder_train`: whether the encoder's dropout and running statistics are
    /// those of training; `train`: those of the rest.
    pub fn forward(&self, grouped: &Grouped, points: &PointBatch, train: bool, encoder_train: bool) -> Result<Tensor> {
        let (combined, last) = self.encoder.combined(grouped, &self.config.fetch_layers, encoder_train)?;
        let features = match &self.decoder {
            None => combined,
            Some(decoder) => {
                let positions = self.encoder.tokens(grouped, false)?.positions;
                let layout = Layout::new(grouped.events.clone(), last.device());
                decoder.forward(&last, &positions, &layout, train)?
            }
        };
        let features = features.to_kind(Kind::Float);
        let spread = self.upsampler.forward(&features, points, train)?;
        let global = match self.config.has_global() {
            true => Some(global_features(&features, &grouped.events)?),
            false => None,
        };
        self.head.forward(&spread, global.as_ref(), &points.runs, train)
    }
}

/// `[B, 2C]`: maximum and mean over the tokens of each event.
fn global_features(features: &Tensor, events: &Runs) -> Result<Tensor> {
    Ok(Tensor::cat(&[run_max(features, events)?, run_mean(features, events)], 1))
}

impl Upsampler {
    fn forward(&self, tokens: &Tensor, points: &PointBatch, train: bool) -> Result<Tensor> {
        self.of(tokens, |mapped| mix(mapped, &points.neighbors, &points.weights), &points.places, train)
    }

    /// Tokens `[M, C]` and places `[P, 3]` -> `[P, C]`, without training.
    pub(super) fn apply(&self, tokens: &Tensor, mix: impl Fn(&Tensor) -> Tensor, places: &Tensor) -> Result<Tensor> {
        self.of(tokens, mix, places, false)
    }

    fn of(&self, tokens: &Tensor, mix: impl Fn(&Tensor) -> Tensor, places: &Tensor, train: bool) -> Result<Tensor> {
        let weight = self.maps[0].squeeze_dim(2);
        let dim = weight.size()[0];
        let mapped = tokens.linear(&weight.narrow(1, 3, dim), None::<&Tensor>); // [M, C]
        let mixed = mix(&mapped);
        let placed = places.linear(&weight.narrow(1, 0, 3), None::<&Tensor>);
        let x = self.norms[0].forward(&(mixed.to_kind(Kind::Float) + placed.to_kind(Kind::Float)), train)?.relu();
        let x = x.linear(&self.maps[1].squeeze_dim(2), None::<&Tensor>).to_kind(Kind::Float);
        Ok(self.norms[1].forward(&x, train)?.relu())
    }
}

/// Features of points from those of the tokens around them: `[M, C]` to `[P, C]`.
pub fn spread(tokens: &Tensor, points: &PointBatch) -> Tensor {
    mix(tokens, &points.neighbors, &points.weights)
}

/// `[P, C]`: the weighted sum of five rows of `[M, C]`.
pub(super) fn mix(rows: &Tensor, neighbors: &Tensor, weights: &Tensor) -> Tensor {
    let rows = rows.to_kind(Kind::Float);
    let sum = 0;
    let (mixed, ..) = Tensor::embedding_bag(
        &rows,
        &neighbors.reshape([-1]),
        &bag_offsets(neighbors),
        false,
        sum,
        false,
        Some(&weights.reshape([-1])),
        false,
    );
    mixed
}

fn bag_offsets(neighbors: &Tensor) -> Tensor {
    let size = neighbors.size();
    Tensor::arange(size[0], (Kind::Int64, neighbors.device())) * size[1]
}

impl Head {
    fn forward(&self, x: &Tensor, global: Option<&Tensor>, runs: &Runs, train: bool) -> Result<Tensor> {
        self.apply(x, global, &index(&runs.owners(), x.device()), train)
    }

    /// Points `[P, C]`, what is known of each event, and the event of each point.
    pub(super) fn apply(&self, x: &Tensor, global: Option<&Tensor>, owner: &Tensor, train: bool) -> Result<Tensor> {
        let weight = self.conv1.squeeze_dim(2);
        let dim = x.size()[1];
        let mut hidden = x.linear(&weight.narrow(1, 0, dim), None::<&Tensor>).to_kind(Kind::Float);
        if let Some(global) = global {
            let shared = global.linear(&weight.narrow(1, dim, 2 * dim), None::<&Tensor>).to_kind(Kind::Float);
            hidden += shared.index_select(0, owner);
        }
        let mut hidden = self.norm1.forward(&hidden, train)?.relu();
        if train && self.dropout > 0.0 {
            hidden = hidden.dropout(self.dropout, true);
        }
        let hidden = hidden.linear(&self.conv2.squeeze_dim(2), None::<&Tensor>).to_kind(Kind::Float);
        let hidden = self.norm2.forward(&hidden, train)?.relu();
        Ok(hidden.linear(&self.conv3.squeeze_dim(2), Some(&self.bias3)).to_kind(Kind::Float))
    }
}
