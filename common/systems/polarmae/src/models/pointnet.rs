//! The token embedding: a small `PointNet` over the points of each group.
//!
//! As published, slots without a point take part in both maxima, with a value that depends on no data: the batch norm
//! turns them into its bias. So only slots with a point are evaluated here, and one constant vector (one for each slot
//! in the ordered form) stands for all others. Also the global half of the second map is evaluated once a group instead
//! of once a slot. All of it is exact up to rounding. Source: `MaskedMiniPointNet`.

use common::Result;
use neural::Path;
use neural::init::Init;
use neural::layers::{linear, linear_add};
use neural::precision::without_autocast;
use tch::{Kind, Tensor};

use super::norm::MaskedBatchNorm;
use super::packed::{Runs, index, run_max};

const FIRST: i64 = 128;
/// Width of the features before the first maximum.
const MIDDLE: i64 = 256;
const SECOND: i64 = 512;

/// Parameters `first_conv.{0,1,3}`, `second_conv.{0,1,3}`, `position_encoder.time_embed.1`.
#[derive(Debug)]
pub struct MiniPointNet {
    slots: i64,
    pub(super) first: Half,
    pub(super) second: Half,
    order: Option<SlotOrder>,
}

/// Convolution of width one without bias, batch norm, rectifier, convolution.
#[derive(Debug)]
pub(super) struct Half {
    conv0: Tensor,
    norm: MaskedBatchNorm,
    conv3: Tensor,
    bias3: Tensor,
}

impl Half {
    fn new(p: &Path, inputs: i64, hidden: i64, outputs: i64) -> Result<Self> {
        Ok(Self {
            conv0: p.sub(0).parameter("weight", &[hidden, inputs, 1], Init::FanIn)?,
            norm: MaskedBatchNorm::new(&p.sub(1), hidden)?,
            conv3: p.sub(3).parameter("weight", &[outputs, hidden, 1], Init::FanIn)?,
            bias3: p.sub(3).parameter("bias", &[outputs], Init::fan_in(hidden))?,
        })
    }

    /// Rows `[P, inputs]`; of inputs that the first convolution takes beside them, `[M, rest]`, row `owner[p]` belongs to
    /// row p. Its weight begins with that of those.
    pub(super) fn forward(&self, x: &Tensor, shared: Option<(&Tensor, &Tensor)>, train: bool) -> Result<Tensor> {
        let weight = self.conv0.squeeze_dim(2);
        if train {
            let hidden = match shared {
                None => x.linear(&weight, None::<&Tensor>),
                Some((rows, owner)) => {
                    let (first, second) = (rows.size()[1], x.size()[1]);
                    let shared = rows.linear(&weight.narrow(1, 0, first), None::<&Tensor>);
                    x.linear(&weight.narrow(1, first, second), None::<&Tensor>) + shared.index_select(0, owner)
                }
            };
            let rectified = self.norm.forward(&hidden, train)?.relu();
            return Ok(rectified.linear(&self.conv3.squeeze_dim(2), Some(&self.bias3)));
        }
        // The running statistics become part of the convolution.
        let (factor, shift) = self.norm.affine();
        let weight = weight * factor.unsqueeze(1);
        let hidden = match shared {
            None => linear(x, &weight, Some(&shift)),
            Some((rows, owner)) => {
                let (first, second) = (rows.size()[1], x.size()[1]);
                let shared = rows.linear(&weight.narrow(1, 0, first), Some(&shift));
                linear_add(&shared.index_select(0, owner), x, &weight.narrow(1, first, second).contiguous(), None)
            }
        };
        Ok(linear(&hidden.relu(), &self.conv3.squeeze_dim(2), Some(&self.bias3)))
    }

    /// What a slot without a point becomes: `[1, outputs]`.
    pub(super) fn of_padding(&self) -> Tensor {
        self.norm.bias.relu().unsqueeze(0).linear(&self.conv3.squeeze_dim(2), Some(&self.bias3))
    }
}

/// The encoding of the number of a slot.
#[derive(Debug)]
struct SlotOrder {
    weight: Tensor,
    bias: Tensor,
    waves: Tensor,
}

