//! Adjacency and distance beside the attention: the graph transformer of Maziarka et al. (arXiv 2002.08264).
//!
//! A token's output is `(la softmax(q k) + lg A + ld exp(-D)) v`, where `A` is 1 for sensors nearer than a limit and `D`
//! the distance of the sensors.

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::models::recorded::root;

/// Weights of the three matrices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatricesConfig {
    /// Sensors nearer than this are adjacent, in the units of `scaling`.
    pub near: f64,
    /// Weight of the attention.
    pub attention: f64,
    /// Weight of the adjacency.
    pub adjacency: f64,
    /// Weight of the distance.
    pub distance: f64,
}

impl Default for MatricesConfig {
    fn default() -> Self {
        Self { near: 0.015, attention: 1.0, adjacency: 0.5, distance: 0.5 }
    }
}

impl MatricesConfig {
    /// Reports numbers that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        for (name, value) in [
            ("near", self.near),
            ("attention", self.attention),
            ("adjacency", self.adjacency),
            ("distance", self.distance),
        ] {
            problems.demand(value.is_finite() && value >= 0.0, &format!("{key}.{name}"), || {
                format!("is {value}, expected a finite number of 0 or more")
            });
        }
    }

    /// What is added to the attention weights, `[B, 1, L, L]`, of places `[B, L, 3]`; 0 for pairs of which one is padded
    /// (`mask`, bool `[B, L]`).
    pub fn added(&self, places: &Tensor, mask: &Tensor) -> Tensor {
        let squared = (places.unsqueeze(2) - places.unsqueeze(1)).square();
        let distance = root(&squared.sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float));
        let adjacent = distance.lt(self.near).to_kind(Kind::Float);
        let both = mask.unsqueeze(2).logical_and(&mask.unsqueeze(1)).to_kind(Kind::Float);
        ((adjacent * self.adjacency + (-distance).exp() * self.distance) * both).unsqueeze(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_sensors_are_adjacent_and_padding_adds_nothing() {
        let places = Tensor::from_slice(&[0.0_f32, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 0.3, 0.4, 0.0, 0.0, 0.0]);
        let mask = Tensor::from_slice(&[true, true, true, false]).view([1, 4]);
        let added = MatricesConfig::default().added(&places.view([1, 4, 3]), &mask);
        let at = |i: i64, j: i64| added.double_value(&[0, 0, i, j]);
        assert!((at(0, 0) - 1.0).abs() < 1e-6);
        assert!((at(0, 1) - (0.5 + 0.5 * (-0.01_f64).exp())).abs() < 1e-6);
        assert!((at(0, 2) - 0.5 * (-0.5_f64).exp()).abs() < 1e-6);
        assert_eq!((at(0, 3), at(3, 0), at(3, 3)), (0.0, 0.0, 0.0));
        assert_eq!(added, added.transpose(2, 3));
    }
}
