//! The padded forms that are recorded for other programs ([`neural::export`]): groups and points of all events of a batch side by
//! side, with masks. Norms over a batch are taken event by event, as `predict` does with one event at a time.

use common::Result;
use neural::precision::without_autocast;
use tch::{Kind, Tensor};

use super::encoder::Encoder;
use super::norm::{NormScope, TOKEN_EPS, TokenNorm};
use super::pointnet::MiniPointNet;
use super::segmentation::{DISTANCE_EPS, NEIGHBORS, Segmentation, mix};
use super::transformer::{Block, Transformer};

/// Groups of a batch of events.
#[derive(Debug, Clone, Copy)]
pub struct Padded<'a> {
    /// Local coordinates and energies, `[B, G, S, 4]`.
    pub features: &'a Tensor,
    /// Centres, `[B, G, 3 or more]`.
    pub centers: &'a Tensor,
    /// Slots that hold a point, bool `[B, G, S]`; a group without one is none.
    pub mask: &'a Tensor,
}

impl Padded<'_> {
    /// Which groups there are, bool `[B, G]`.
    pub fn groups(&self) -> Tensor {
        self.mask.any_dim(2, false)
    }
}

/// What the encoder makes of all tokens.
#[derive(Debug)]
pub struct Encoded {
    /// Behind the last block, `[B, G, C]`.
    pub last: Tensor,
    /// Behind the blocks that were asked for.
    pub hidden: Vec<Tensor>,
    /// Positions, `[B, G, C]`.
    pub positions: Tensor,
}

/// All tokens through the encoder.
pub fn encode(encoder: &Encoder, padded: &Padded, wanted: &[usize]) -> Result<Encoded> {
    let size = padded.features.size();
    let (b, g, s) = (size[0], size[1], size[2]);
    let rows = padded.features.masked_fill(&padded.mask.logical_not().unsqueeze(3), 0.0).view([b * g * s, size[3]]);
    let mask = padded.mask.reshape([b * g, s]);
    let embedded = without_autocast(rows.device(), || points(&encoder.embedding, &rows, &mask))?;
    let embedded = embedded.view([b, g, encoder.dim()]);
    let positions = encoder.positions.forward(padded.centers);
    let (last, hidden) = transform(&encoder.transformer, &embedded, &positions, &padded.groups(), wanted);
    Ok(Encoded { last, hidden, positions })
}

/// The token of each group: rows `[M S, 4]`, mask `[M, S]` -> `[M, dim]`.
fn points(net: &MiniPointNet, rows: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (m, s) = (mask.size()[0], mask.size()[1]);
    let there = mask.unsqueeze(2);
    let held = |values: &Tensor, padding: &Tensor| {
        let width = padding.size()[1];
        values.view([m, s, width]).where_self(&there, &padding.unsqueeze(0))
    };
    let largest = |values: &Tensor| values.amax([1_i64].as_slice(), false);
    let first = net.first.forward(rows, None, false)?;
    let padding = net.first.of_padding();
    let global = largest(&held(&first, &padding));
    let owner = Tensor::arange(m, (Kind::Int64, rows.device())).unsqueeze(1).expand([m, s], false).reshape([-1]);
    let second = net.second.forward(&first, Some((&global, &owner)), false)?;
    Ok(largest(&held(&second, &net.second.of_padding())))
}

/// Tokens and positions `[B, G, C]` through a transformer; `groups` bool `[B, G]` says which there are.
fn transform(
    transformer: &Transformer,
    x: &Tensor,
    positions: &Tensor,
    groups: &Tensor,
    wanted: &[usize],
) -> (Tensor, Vec<Tensor>) {
    let weights = groups.to_kind(Kind::Float).unsqueeze(2); // [B, G, 1]
    // An event without groups sees all of them, which keeps it finite; nothing reads it.
    let keys = groups.logical_or(&groups.any_dim(1, true).logical_not()).unsqueeze(1).unsqueeze(1); // [B, 1, 1, G]
    let mut x = x.shallow_clone();
    let mut hidden: Vec<Option<Tensor>> = wanted.iter().map(|_| None).collect();
    for (i, block) in transformer.blocks.iter().enumerate() {
        if transformer.every_layer || i == 0 {
            x = &x + positions;
        }
        x = &x + attend(block, &normed(&block.norm1, &x, &weights), &keys);
        let inside = block.fc1.forward(&normed(&block.norm2, &x, &weights)).gelu("none");
        x = &x + block.fc2.forward(&inside);
        for (slot, _) in hidden.iter_mut().zip(wanted).filter(|(_, w)| **w == i) {
            *slot = Some(x.shallow_clone());
        }
    }
    let last = transformer.norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| normed(norm, &x, &weights));
    (last, hidden.into_iter().flatten().collect())
}

fn attend(block: &Block, x: &Tensor, keys: &Tensor) -> Tensor {
    let size = x.size();
    let (b, g, dim) = (size[0], size[1], size[2]);
    let qkv = block.qkv.forward(x).view([b, g, 3, block.heads, dim / block.heads]).permute([2, 0, 3, 1, 4]);
    let (q, k, v) = (qkv.get(0), qkv.get(1), qkv.get(2));
    let mixed = Tensor::scaled_dot_product_attention(&q, &k, &v, Some(keys), 0.0, false, None, false);
    block.proj.forward(&mixed.transpose(1, 2).reshape([b, g, dim]))
}

