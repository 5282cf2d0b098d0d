//! Rotary positions: pairs of channels of queries and keys are turned by angles that grow with the place of the token,
//! so that their product depends on the distance of two tokens alone (Su et al., arXiv 2104.09864).

use common::Result;
use neural::Doing;
use tch::{Device, Kind, Tensor};

/// Channels that are turned at least, where a head has so many.
const LEAST: i64 = 32;
/// The longest wave is about so many places long.
const BASE: f64 = 10_000.0;

/// Cosines and sines for the places of a sequence, `[L, r]` each.
#[derive(Debug)]
pub struct Rotary {
    cosine: Tensor,
    sine: Tensor,
    /// Channels that are turned, the first ones of a head; the others stay.
    channels: i64,
}

impl Rotary {
    /// For `length` places and heads of `head_size` channels. Half of the channels are turned, but at least 32, where
    /// there are so many.
    pub fn new(length: i64, head_size: i64, device: Device) -> Result<Self> {
        let channels = (head_size / 2).max(LEAST).min(head_size) / 2 * 2;
        let doing = "making rotary positions";
        let exponents = Tensor::f_arange(channels / 2, (Kind::Float, device)).doing(doing)?;
        let waves = (exponents * (-2.0 * BASE.ln() / channels as f64)).exp();
        let places = Tensor::f_arange(length, (Kind::Float, device)).doing(doing)?;
        let angles = places.unsqueeze(1) * waves; // [L, r / 2]
        let angles = Tensor::cat(&[&angles, &angles], 1);
        Ok(Self { cosine: angles.cos(), sine: angles.sin(), channels })
    }

    /// Turns `[.., L, h]`.
    pub fn turn(&self, x: &Tensor) -> Tensor {
        let r = self.channels;
        let head = x.narrow(-1, 0, r);
        let (a, b) = (head.narrow(-1, 0, r / 2), head.narrow(-1, r / 2, r / 2));
        let across = Tensor::cat(&[-b, a], -1);
        let turned = &head * self.cosine.to_kind(x.kind()) + across * self.sine.to_kind(x.kind());
        let rest = x.size().last().copied().unwrap_or(r) - r;
        if rest == 0 { turned } else { Tensor::cat(&[turned, x.narrow(-1, r, rest)], -1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products of one query with one key that stand at all places, `[L, L]`.
    fn products(head_size: i64) -> Tensor {
        let rotary = Rotary::new(24, head_size, Device::Cpu).unwrap();
        tch::manual_seed(3);
        let everywhere = || Tensor::randn([1, head_size], (Kind::Float, Device::Cpu)).expand([24, head_size], false);
        let (q, k) = (everywhere(), everywhere());
        rotary.turn(&q).matmul(&rotary.turn(&k).transpose(0, 1))
    }

    #[test]
    fn products_depend_on_the_distance_of_two_places_alone() {
        for head_size in [8, 32, 64, 96] {
            let all = products(head_size);
            let near = all.narrow(0, 0, 12).narrow(1, 0, 12);
            let far = all.narrow(0, 12, 12).narrow(1, 12, 12);
            assert!((&near - far).abs().max().double_value(&[]) < 1e-4, "heads of {head_size}");
            let spread = near.get(0).std(true).double_value(&[]);
            assert!(spread > 1e-2, "heads of {head_size}: all products are the same");
        }
    }

    #[test]
    fn turning_keeps_lengths_and_the_first_place_stays() {
        let rotary = Rotary::new(5, 64, Device::Cpu).unwrap();
        let x = Tensor::randn([2, 3, 5, 64], (Kind::Float, Device::Cpu));
        let y = rotary.turn(&x);
        let squares = |t: &Tensor| t.square().sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float);
        assert!((squares(&x) - squares(&y)).abs().max().double_value(&[]) < 1e-4);
        assert!((x.select(2, 0) - y.select(2, 0)).abs().max().double_value(&[]) < 1e-6);
        assert_eq!(x.narrow(-1, 32, 32), y.narrow(-1, 32, 32), "channels beyond the turned ones stay");
    }
}