impl SlotOrder {
    fn new(p: &Path, slots: i64) -> Result<Self> {
        let p = p.sub("position_encoder.time_embed.1");
        Ok(Self {
            weight: p.parameter("weight", &[MIDDLE, MIDDLE], Init::FanIn)?,
            bias: p.parameter("bias", &[MIDDLE], Init::fan_in(MIDDLE))?,
            waves: slot_waves(slots, MIDDLE).to_device(p.device()),
        })
    }

    /// `[slots, 256]`.
    fn forward(&self) -> Tensor {
        self.waves.linear(&self.weight, Some(&self.bias)).relu()
    }
}

/// `[slots, width]`: sines, then cosines of the slot's number at falling frequencies.
fn slot_waves(slots: i64, width: i64) -> Tensor {
    let half = width / 2;
    let rate = -(10_000f64.ln()) / (half - 1) as f64;
    let frequencies = (Tensor::arange(half, (Kind::Float, tch::Device::Cpu)) * rate).exp();
    let angles = Tensor::arange(slots, (Kind::Float, tch::Device::Cpu)).unsqueeze(1) * frequencies.unsqueeze(0);
    Tensor::cat(&[angles.sin(), angles.cos()], 1)
}

/// The points of many groups.
#[derive(Debug)]
pub struct Members<'a> {
    /// `[P, channels]`, group after group, in the order of slots.
    pub features: &'a Tensor,
    /// Points of each group.
    pub runs: &'a Runs,
}

impl MiniPointNet {
    /// `channels` values a point, `dim` a token, groups of `slots`; with `ordered` the number of a slot counts.
    pub fn new(p: &Path, channels: i64, dim: i64, slots: i64, ordered: bool) -> Result<Self> {
        Ok(Self {
            slots,
            first: Half::new(&p.sub("first_conv"), channels, FIRST, MIDDLE)?,
            second: Half::new(&p.sub("second_conv"), 2 * MIDDLE, SECOND, dim)?,
            order: if ordered { Some(SlotOrder::new(p, slots)?) } else { None },
        })
    }

    /// `[groups, dim]`, in f32 whatever the precision of the rest.
    pub fn forward(&self, members: &Members, train: bool) -> Result<Tensor> {
        without_autocast(members.features.device(), || self.evaluate(members, train))
    }

    fn evaluate(&self, members: &Members, train: bool) -> Result<Tensor> {
        let Members { features, runs } = members;
        let device = features.device();
        let dim = self.second.bias3.size()[0];
        if runs.is_empty() {
            return Ok(Tensor::zeros([0, dim], (Kind::Float, device)));
        }
        let full: Vec<i64> = runs.lengths().iter().map(|&n| i64::from(n >= self.slots)).collect();
        let full = index(&full, device).to_kind(Kind::Bool).unsqueeze(1); // [M, 1]
        let mut f = self.first.forward(features, None, train)?; // [P, 256]
        let mut padding = self.first.of_padding(); // [1, 256]
        if let Some(order) = &self.order {
            let codes = order.forward(); // [S, 256]
            let slot: Vec<i64> = runs.lengths().iter().flat_map(|&n| 0..n).collect();
            f += codes.index_select(0, &index(&slot, device));
            // The largest over the slots from n on, for n = 0..S; a full group has none, and its row is not used.
            let from_here = (&padding + codes).flip([0]).cummax(0).0.flip([0]);
            let first_empty: Vec<i64> = runs.lengths().iter().map(|&n| n.min(self.slots - 1)).collect();
            padding = from_here.index_select(0, &index(&first_empty, device)); // [M, 256]
        }
        let global = with_padding(&run_max(&f, runs)?, &padding, &full); // [M, 256]
        let owner = index(&runs.owners(), device);
        let f = self.second.forward(&f, Some((&global, &owner)), train)?; // [P, dim]
        Ok(with_padding(&run_max(&f, runs)?, &self.second.of_padding(), &full))
    }
}

/// The larger of a group's points and its padding, if it has any.
fn with_padding(points: &Tensor, padding: &Tensor, full: &Tensor) -> Tensor {
    let points_win = points.ge_tensor(padding).logical_or(full);
    points.where_self(&points_win, padding)
}
