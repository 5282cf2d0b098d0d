//! From tokens to one vector an event.

use common::Result;
use neural::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::models::linear::{Dense, normal};

/// One way to pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// Mean over the pulses.
    Mean,
    /// Largest value of each channel.
    Max,
    /// Smallest value of each channel.
    Min,
    /// Sum over the pulses.
    Sum,
    /// A learned token that stands before the pulses and attends to them.
    Class,
}

/// How tokens become one vector: the chosen poolings side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PoolingConfig {
    /// The poolings.
    pub kinds: Vec<Pool>,
    /// Only over places that hold a pulse; else over all `max_length` places, as the first experiment did.
    pub masked: bool,
    /// Also pools the features as they came in, and puts them beside.
    pub inputs: bool,
    /// Channels of a narrow layer behind the poolings; 0: none.
    pub bottleneck: i64,
}

impl Default for PoolingConfig {
    fn default() -> Self {
        Self { kinds: vec![Pool::Mean, Pool::Max], masked: true, inputs: false, bottleneck: 0 }
    }
}

impl PoolingConfig {
    /// Whether there is a class token.
    pub fn class(&self) -> bool {
        self.kinds.contains(&Pool::Class)
    }

    /// Channels behind the pooling of tokens of `dim` channels, made of features of `inputs` channels.
    pub fn width(&self, dim: i64, inputs: i64) -> i64 {
        let plain = self.kinds.iter().filter(|kind| **kind != Pool::Class).count() as i64;
        self.kinds.len() as i64 * dim + if self.inputs { plain * inputs } else { 0 }
    }
}

/// Pools tokens `[B, L, D]` to `[B, D]`; `mask` bool `[B, L]` says which places count, none: all. An event without any
/// gives zeros. `class` is the class token `[B, D]`, which only [`Pool::Class`] asks for.
pub fn pool(kind: Pool, x: &Tensor, mask: Option<&Tensor>, class: Option<&Tensor>) -> Tensor {
    let absent = |value: f64| match mask {
        Some(mask) => x.masked_fill(&mask.logical_not().unsqueeze(-1), value),
        None => x.shallow_clone(),
    };
    // Where no place counts, the extreme of nothing is infinite.
    let or_zero = |t: Tensor| {
        let none = t.isinf();
        t.masked_fill(&none, 0.0)
    };
    let sum = || absent(0.0).sum_dim_intlist([1_i64].as_slice(), false, x.kind());
    match kind {
        Pool::Sum => sum(),
        Pool::Mean => match mask {
            Some(mask) => sum() / mask.sum_dim_intlist([1_i64].as_slice(), true, Kind::Float).clamp_min(1.0),
            None => sum() / x.size()[1] as f64,
        },
        Pool::Max => or_zero(absent(f64::NEG_INFINITY).amax([1_i64].as_slice(), false)),
        Pool::Min => or_zero(absent(f64::INFINITY).amin([1_i64].as_slice(), false)),
        Pool::Class => class.unwrap_or(x).shallow_clone(),
    }
}

/// A narrow layer and the way back, with GELU between.
#[derive(Debug)]
pub struct Bottleneck {
    narrow: Dense,
    wide: Dense,
}

impl Bottleneck {
    /// `width -> channels -> width`.
    pub fn new(p: &Path, width: i64, channels: i64) -> Result<Self> {
        Ok(Self {
            narrow: Dense::new(&p.sub("narrow"), width, channels, normal())?,
            wide: Dense::new(&p.sub("wide"), channels, width, normal())?,
        })
    }

    /// `[B, width]` -> `[B, width]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.wide.forward(&self.narrow.forward(x).gelu("none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn tokens() -> (Tensor, Tensor) {
        let x = Tensor::from_slice(&[1.0_f32, -4.0, 3.0, -2.0, 900.0, -900.0]).view([1, 3, 2]);
        (x, Tensor::from_slice(&[true, true, false]).view([1, 3]))
    }

    fn values(t: &Tensor) -> Vec<f32> {
        Vec::try_from(t.flatten(0, -1)).unwrap()
    }

    #[test]
    fn masked_pooling_ignores_padding() {
        let (x, mask) = tokens();
        for (kind, expected) in
            [(Pool::Mean, [2.0, -3.0]), (Pool::Max, [3.0, -2.0]), (Pool::Min, [1.0, -4.0]), (Pool::Sum, [4.0, -6.0])]
        {
            assert_eq!(values(&pool(kind, &x, Some(&mask), None)), expected, "{kind:?}");
            let other = x.masked_fill(&mask.logical_not().unsqueeze(-1), -7.0);
            assert_eq!(values(&pool(kind, &other, Some(&mask), None)), expected, "{kind:?}");
        }
    }

    #[test]
    fn pooling_without_mask_counts_padding() {
        let (x, _) = tokens();
        assert_eq!(values(&pool(Pool::Max, &x, None, None)), [900.0, -2.0]);
        assert_eq!(values(&pool(Pool::Mean, &x, None, None)), [904.0 / 3.0, -302.0]);
        let class = Tensor::from_slice(&[5.0_f32, 6.0]).view([1, 2]);
        assert_eq!(values(&pool(Pool::Class, &x, None, Some(&class))), [5.0, 6.0]);
    }

    #[test]
    fn an_event_without_pulses_pools_to_zeros() {
        let x = Tensor::ones([1, 3, 2], (Kind::Float, Device::Cpu));
        let mask = Tensor::zeros([1, 3], (Kind::Bool, Device::Cpu));
        for kind in [Pool::Mean, Pool::Max, Pool::Min, Pool::Sum] {
            assert_eq!(values(&pool(kind, &x, Some(&mask), None)), [0.0, 0.0], "{kind:?}");
        }
    }
}