fn normed(norm: &TokenNorm, x: &Tensor, weights: &Tensor) -> Tensor {
    normalised(x, weights, norm.scope) * &norm.gamma + &norm.beta
}

/// Mean 0 and deviation 1 of the tokens of each event, or of each token.
fn normalised(x: &Tensor, weights: &Tensor, scope: NormScope) -> Tensor {
    let width = x.size()[2];
    if scope == NormScope::Token {
        return x.layer_norm([width], None::<Tensor>, None::<Tensor>, TOKEN_EPS, true);
    }
    let x = x.to_kind(Kind::Float);
    let sum = |t: &Tensor| t.sum_dim_intlist([1_i64, 2].as_slice(), true, Kind::Float);
    let count = (sum(weights) * width as f64).clamp_min(1.0);
    let centred = &x - sum(&(&x * weights)) / &count;
    let variance = sum(&(&centred * weights).square()) / &count;
    centred / (variance + TOKEN_EPS).sqrt()
}

/// Logits `[B, P, classes]` of the points `[B, P, 4]` of each event.
pub fn classify(net: &Segmentation, padded: &Padded, points: &Tensor) -> Result<Tensor> {
    let config = &net.config;
    let encoded = encode(&net.encoder, padded, &config.fetch_layers)?;
    let groups = padded.groups();
    let weights = groups.to_kind(Kind::Float).unsqueeze(2);
    let scope = config.encoder.transformer.norm;
    let features = match &net.decoder {
        Some(decoder) => transform(decoder, &encoded.last, &encoded.positions, &groups, &[]).0,
        None => {
            let normal = encoded.hidden.iter().map(|hidden| normalised(hidden, &weights, scope));
            let sum = normal.reduce(|a, b| a + b);
            sum.map_or(encoded.last, |sum| sum / config.fetch_layers.len() as f64)
        }
    };
    let features = features.to_kind(Kind::Float);
    let (b, g, dim) = (features.size()[0], features.size()[1], features.size()[2]);
    let p = points.size()[1];
    let (near, shares) = neighbors(points, padded.centers, &groups, config.ghost_neighbors);
    let places = points.narrow(2, 0, 3).reshape([b * p, 3]);
    let spread = net.upsampler.apply(&features.reshape([b * g, dim]), |mapped| mix(mapped, &near, &shares), &places)?;
    let global = config.has_global().then(|| {
        let absent = groups.logical_not().unsqueeze(2);
        let most = features.masked_fill(&absent, f64::NEG_INFINITY).amax([1_i64].as_slice(), false);
        let most = most.masked_fill(&most.isinf(), 0.0);
        let count = weights.sum_dim_intlist([1_i64].as_slice(), false, Kind::Float).clamp_min(1.0);
        let mean = (&features * &weights).sum_dim_intlist([1_i64].as_slice(), false, Kind::Float) / count;
        Tensor::cat(&[most, mean], 1) // [B, 2C]
    });
    let owner = Tensor::arange(b, (Kind::Int64, features.device())).unsqueeze(1).expand([b, p], false).reshape([-1]);
    let logits = net.head.apply(&spread, global.as_ref(), &owner, false)?;
    Ok(logits.view([b, p, config.num_classes as i64]))
}

/// The five nearest tokens of each point, as rows of all tokens `[B P, 5]`, and their shares; none beyond those of the event.
fn neighbors(points: &Tensor, centers: &Tensor, groups: &Tensor, ghosts: bool) -> (Tensor, Tensor) {
    let (b, p, g) = (points.size()[0], points.size()[1], centers.size()[1]);
    let k = NEIGHBORS as i64;
    let squared = |axis: i64| (points.select(2, axis).unsqueeze(2) - centers.select(2, axis).unsqueeze(1)).square();
    let distance = squared(0) + squared(1) + squared(2); // [B, P, G]
    let distance = distance.masked_fill(&groups.logical_not().unsqueeze(1), f64::INFINITY);
    let beyond = Tensor::full([b, p, k], f64::INFINITY, (Kind::Float, distance.device()));
    let (near, who) = Tensor::cat(&[distance, beyond], 2).sort_stable(true, 2, false);
    let (mut near, mut who) = (near.narrow(2, 0, k), who.narrow(2, 0, k).clamp_max(g - 1));
    if ghosts {
        let gone = near.isinf();
        (near, who) = (near.masked_fill(&gone, 0.0), who.masked_fill(&gone, 0));
    }
    let inverse = (near + f64::from(DISTANCE_EPS)).reciprocal();
    let total = inverse.sum_dim_intlist([2_i64].as_slice(), true, Kind::Float).clamp_min(1e-30);
    let first = (Tensor::arange(b, (Kind::Int64, who.device())) * g).view([b, 1, 1]);
    ((who + first).reshape([b * p, k]), (inverse / total).reshape([b * p, k]))
}
