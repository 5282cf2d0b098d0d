//! The encoder put together.

use common::{Error, Result};
use neural::export::{constant, recording};
use neural::init::Init;
use neural::layers::LayerNorm;
use neural::{Doing, Path, device};
use tch::{Kind, Tensor};

use super::block::{Block, Normalise, Sight};
use super::equivariant::Equivariant;
use super::features::{Inputs, Scaling, unit_positions};
use super::local::{columns_of, coordinates_of, window};
use super::matrices::MatricesConfig;
use super::pooling::{Bottleneck, Pool, PoolingConfig, pool};
use super::rotary::Rotary;
use super::{EncoderConfig, Head, LocalConfig, Positions};
use crate::batch::Batch;
use crate::models::Network;
use crate::models::direction::Packed;
use crate::models::linear::{Dense, normal};

/// Ranges of azimuth and zenith.
const RANGES: [f64; 2] = [2.0 * std::f64::consts::PI, std::f64::consts::PI];

/// The encoder.
#[derive(Debug)]
pub struct Encoder {
    inputs: Inputs,
    proj_in: Dense,
    embed_norm: Option<LayerNorm>,
    equivariant: Option<Equivariant>,
    local: Option<(LocalConfig, Vec<Block>)>,
    pos_emb: Option<Tensor>,
    cls_token: Option<Tensor>,
    blocks: Vec<Block>,
    norm: Option<Normalise>,
    bottleneck: Option<Bottleneck>,
    hidden: Option<Dense>,
    proj_out: Dense,
    scaling: Scaling,
    matrices: Option<MatricesConfig>,
    rotary: bool,
    head_size: i64,
    pooling: PoolingConfig,
    head: Head,
    limit: Option<i64>,
}

impl Encoder {
    /// Creates the parameters.
    pub fn new(p: &Path, config: &EncoderConfig) -> Result<Self> {
        let dim = config.dim;
        let blocks = |name: &str, count: i64| -> Result<Vec<Block>> {
            (0..count).map(|i| Block::new(&p.sub(name).sub(i), config)).collect()
        };
        let inputs = Inputs::new(p, config)?;
        let proj_in = Dense::new(&p.sub("proj_in"), inputs.width, dim, Init::FanIn)?;
        let embed_norm = config.embed_norm.then(|| LayerNorm::new(&p.sub("embed_norm"), &[dim])).transpose()?;
        let equivariant =
            config.equivariant.map(|layers| Equivariant::new(&p.sub("equivariant"), layers, dim)).transpose()?;
        let local = config.local.map(|local| Ok::<_, Error>((local, blocks("local", local.layers)?))).transpose()?;
        let pos_emb = (config.positions == Positions::Absolute && config.depth > 0)
            .then(|| p.sub("pos_emb").parameter("weight", &[config.max_length, dim], Init::Normal(0.02)))
            .transpose()?;
        let class = config.pooling.class();
        let cls_token =
            class.then(|| p.sub("cls_token").parameter("weight", &[1, dim], Init::Normal(0.02))).transpose()?;
        let main = blocks("blocks", config.depth)?;
        let attends = config.depth > 0 || local.is_some();
        let norm = attends.then(|| Normalise::new(&p.sub("norm"), config.norm, dim)).transpose()?;
        let width = config.pooling.width(dim, inputs.width);
        let narrow = config.pooling.bottleneck;
        let bottleneck = (narrow > 0).then(|| Bottleneck::new(&p.sub("bottleneck"), width, narrow)).transpose()?;
        let (hidden, last, outputs) = match config.head {
            Head::Vector => (None, width, 3),
            Head::Angles | Head::BoundedAngles => {
                (Some(Dense::new(&p.sub("hidden"), width, 4 * width, Init::FanIn)?), 4 * width, 2)
            }
        };
        Ok(Self {
            inputs,
            proj_in,
            embed_norm,
            equivariant,
            local,
            pos_emb,
            cls_token,
            blocks: main,
            norm,
            bottleneck,
            hidden,
            proj_out: Dense::new(&p.sub("proj_out"), last, outputs, normal())?,
            scaling: config.scaling,
            matrices: config.matrices,
            rotary: config.positions == Positions::Rotary,
            head_size: config.head_size,
            pooling: config.pooling.clone(),
            head: config.head,
            limit: config.limit(),
        })
    }

    /// Tokens `[B, L, D]` and features `[B, L, C]` behind everything but the attention over all pulses.
    fn tokens(&self, batch: &Batch, packed: &Packed, train: bool) -> Result<(Tensor, Tensor)> {
        let features = self.inputs.forward(batch, packed)?;
        let mut x = self.proj_in.forward(&features);
        if let Some(norm) = &self.embed_norm {
            x = norm.forward(&x);
        }
        if let Some(layers) = &self.equivariant {
            let take = |t: &Tensor| t.flatten(0, 1).index_select(0, &packed.rows);
            let features = packed.features(batch);
            let (h, _) = if recording() {
                let coordinates = coordinates_of(&features, layers.space());
                layers.recorded(&take(&x), &take(&batch.pos), &coordinates, &batch.mask)
            } else {
                let columns = columns_of(&features, layers.space())?;
                layers.forward(&take(&x), &take(&batch.pos), &columns, &packed.lengths)?
            };
            x = packed.spread(&h.to_kind(Kind::Float), batch);
        }
        if let Some((local, blocks)) = &self.local {
            let seen = window(*local, batch, packed)?.unsqueeze(1);
            let rotary = self.rotary(batch.length(), batch)?;
            for block in blocks {
                let mask = Some(Sight::logits(&seen, self.logits_kind(&x)));
                x = block.forward(&x, &Sight { mask, rotary: rotary.as_ref(), matrices: None, train });
            }
        }
        Ok((x, features))
    }

