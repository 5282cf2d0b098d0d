//! Energies of voxels on a logarithmic scale: 0 becomes -1, the upper end 1.
//!
//! Source: `log_transform` and its inverse of the published data set class.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `e' = 2 (log10(E + floor) - y0) / (y1 - y0) - 1` with `y0 = log10(floor)`, `y1 = log10(floor + max)`; E in MeV.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnergyScale {
    /// Added before the logarithm, MeV, > 0. Published runs use their energy threshold, 0.13, whatever was configured.
    pub floor: f64,
    /// Energy that becomes 1, MeV, > 0. Larger ones become more than 1.
    pub max: f64,
}

impl EnergyScale {
    fn ends(self) -> (f64, f64) {
        (self.floor.log10(), (self.floor + self.max).log10())
    }

    /// MeV to the scale. In f64, rounded once.
    pub fn forward(self, energy: f64) -> f32 {
        let (y0, y1) = self.ends();
        (2.0 * ((energy + self.floor).log10() - y0) / (y1 - y0) - 1.0) as f32
    }

    /// The scale back to MeV.
    pub fn inverse(self, value: f64) -> f32 {
        let (y0, y1) = self.ends();
        (10f64.powf((value + 1.0) / 2.0 * (y1 - y0) + y0) - self.floor) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_scale_are_minus_one_and_one() {
        let scale = EnergyScale { floor: 0.13, max: 20.0 };
        assert_eq!(scale.forward(0.0), -1.0);
        assert!((scale.forward(20.0) - 1.0).abs() < 1e-6);
        assert!(scale.forward(30.0) > 1.0);
        for energy in [0.0, 0.2, 5.0, 40.0] {
            assert!((f64::from(scale.inverse(f64::from(scale.forward(energy)))) - energy).abs() < 1e-4);
        }
    }
}
