//! Under what conditions events were taken: where collisions happen, how precisely hits are measured, the field. Stated
//! for both phases of TrackML, estimated from training tracks, kept in the checkpoint.

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bends::Bends;
use super::field::Solenoid;
use super::helix::{Estimate, MM_PER_GEV, estimate};
use super::known::Known;
use crate::tracks::{Tracks, pt};

/// What the tracker takes as known of the events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Middle of the beam spot along the beam, mm.
    pub beam_z: f64,
    /// Width (standard deviation) of the beam spot along the beam, mm, > 0. Accuracy phase: 5.9; throughput phase: 49.
    pub beam_sigma_z: f64,
    /// Width of the beam spot across the beam, mm, > 0.
    pub beam_sigma_r: f64,
    /// Field along the beam in the middle of the detector, T, > 0. Both phases: 2.
    pub field: f64,
    /// The solenoid that makes it, whose field falls off along the beam; `null`: the same field everywhere.
    pub solenoid: Option<Solenoid>,
    /// Resolution of cylinders across and along, mm, > 0: pixels, short strips, long strips. Steps between modules are in it.
    pub resolution: [[f64; 2]; 3],
    /// Resolution of disks along the circle and along the radius, mm, > 0, of the same kinds. The strips of a disk's module
    /// are parallel to each other, not to the radius: long ones measure the azimuth badly.
    pub resolution_disks: [[f64; 2]; 3],
    /// Scattering angle of a layer times momentum, GeV rad, >= 0.
    pub scattering: f64,
    /// Share of the hits that are noise, of cylinders and disks, 0 <= share < 1, of the same kinds.
    pub noise: [[f64; 2]; 3],
}

impl Default for Conditions {
    fn default() -> Self {
        Self::ACCURACY
    }
}

/// Tracks that an estimate needs at least.
const LEAST: usize = 50;
/// Tracks within this of the middle tell the strength of the field, mm.
const CENTRAL: f32 = 800.0;
/// Widths of the beam spot within which tracks are looked for.
const REACH: f64 = 3.73;

/// Tracks that pass the axis farther away than this come from elsewhere, mm.
const ELSEWHERE: f64 = 2.0;

impl Conditions {
    /// The accuracy phase of TrackML, measured on a real event.
    pub const ACCURACY: Self = Self {
        beam_z: 0.0,
        beam_sigma_z: 5.9,
        beam_sigma_r: 0.015,
        field: 2.0,
        solenoid: Some(Solenoid::TRACKML),
        resolution: [[0.004, 0.01], [0.018, 0.26], [0.028, 3.0]],
        resolution_disks: [[0.016, 0.01], [0.021, 0.33], [0.11, 3.0]],
        scattering: 0.0019,
        noise: [[0.07, 0.05], [0.2, 0.14], [0.58, 0.21]],
    };
    /// The throughput phase of TrackML: a wide beam spot.
    pub const THROUGHPUT: Self = Self { beam_sigma_z: 49.0, ..Self::ACCURACY };

    /// Farthest from the middle of the beam spot that tracks are looked for, mm.
    pub fn max_z0(&self) -> f64 {
        REACH * self.beam_sigma_z
    }

    /// Whether a track comes from elsewhere than the beam spot: its seeds do not point there.
    pub fn points_elsewhere(&self, points: &[[f32; 3]]) -> bool {
        let far = |found: Estimate| found.d0.abs() > ELSEWHERE || (found.z0 - self.beam_z).abs() > self.max_z0();
        estimate(points).is_some_and(far)
    }

    /// Resolution of a kind of module on a disk or cylinder, mm.
    pub fn resolution_of(&self, kind: usize, disk: bool) -> [f64; 2] {
        if disk { self.resolution_disks[kind] } else { self.resolution[kind] }
    }

    /// mm of radius of curvature per GeV/c of transverse momentum.
    pub fn mm_per_gev(&self) -> f64 {
        MM_PER_GEV * 2.0 / self.field
    }

    /// Beam spot, field and its solenoid from true tracks in mm; what they do not tell stays. None for too few tracks.
    pub fn estimated(&self, parts: &[Tracks]) -> Option<Self> {
        let (mut places, mut fields) = (Vec::new(), Vec::new());
        for part in parts {
            for i in 0..part.len() {
                let points = &part.xyz[part.hits(i)];
                let Some(found) = estimate(points).filter(|_| points.len() >= 4) else { continue };
                let truth = f64::from(pt(part.momentum[i]));
                // Tracks from elsewhere say nothing of the beam spot, straight and soft ones nothing of the field.
                if found.d0.abs() < 1.0 && points[0][0].hypot(points[0][1]) < 60.0 {
                    places.push(found.z0);
                }
                let central = points.iter().all(|p| p[2].abs() < CENTRAL);
                if (0.5..3.0).contains(&truth) && points.len() >= 6 && found.d0.abs() < 5.0 && central {
                    fields.push(2.0 * truth / found.pt);
                }
            }
        }
        if places.len() < LEAST {
            return None;
        }
        let middle = quantile(&mut places, 0.5);
        // Half of the distance between the quantiles at one standard deviation: tails of other origin do not matter.
        let width = 0.5 * (quantile(&mut places, 0.8413) - quantile(&mut places, 0.1587));
        let field = if fields.len() < LEAST { self.field } else { quantile(&mut fields, 0.5) };
        let known = Self { beam_z: middle, beam_sigma_z: width.max(0.1), field, ..*self };
        Some(Self { solenoid: Bends::of(parts, &known).map_or(known.solenoid, |bends| bends.solenoid()), ..known })
    }

