//! Heads beside the direction: energy, vertex, track or cascade, each one linear map of the vector that the direction is
//! made of too.

use common::Result;
use common::config::Problems;
use neural::Params;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::linear::{Dense, normal};

/// Which heads a network has, with the weights of their losses beside that of the direction, > 0; `null`: no such head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Decimal logarithm of the energy in GeV: smooth absolute error.
    pub energy: Option<f64>,
    /// Vertex in units of the scaled positions: smooth absolute error of each coordinate.
    pub vertex: Option<f64>,
    /// Track against cascade: cross entropy.
    pub track: Option<f64>,
}

/// Places of the targets among the five numbers of an event: log10 energy, x, y, z, track.
pub const ENERGY: i64 = 0;
/// Three numbers.
pub const VERTEX: i64 = 1;
/// One number.
pub const TRACK: i64 = 4;
/// Numbers of an event.
pub const NUMBERS: i64 = 5;

impl Targets {
    /// Whether there is no head.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Reports weights that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        for (name, weight) in [("energy", self.energy), ("vertex", self.vertex), ("track", self.track)] {
            let sound = weight.is_none_or(|w| w.is_finite() && w > 0.0);
            problems.demand(sound, &format!("{key}.{name}"), || {
                format!("is {}, expected a weight above 0, or null for no such head", weight.unwrap_or_default())
            });
        }
    }
}

/// The heads of a network.
#[derive(Debug)]
pub struct Heads {
    energy: Option<Dense>,
    vertex: Option<Dense>,
    track: Option<Dense>,
}

impl Heads {
    /// Creates the parameters `heads.energy`, `heads.vertex`, `heads.track` on vectors of `width` channels.
    pub fn new(params: &Params, targets: &Targets, width: i64) -> Result<Self> {
        let root = params.root().sub("heads");
        let head = |name: &str, wanted: bool, outputs: i64| {
            wanted.then(|| Dense::new(&root.sub(name), width, outputs, normal())).transpose()
        };
        Ok(Self {
            energy: head("energy", targets.energy.is_some(), 1)?,
            vertex: head("vertex", targets.vertex.is_some(), 3)?,
            track: head("track", targets.track.is_some(), 1)?,
        })
    }

    /// `[B, width]` -> `[B, 5]` f32: log10 energy, vertex, logit of a track; NaN where there is no head.
    pub fn forward(&self, features: &Tensor) -> Tensor {
        let of = |head: &Option<Dense>, outputs: i64| match head {
            Some(head) => head.forward(features).to_kind(Kind::Float),
            None => Tensor::full([features.size()[0], outputs], f64::NAN, (Kind::Float, features.device())),
        };
        Tensor::cat(&[of(&self.energy, 1), of(&self.vertex, 3), of(&self.track, 1)], 1)
    }
}

/// Sums of the losses of the known values of each target and how many there are: energy, vertex (coordinates), track.
pub fn losses(predicted: &Tensor, truth: &Tensor) -> [(Tensor, Tensor); 3] {
    let part = |place: i64, width: i64, loss: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
        let (p, t) = (predicted.narrow(1, place, width), truth.narrow(1, place, width));
        let known = t.isnan().logical_not();
        // What is not known adds nothing to the gradient either.
        let t = t.nan_to_num(0.0, None, None);
        let sum = (loss(&p, &t) * known.to_kind(Kind::Float)).sum(Kind::Float);
        (sum, known.sum(Kind::Int64))
    };
    let smooth = |p: &Tensor, t: &Tensor| p.smooth_l1_loss(t, tch::Reduction::None, 0.1);
    let cross =
        |p: &Tensor, t: &Tensor| p.binary_cross_entropy_with_logits::<Tensor>(t, None, None, tch::Reduction::None);
    [part(ENERGY, 1, &smooth), part(VERTEX, 3, &smooth), part(TRACK, 1, &cross)]
}

/// The weighted mean losses of the heads, f32.
pub fn loss(targets: &Targets, predicted: &Tensor, truth: &Tensor) -> Tensor {
    let weights = [targets.energy, targets.vertex, targets.track];
    let mut all = Tensor::zeros([], (Kind::Float, predicted.device()));
    for ((sum, count), weight) in losses(predicted, truth).into_iter().zip(weights) {
        if let Some(weight) = weight {
            all += sum / count.clamp_min(1).to_kind(Kind::Float) * weight;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn unknown_values_add_nothing_and_known_ones_pull() {
        let params = Params::new(Device::Cpu, 1);
        let targets = Targets { energy: Some(0.5), vertex: Some(1.0), track: Some(2.0) };
        let heads = Heads::new(&params, &targets, 4).unwrap();
        let features = Tensor::randn([3, 4], (Kind::Float, Device::Cpu));
        let nan = f32::NAN;
        let truth = [2.0_f32, 0.1, 0.2, 0.3, 1.0, nan, nan, nan, nan, nan, nan, 0.0, 0.0, 0.0, 0.0];
        let truth = Tensor::from_slice(&truth).view([3, 5]);
        let found = loss(&targets, &heads.forward(&features), &truth);
        found.backward();
        assert!(found.double_value(&[]).is_finite());
        for (name, t) in params.state() {
            assert!(
                t.grad().isfinite().all().int64_value(&[]) == 1
                    && t.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0,
                "{name}"
            );
        }
        let none = Tensor::full([3, 5], f64::NAN, (Kind::Float, Device::Cpu));
        assert_eq!(loss(&targets, &heads.forward(&features), &none).double_value(&[]), 0.0);
        let some = Targets { track: Some(1.0), ..Targets::default() };
        let params = Params::new(Device::Cpu, 1);
        let out = Heads::new(&params, &some, 4).unwrap().forward(&features);
        assert_eq!(params.state().len(), 2);
        assert_eq!(out.isnan().sum(Kind::Int64).int64_value(&[]), 12);
        assert!(loss(&some, &out, &truth).double_value(&[]).is_finite());
    }
}
