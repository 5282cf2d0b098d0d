//! Min-max normalisation of hit positions (`src/tracknet/data/transformations.py`, `MinMaxNormalizeXYZ`).

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maps a box to the unit cube: (x - min) / (max - min), all in f32.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normalizer {
    /// Lower corner in mm. Published: (-1000, -1000, -3000).
    pub min_xyz: [f32; 3],
    /// Upper corner in mm. Published: (1000, 1000, 3000).
    pub max_xyz: [f32; 3],
}

/// As published; it vanishes in f32 next to any range of interest, and is kept for ranges near zero.
const EPSILON: f32 = 1e-9;

impl Default for Normalizer {
    fn default() -> Self {
        Self { min_xyz: [-1000.0, -1000.0, -3000.0], max_xyz: [1000.0, 1000.0, 3000.0] }
    }
}

impl Normalizer {
    /// Leaves positions as they are.
    pub const IDENTITY: Self = Self { min_xyz: [0.0; 3], max_xyz: [1.0; 3] };

    /// Sides of the box in mm.
    pub fn range(&self) -> [f32; 3] {
        std::array::from_fn(|i| (self.max_xyz[i] - self.min_xyz[i]) + EPSILON)
    }

    /// Mean side: one radius in mm for an isotropic stand-in of the ellipsoid.
    pub fn mean_range(&self) -> f32 {
        let [x, y, z] = self.range();
        (x + y + z) / 3.0
    }

    /// mm to normalised units.
    pub fn normalize(&self, xyz: [f32; 3]) -> [f32; 3] {
        let range = self.range();
        std::array::from_fn(|i| (xyz[i] - self.min_xyz[i]) / range[i])
    }

    /// Normalised units to mm.
    pub fn denormalize(&self, xyz: [f32; 3]) -> [f32; 3] {
        let range = self.range();
        std::array::from_fn(|i| xyz[i] * range[i] + self.min_xyz[i])
    }

    /// Demands a box of positive volume.
    pub fn validate(&self, at: &str, problems: &mut Problems) {
        let good = (0..3)
            .all(|i| self.min_xyz[i].is_finite() && self.max_xyz[i].is_finite() && self.max_xyz[i] > self.min_xyz[i]);
        problems.demand(good, at, || {
            format!("spans {:?} to {:?}, expected min < max on all axes", self.min_xyz, self.max_xyz)
        });
    }
}
