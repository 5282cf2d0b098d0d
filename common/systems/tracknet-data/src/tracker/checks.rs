//! What the tracks and hits of a prediction say against the conditions that were taken as known.

use super::conditions::Conditions;
use super::fit::Fit;
use super::state::Point;
use crate::event::Hits;
use crate::measured::REGIONS;

/// Tracks that a check needs at least.
const LEAST: usize = 40;
/// How far the spread may be off before it is told: chi2 of a degree of freedom, widths of the beam spot.
const SPREAD: [f64; 2] = [0.4, 2.5];
const BEAM: f64 = 2.5;
/// How much of the hits of a region may lie on no track beside what is noise in training.
const LOST: f64 = 0.6;
/// Part of the noise of the training that must be there at least: tracks do not take noise.
const QUIET: f64 = 0.6;

/// What is collected of the events.
#[derive(Debug, Default)]
pub struct Checks {
    /// chi2 over degrees of freedom of tracks in cylinders alone, and of those with hits on disks.
    spread: [Vec<f64>; 2],
    /// d0 in units of what the fit and the beam spot allow.
    across: Vec<f64>,
    /// Hits on no track, and all, by region.
    left: [[u64; 2]; 6],
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    let at = sorted.len() / 2;
    *sorted.select_nth_unstable_by(at, f64::total_cmp).1
}

impl std::ops::AddAssign for Checks {
    fn add_assign(&mut self, other: Self) {
        self.spread.iter_mut().zip(other.spread).for_each(|(all, more)| all.extend(more));
        self.across.extend(other.across);
        for (all, more) in self.left.iter_mut().zip(other.left) {
            all[0] += more[0];
            all[1] += more[1];
        }
    }
}

impl Checks {
    /// Adds fitted tracks.
    pub fn tracks<'t>(&mut self, tracks: impl Iterator<Item = (&'t [Point], &'t Fit)>, conditions: &Conditions) {
        for (points, fit) in tracks.filter(|(points, fit)| points.len() >= 6 && fit.degrees > 0) {
            let disks = usize::from(points.iter().any(|p| p.disk));
            self.spread[disks].push(fit.chi2 / fit.degrees as f64);
            let pt = fit.parameters[3].sin() / fit.parameters[4].abs().max(1e-9);
            // Soft tracks and those from elsewhere say nothing of the beam spot.
            if pt > 0.7 && fit.parameters[0].abs() < 1.0 {
                let width = (fit.covariance[0][0] + conditions.beam_sigma_r.powi(2)).sqrt();
                self.across.push(fit.parameters[0].abs() / width);
            }
        }
    }

    /// Adds the hits of an event; `on_track` says which lie on one.
    pub fn hits(&mut self, hits: &Hits, on_track: impl Fn(usize) -> bool) {
        for row in 0..hits.len() {
            let point = Point::new(hits.xyz[row], hits.volume[row]);
            let counts = &mut self.left[2 * point.kind + usize::from(point.disk)];
            counts[0] += u64::from(!on_track(row));
            counts[1] += 1;
        }
    }

    /// What contradicts the conditions: sentences with figures and the key that changes them.
    pub fn contradictions(&self, conditions: &Conditions) -> Vec<String> {
        let mut told = Vec::new();
        for (spread, key, where_) in
            [(&self.spread[0], "resolution", "in the barrel"), (&self.spread[1], "resolution_disks", "in the end-caps")]
        {
            if spread.len() < LEAST {
                continue;
            }
            let found = median(spread);
            if !(SPREAD[0]..SPREAD[1]).contains(&found) {
                told.push(format!(
                    "hits {where_} lie {:.1} times as far from {} fitted tracks as resolution, scattering and field of the training \
                     allow (median of chi2 over degrees of freedom: {found:.2}): say what holds with `conditions.{key}`, \
                     `conditions.scattering` and `conditions.solenoid`, or train on such events",
                    found.sqrt(),
                    spread.len()
                ));
            }
        }
        if self.across.len() >= LEAST {
            // The median of the absolute value of a standard normal number.
            let found = median(&self.across) / 0.6745;
            if found > BEAM {
                told.push(format!(
                    "{} tracks above 0.7 GeV/c start {found:.1} times as far from the axis as a beam spot that is {:.3} mm wide \
                     allows: `conditions.beam_sigma_r={:.3}`, or another place of the beam",
                    self.across.len(),
                    conditions.beam_sigma_r,
                    conditions.beam_sigma_r * found
                ));
            }
        }
        for (at, [left, all]) in self.left.into_iter().enumerate().filter(|(_, [_, all])| *all >= 500) {
            let (found, known) = (left as f64 / all as f64, conditions.noise[at / 2][at % 2]);
            if found > known + LOST || found < QUIET * known {
                told.push(format!(
                    "{:.0} % of the hits of {} are on no track, {:.0} % were noise in training: `conditions.noise`, or tracks were lost",
                    100.0 * found,
                    REGIONS[at],
                    100.0 * known
                ));
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(chi2: f64, d0: f64) -> Fit {
        let mut covariance = [[0.0; 5]; 5];
        covariance[0][0] = 1e-4;
        Fit { parameters: [d0, 0.0, 0.3, 1.2, 0.5], covariance, chi2, degrees: 10 }
    }

    #[test]
    fn what_fits_is_silent_and_wider_residuals_beam_and_noise_are_told_with_their_keys() {
        let points = vec![Point::new([30.0, 0.0, 5.0], 8); 8];
        let conditions = Conditions::ACCURACY;
        let of = |chi2: f64, d0: f64| {
            let fits = vec![fit(chi2, d0); 50];
            let mut checks = Checks::default();
            checks.tracks(fits.iter().map(|fit| (points.as_slice(), fit)), &conditions);
            checks.contradictions(&conditions)
        };
        assert!(of(10.0, 0.01).is_empty());
        let told = of(60.0, 0.01);
        assert!(told.len() == 1 && told[0].contains("conditions.resolution`"), "{told:?}");
        let told = of(10.0, 0.2);
        assert!(told.len() == 1 && told[0].contains("conditions.beam_sigma_r="), "{told:?}");
        let mut checks = Checks::default();
        let n = 1000;
        let hits = Hits {
            hit_id: (0..n).collect(),
            xyz: vec![[30.0, 0.0, 0.0]; n as usize],
            volume: vec![8; n as usize],
            layer: vec![2; n as usize],
            module: vec![1; n as usize],
        };
        checks.hits(&hits, |row| row >= 800);
        let told = checks.contradictions(&conditions);
        assert!(told.len() == 1 && told[0].contains("80 % of the hits of pixels, barrel"), "{told:?}");
    }
}