    /// What training events say of resolution, noise, scattering and the width of the beam spot, where their truth says it.
    #[must_use]
    pub fn told(self, known: &Known) -> Self {
        let mut told = self;
        for kind in 0..3 {
            for k in 0..2 {
                let take = |slot: &mut f64, value: Option<f64>, least: f64| {
                    if let Some(value) = value {
                        *slot = value.max(least);
                    }
                };
                take(&mut told.resolution[kind][k], known.resolution[2 * kind][k], 1e-4);
                take(&mut told.resolution_disks[kind][k], known.resolution[2 * kind + 1][k], 1e-4);
                take(&mut told.noise[kind][k], known.noise[2 * kind + k], 0.0);
            }
        }
        told.scattering = known.scattering.unwrap_or(told.scattering);
        told.beam_sigma_r = known.beam_sigma_r.map_or(told.beam_sigma_r, |width| width.max(1e-4));
        told
    }

    /// Checks ranges.
    pub fn validate(&self, at: &str, problems: &mut Problems) {
        if let Some(solenoid) = &self.solenoid {
            solenoid.validate(&format!("{at}.solenoid"), problems);
        }
        let mut positive = |key: &str, value: f64| {
            problems.demand(value > 0.0 && value.is_finite(), &format!("{at}.{key}"), || {
                format!("is {value}, expected > 0")
            });
        };
        positive("beam_sigma_z", self.beam_sigma_z);
        positive("beam_sigma_r", self.beam_sigma_r);
        positive("field", self.field);
        let both = self.resolution.iter().chain(&self.resolution_disks);
        both.flatten().for_each(|sigma| positive("resolution", *sigma));
        for share in self.noise.as_flattened() {
            problems.demand((0.0..1.0).contains(share), &format!("{at}.noise"), || {
                format!("has {share}, expected 0 <= share < 1")
            });
        }
        problems.demand(self.beam_z.is_finite(), &format!("{at}.beam_z"), || "is not finite".into());
        problems.demand(self.scattering >= 0.0 && self.scattering.is_finite(), &format!("{at}.scattering"), || {
            format!("is {}, expected >= 0", self.scattering)
        });
    }

    /// What contradicts these conditions in the places `z0` of found tracks: a sentence with figures; none where all
    /// is well or too little is known.
    pub fn contradiction(&self, z0: &[f64], max_z0: f64) -> Option<String> {
        let near: Vec<f64> = z0.iter().map(|z| (z - self.beam_z).abs()).filter(|z| *z <= max_z0).collect();
        let outer = near.iter().filter(|z| **z > 0.6 * max_z0).count();
        if near.len() < 20 || (outer as f64) < 0.2 * near.len() as f64 {
            return None;
        }
        Some(format!(
            "{outer} of {} tracks start in the outer two fifths of the window of +-{max_z0:.0} mm around z = {:.1} mm: tracks \
             beyond it are lost (the beam spot was {:.1} mm wide in training)",
            near.len(),
            self.beam_z,
            self.beam_sigma_z
        ))
    }
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    let at = ((values.len() - 1) as f64 * share).round() as usize;
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::particle::State;

    #[test]
    fn beam_spot_and_field_are_found_in_true_tracks() {
        let mut tracks = Tracks::new();
        for i in 0..200 {
            let share = (f64::from(i) + 0.5) / 200.0;
            // Quantiles of a wide beam spot.
            let z = 60.0 * (share / (1.0 - share)).ln() / 1.702;
            let state = State {
                position: [0.0, 0.0, 4.0 + z],
                phi: f64::from(i),
                pt: 1.2,
                slope: 0.4,
                charge: 1.0,
                turning: 1.0,
            };
            tracks.particle_id.push(i64::from(i));
            tracks.momentum.push([1.2, 0.0, 0.48]);
            for turn in [0.01, 0.03, 0.06, 0.09, 0.15, 0.2, 0.3] {
                tracks.xyz.push(state.turned(turn).position.map(|v| v as f32));
            }
            tracks.offsets.push(tracks.xyz.len());
        }
        let found = Conditions::ACCURACY.estimated(&[tracks]).unwrap();
        assert!((found.beam_z - 4.0).abs() < 3.0 && (found.beam_sigma_z - 60.0).abs() < 6.0, "{found:?}");
        assert!((found.field - 2.0).abs() < 0.02, "{found:?}");
        assert!(found.max_z0() > 200.0);
    }

    #[test]
    fn a_spectrum_that_is_cut_at_the_window_is_told() {
        let conditions = Conditions::ACCURACY;
        let narrow: Vec<f64> = (0..100).map(|i| 5.0 * (f64::from(i) / 50.0 - 1.0)).collect();
        assert_eq!(conditions.contradiction(&narrow, 22.0), None);
        let wide: Vec<f64> = (0..100).map(|i| 22.0 * (f64::from(i) / 50.0 - 1.0)).collect();
        assert!(conditions.contradiction(&wide, 22.0).unwrap().contains("+-22 mm"));
    }
}