    fn rotary(&self, length: i64, batch: &Batch) -> Result<Option<Rotary>> {
        self.rotary.then(|| Rotary::new(length, self.head_size, batch.device())).transpose()
    }

    /// Number format of queries and keys, which masks must have: that of a linear map of the tokens.
    fn logits_kind(&self, x: &Tensor) -> Kind {
        tch::no_grad(|| x.narrow(0, 0, 1).narrow(1, 0, 1).matmul(&self.proj_in.weight.narrow(1, 0, 1)).kind())
    }

    /// The blocks over all pulses, and what they make of the class token.
    fn attend(&self, x: Tensor, batch: &Batch, mask: &Tensor, train: bool) -> Result<(Tensor, Option<Tensor>)> {
        let (mut x, mut mask) = (x, mask.shallow_clone());
        let length = x.size()[1];
        if let Some(table) = &self.pos_emb {
            x = &x + table.narrow(0, 0, length).unsqueeze(0);
        }
        let mut added = self.matrices.map(|matrices| {
            let places = match self.scaling {
                Scaling::Unit => unit_positions(batch),
                Scaling::Detector => batch.pos.shallow_clone(),
            };
            (matrices.added(&pad(&places, 1, length), &mask), matrices.attention)
        });
        if let Some(token) = &self.cls_token {
            let events = x.size()[0];
            x = Tensor::cat(&[token.expand([events, 1, -1], false), x], 1);
            mask = Tensor::cat(&[mask.new_ones([events, 1], (Kind::Bool, mask.device())), mask], 1);
            // The class token is nobody's neighbour.
            added = added.map(|(m, weight)| (m.constant_pad_nd([1, 0, 1, 0]), weight));
        }
        let rotary = self.rotary(x.size()[1], batch)?;
        let all = !recording() && mask.all().f_int64_value(&[]).doing("looking for padding")? == 1;
        let logits = (!all).then(|| Sight::logits(&mask.unsqueeze(1).unsqueeze(1), self.logits_kind(&x)));
        let sight = Sight {
            mask: logits,
            rotary: rotary.as_ref(),
            matrices: added.as_ref().map(|(added, weight)| (added, *weight)),
            train,
        };
        for block in &self.blocks {
            x = block.forward(&x, &sight);
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x);
        }
        if self.cls_token.is_some() {
            return Ok((x.narrow(1, 1, length), Some(x.select(1, 0))));
        }
        Ok((x, None))
    }
}

/// Zeros at the end of a dimension, up to a length.
fn pad(x: &Tensor, dim: usize, length: i64) -> Tensor {
    let size = x.size();
    let missing = length - size[dim];
    if missing <= 0 {
        return x.shallow_clone();
    }
    let mut shape = size;
    shape[dim] = missing;
    Tensor::cat(&[x, &x.new_zeros(shape.as_slice(), (x.kind(), x.device()))], dim as i64)
}

impl Network for Encoder {
    /// Vectors `[B, 3]`, or azimuth and zenith `[B, 2]` where the head is one of angles.
    fn with_features(&self, batch: &Batch, train: bool) -> Result<(Tensor, Tensor)> {
        if let Some(limit) = self.limit
            && batch.length() > limit
        {
            let problem = format!("an event of {} pulses, the network was built for {limit}", batch.length());
            return Err(Error::usage(problem).hint("lower `input.length`, or raise `model.encoder.max_length`"));
        }
        let packed = Packed::new(batch)?;
        let (mut x, mut features) = self.tokens(batch, &packed, train)?;
        let mut mask = batch.mask.shallow_clone();
        if !self.pooling.masked
            && let Some(limit) = self.limit
        {
            let length = batch.length();
            mask = pad(&mask, 1, limit);
            features = pad(&features, 1, limit);
            // Padding is what the log's data sets held there: features of zeros, mapped as all others.
            let nothing =
                features.new_zeros([x.size()[0], limit - length, features.size()[2]], (Kind::Float, x.device()));
            let mut blank = self.proj_in.forward(&nothing);
            if let Some(norm) = &self.embed_norm {
                blank = norm.forward(&blank);
            }
            x = Tensor::cat(&[x, blank], 1);
        }
        let (x, class) = self.attend(x, batch, &mask, train)?;
        let counted = self.pooling.masked.then_some(&mask);
        let mut pooled: Vec<Tensor> =
            self.pooling.kinds.iter().map(|kind| pool(*kind, &x, counted, class.as_ref())).collect();
        if self.pooling.inputs {
            let kinds = self.pooling.kinds.iter().filter(|kind| **kind != Pool::Class);
            pooled.extend(kinds.map(|kind| pool(*kind, &features, counted, None)));
        }
        let mut x = Tensor::cat(&pooled, 1);
        if let Some(bottleneck) = &self.bottleneck {
            x = bottleneck.forward(&x);
        }
        if let Some(hidden) = &self.hidden {
            x = hidden.forward(&x).gelu("none");
        }
        let out = self.proj_out.forward(&x);
        if self.head == Head::BoundedAngles {
            let ranges = device::placed(&constant(&Tensor::from_slice(&RANGES)).to_kind(out.kind()), out.device());
            return Ok((out.sigmoid() * ranges, x));
        }
        Ok((out, x))
    }

    fn width(&self) -> i64 {
        self.proj_out.weight.size()[1]
    }
}
