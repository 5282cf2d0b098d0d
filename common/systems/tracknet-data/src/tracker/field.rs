//! The field of a solenoid of finite length. Beyond about 1.5 m from the middle of the TrackML detector the field along
//! the beam falls off, and its radial part bends tracks back: a tracker that knows a uniform field loses the outer disks.
//!
//! On the axis the field is that of a thin solenoid, B(z) = B(0) g(z) with g(z) = (f(z + L) - f(z - L)) / (2 f(L)) and
//! f(x) = x / sqrt(x² + R²); off the axis the radial part is -r g'(z) / 2, the first order of div B = 0 (Jackson, section
//! 5.3). A track that leaves the axis at slope s = dz/dr turns as in a field of g(z) + r s g'(z) / 2 along the beam.

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::helix::length;

/// A solenoid around the beam, its middle at z = 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Solenoid {
    /// Half of its length, mm, > 0.
    pub half_length: f64,
    /// Radius of its coil, mm, > 0.
    pub radius: f64,
}

impl Solenoid {
    /// That of the TrackML detector: fitted to how the true momenta of a real event turn between hits.
    pub const TRACKML: Self = Self { half_length: 2667.0, radius: 1082.0 };

    fn end(&self, x: f64) -> f64 {
        x / length(x, self.radius)
    }

    /// Field along the beam on the axis at `z` mm, in units of that in the middle.
    pub fn axial(&self, z: f64) -> f64 {
        let l = self.half_length;
        (self.end(z + l) - self.end(z - l)) / (2.0 * self.end(l))
    }

    /// Its change per mm.
    pub fn gradient(&self, z: f64) -> f64 {
        let l = self.half_length;
        let slope = |x: f64| self.radius * self.radius / length(x, self.radius).powi(3);
        (slope(z + l) - slope(z - l)) / (2.0 * self.end(l))
    }

    /// The integral of `axial` from 0 to `z`, mm.
    fn integral(&self, z: f64) -> f64 {
        let l = self.half_length;
        (length(z + l, self.radius) - length(z - l, self.radius)) / (2.0 * self.end(l))
    }

    /// Checks ranges.
    pub fn validate(&self, at: &str, problems: &mut Problems) {
        for (key, value) in [("half_length", self.half_length), ("radius", self.radius)] {
            problems.demand(value > 0.0 && value.is_finite(), &format!("{at}.{key}"), || {
                format!("is {value}, expected > 0")
            });
        }
    }
}

/// What turns a track at `z`, in units of the field in the middle; `lever` is its distance from the axis times its slope, mm.
pub fn turning(solenoid: Option<&Solenoid>, z: f64, lever: f64) -> f64 {
    solenoid.map_or(1.0, |s| s.axial(z) + 0.5 * lever * s.gradient(z))
}

/// The mean of `turning` from `from` to `to` for a track that leaves the axis at `origin`; all mm.
pub fn mean_turning(solenoid: Option<&Solenoid>, origin: f64, from: f64, to: f64) -> f64 {
    let Some(s) = solenoid else { return 1.0 };
    if (to - from).abs() < 1.0 {
        let z = 0.5 * (from + to);
        return turning(solenoid, z, z - origin);
    }
    let upto = |z: f64| 0.5 * s.integral(z) + 0.5 * (z - origin) * s.axial(z);
    (upto(to) - upto(from)) / (to - from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_and_mean_are_those_of_the_field() {
        let s = Solenoid::TRACKML;
        assert!((s.axial(0.0) - 1.0).abs() < 1e-12);
        for z in [-2900.0, -700.0, 10.0, 1500.0, 2600.0] {
            let h = 0.01;
            let slope = (s.axial(z + h) - s.axial(z - h)) / (2.0 * h);
            assert!((s.gradient(z) - slope).abs() < 1e-9, "{z}: {} {slope}", s.gradient(z));
        }
        // Midpoint rule with many steps.
        for (origin, from, to) in [(0.0, 0.0, 2900.0), (-120.0, -400.0, -2500.0), (50.0, 600.0, 603.0)] {
            let n = 20_000;
            let sum: f64 = (0..n)
                .map(|i| {
                    let z = from + (to - from) * (f64::from(i) + 0.5) / f64::from(n);
                    turning(Some(&s), z, z - origin)
                })
                .sum();
            let mean = mean_turning(Some(&s), origin, from, to);
            assert!((mean - sum / f64::from(n)).abs() < 1e-6, "{mean} {}", sum / f64::from(n));
        }
        assert_eq!(mean_turning(None, 0.0, 5.0, 900.0), 1.0);
    }
}
