//! Classes of particles and tracks by a kinematic variable, and intervals of the ratios in them.

use crate::figures::Counts;
use crate::tracker::helix::Estimate;
use crate::tracks::pt;

/// What particles and tracks are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// Transverse momentum, GeV/c.
    Pt,
    /// Pseudorapidity.
    Eta,
    /// Azimuth of the momentum, rad.
    Phi,
    /// Place along the beam where it starts (particle) or is nearest to the axis (track), mm.
    Z0,
    /// Distance of the vertex from the axis; of a track, its least distance |d0|; mm.
    VertexRadius,
    /// Hits, of a particle one a layer.
    Hits,
}

impl Variable {
    /// All, in the order of reports.
    pub const ALL: [Self; 6] = [Self::Pt, Self::Eta, Self::Phi, Self::Z0, Self::VertexRadius, Self::Hits];

    /// Name in reports: `by_NAME`.
    pub fn name(self) -> &'static str {
        ["pt", "eta", "phi", "z0", "vertex_radius", "hits"][self as usize]
    }

    /// What stands below an axis.
    pub fn label(self) -> &'static str {
        ["pT (GeV/c)", "pseudorapidity", "azimuth (rad)", "z0 (mm)", "radius of the vertex (mm)", "hits"][self as usize]
    }

    /// Bounds of the classes; the outer ones hold everything beyond.
    fn bounds(self) -> &'static [f32] {
        use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI};
        const INF: f32 = f32::INFINITY;
        match self {
            Self::Pt => &[0.0, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, INF],
            Self::Eta => &[-INF, -4.0, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, INF],
            Self::Phi => {
                &[-PI, -3.0 * FRAC_PI_4, -FRAC_PI_2, -FRAC_PI_4, 0.0, FRAC_PI_4, FRAC_PI_2, 3.0 * FRAC_PI_4, PI]
            }
            Self::Z0 => &[-INF, -100.0, -50.0, -20.0, -10.0, -5.0, 0.0, 5.0, 10.0, 20.0, 50.0, 100.0, INF],
            Self::VertexRadius => &[0.0, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, INF],
            Self::Hits => &[0.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 15.0, INF],
        }
    }

    /// The value of a particle.
    pub fn of_particle(self, momentum: [f32; 3], vertex: [f32; 3], layers: usize) -> f32 {
        match self {
            Self::Pt => pt(momentum),
            Self::Eta => (momentum[2] / pt(momentum).max(1e-9)).asinh(),
            Self::Phi => momentum[1].atan2(momentum[0]),
            Self::Z0 => vertex[2],
            Self::VertexRadius => vertex[0].hypot(vertex[1]),
            Self::Hits => layers as f32,
        }
    }

    /// The value of a track.
    pub fn of_track(self, estimate: &Estimate, hits: usize) -> f64 {
        match self {
            Self::Pt => estimate.pt,
            Self::Eta => estimate.slope.asinh(),
            Self::Phi => estimate.phi,
            Self::Z0 => estimate.z0,
            Self::VertexRadius => estimate.d0.abs(),
            Self::Hits => hits as f64,
        }
    }
}

/// Counts by class of one variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Classes {
    /// The variable.
    pub variable: Variable,
    /// Counts of each class.
    pub counts: Vec<Counts>,
    /// What has no value of the variable, such as particles whose file says no vertex.
    pub undefined: Counts,
}

impl Classes {
    /// Empty classes.
    pub fn new(variable: Variable) -> Self {
        let counts = vec![Counts::default(); variable.bounds().len() - 1];
        Self { variable, counts, undefined: Counts::default() }
    }

    /// Adds to the class of a value.
    pub fn add(&mut self, value: f32, counts: Counts) {
        if value.is_nan() {
            self.undefined += counts;
            return;
        }
        let at = self.variable.bounds().partition_point(|bound| *bound <= value);
        let last = self.counts.len();
        self.counts[at.clamp(1, last) - 1] += counts;
    }

    /// Bounds and counts of each class.
    pub fn iter(&self) -> impl Iterator<Item = ((f32, f32), &Counts)> {
        self.variable.bounds().windows(2).map(|w| (w[0], w[1])).zip(&self.counts)
    }
}

impl std::ops::AddAssign<&Classes> for Classes {
    fn add_assign(&mut self, other: &Classes) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, more)| *sum += *more);
        self.undefined += other.undefined;
    }
}

/// The interval of a share `part` of `whole` at one standard deviation (68.27 %), after Wilson (1927); NaN of nothing.
pub fn interval(part: u64, whole: u64) -> (f64, f64) {
    let (n, p) = (whole as f64, part as f64 / whole as f64);
    let centre = (p + 0.5 / n) / (1.0 + 1.0 / n);
    let half = (p * (1.0 - p) / n + 0.25 / (n * n)).sqrt() / (1.0 + 1.0 / n);
    // Rounding must not keep a full share from its bound.
    let (low, high) = (if part == 0 { 0.0 } else { centre - half }, if part == whole { 1.0 } else { centre + half });
    if whole == 0 { (f64::NAN, f64::NAN) } else { (low, high) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_class_and_nan_in_none() {
        for variable in Variable::ALL {
            let mut classes = Classes::new(variable);
            let one = Counts { tracks: 1, ..Counts::default() };
            for value in [-1e6, -3.2, 0.0, 0.42, 3.2, 1e6, f32::INFINITY] {
                classes.add(value, one);
            }
            classes.add(f32::NAN, one);
            assert_eq!(classes.counts.iter().map(|c| c.tracks).sum::<u64>(), 7, "{variable:?}");
            assert_eq!(classes.undefined.tracks, 1);
        }
    }

    #[test]
    fn intervals_hold_the_share_and_stay_in_bounds() {
        let (low, high) = interval(5, 10);
        assert!((low - 0.3492).abs() < 1e-3 && (high - 0.6508).abs() < 1e-3, "{low} {high}");
        let (low, high) = interval(10, 10);
        assert!(high == 1.0 && (low - 10.0 / 11.0).abs() < 1e-12, "{low} {high}");
        let (low, high) = interval(0, 10);
        assert!(low == 0.0 && high > 0.0);
        assert!(interval(0, 0).0.is_nan());
    }
}
