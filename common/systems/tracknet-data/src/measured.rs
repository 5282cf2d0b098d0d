//! What the truth of events says about how they were taken: resolution, noise and scattering for the tracker, and the
//! figures that simulated events are held against real ones by.

use std::collections::HashMap;

use crate::event::{Hits, Particles, Places, Truth};
use crate::tracker::helix::turn;
use crate::tracker::known::Known;
use crate::tracker::state::Point;
use crate::tracks::pt;

/// Kinds of modules on cylinders and disks, in the order of all lists here.
pub const REGIONS: [&str; 6] = [
    "pixels, barrel",
    "pixels, end-caps",
    "short strips, barrel",
    "short strips, end-caps",
    "long strips, barrel",
    "long strips, end-caps",
];

/// The region of a volume of TrackML.
fn region(volume: i32) -> usize {
    let point = Point::new([0.0; 3], volume);
    2 * point.kind + usize::from(point.disk)
}

/// Particles that start nearer to the axis than this come from the beam spot, mm.
const PRIMARY: f32 = 1.0;
/// Values that a width is made of at least.
const FEWEST: usize = 50;

/// Samples of many events.
#[derive(Debug, Default)]
pub struct Measured {
    events: u64,
    hits: u64,
    particles: u64,
    with_hits: u64,
    of_particles: u64,
    /// Distances of measured from true places: around the axis, along it (cylinders) or along the radius (disks), mm.
    residuals: [[Vec<f32>; 2]; 6],
    /// Noise and all hits.
    noise: [[u64; 2]; 6],
    /// Layers of particles, and those with more than one hit.
    doubles: [[u64; 2]; 6],
    /// Layers between two others of the same volume that a particle hit, and those of them without a hit.
    holes: [[u64; 2]; 6],
    /// Change of the polar angle from hit to hit times momentum, GeV rad, corrected for the angle of crossing: cylinders of pixels
    /// and of short strips.
    kinks: [Vec<f32>; 2],
    /// Share of the momentum lost from the first to the last of more than five hits.
    losses: Vec<f32>,
    transverse: Vec<f32>,
    primary: Vec<f32>,
    secondary: Vec<f32>,
    eta: Vec<f32>,
    radii: Vec<f32>,
    across: Vec<f32>,
    along: Vec<f32>,
}

fn quantile(values: &[f32], share: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    f64::from(*sorted.select_nth_unstable_by(at, f32::total_cmp).1)
}

/// Width of a distribution around its median, in which few far-off values count little: the mean of what 68.27 % and 95 % of a
/// normal one say.
fn width(values: &[f32]) -> f64 {
    let middle = quantile(values, 0.5) as f32;
    let off: Vec<f32> = values.iter().map(|v| (v - middle).abs()).collect();
    0.5 * (quantile(&off, 0.6827) + quantile(&off, 0.95) / 1.96)
}

fn share([part, whole]: [u64; 2]) -> f64 {
    part as f64 / whole as f64
}

impl Measured {
    /// Adds an event.
    pub fn add(&mut self, hits: &Hits, particles: &Particles, truth: &Truth) {
        let Ok(places) = Places::of(&hits.hit_id, std::path::Path::new("")) else { return };
        self.events += 1;
        self.hits += hits.len() as u64;
        let mut rows_of: HashMap<i64, Vec<(usize, usize)>> = HashMap::new();
        for (row, (hit, particle)) in truth.hit_id.iter().zip(&truth.particle_id).enumerate() {
            let Some(place) = places.get(*hit) else { continue };
            let region = region(hits.volume[place]);
            self.noise[region][1] += 1;
            if *particle == 0 {
                self.noise[region][0] += 1;
                continue;
            }
            rows_of.entry(*particle).or_default().push((row, place));
            let [x, y, z] = hits.xyz[place].map(f64::from);
            let [tx, ty, tz] = truth.position[row].map(f64::from);
            if tx.is_finite() && ty.is_finite() && tz.is_finite() {
                let around = tx.hypot(ty) * turn(y.atan2(x) - ty.atan2(tx));
                let along = if region % 2 == 1 { x.hypot(y) - tx.hypot(ty) } else { z - tz };
                self.residuals[region][0].push(around as f32);
                self.residuals[region][1].push(along as f32);
            }
        }
        for i in 0..particles.particle_id.len() {
            let (momentum, [vx, vy, vz]) = (particles.momentum[i], particles.vertex[i]);
            self.particles += 1;
            self.transverse.push(pt(momentum));
            let radius = vx.hypot(vy);
            if radius.is_finite() {
                self.radii.push(radius);
                (if radius < PRIMARY { &mut self.primary } else { &mut self.secondary }).push(pt(momentum));
                if radius < PRIMARY {
                    self.across.extend([vx, vy]);
                    self.along.push(vz);
                    self.eta.push((momentum[2] / pt(momentum).max(1e-9)).asinh().abs());
                }
            }
            let Some(rows) = rows_of.get_mut(&particles.particle_id[i]) else { continue };
            self.with_hits += 1;
            self.of_particles += rows.len() as u64;
            self.particle(rows, hits, truth);
        }
    }

    /// Adds the hits of one particle: rows of the truth and of the hits.
    fn particle(&mut self, rows: &mut [(usize, usize)], hits: &Hits, truth: &Truth) {
        rows.sort_by_key(|(_, place)| (hits.volume[*place], hits.layer[*place]));
        let key = |place: usize| (hits.volume[place], hits.layer[place]);
        let mut layers: Vec<(i32, i32)> = Vec::new();
        for group in rows.chunk_by(|a, b| key(a.1) == key(b.1)) {
            let of = key(group[0].1);
            layers.push(of);
            let counts = &mut self.doubles[region(of.0)];
            counts[0] += u64::from(group.len() > 1);
            counts[1] += 1;
        }
        // Layers of a volume have even numbers.
        for pair in layers.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let missed = u64::from(pair[1].1 - pair[0].1 == 4);
            let counts = &mut self.holes[region(pair[0].0)];
            counts[0] += missed;
            counts[1] += missed;
        }
        for three in layers.windows(3).filter(|l| l[0].0 == l[2].0 && l[2].1 - l[0].1 == 4) {
            self.holes[region(three[0].0)][1] += 1;
        }
        let way = |row: usize| {
            let [x, y, z] = truth.position[row];
            x.hypot(y).hypot(z)
        };
        rows.sort_by(|a, b| way(a.0).total_cmp(&way(b.0)));
        let momentum = |row: usize| truth.momentum[row].map(f64::from);
        let size = |[x, y, z]: [f64; 3]| x.hypot(y).hypot(z);
        if let (Some(first), Some(last)) = (rows.first(), rows.last())
            && rows.len() > 5
        {
            let (before, after) = (size(momentum(first.0)), size(momentum(last.0)));
            if before > 0.0 && after.is_finite() {
                self.losses.push((1.0 - after / before) as f32);
            }
        }
        for pair in rows.windows(2).filter(|pair| key(pair[0].1) != key(pair[1].1)) {
            let (a, b) = (pair[0], pair[1]);
            let both = [a, b].map(|(_, place)| region(hits.volume[place]));
            let (p, q) = (momentum(a.0), momentum(b.0));
            if both[0] == both[1] && matches!(both[0], 0 | 2) && (0.3..3.0).contains(&size(p)) && q[2].is_finite() {
                let theta = |p: [f64; 3]| p[0].hypot(p[1]).atan2(p[2]);
                // In a layer that is crossed at an angle there is more to scatter in.
                self.kinks[both[0] / 2].push(((theta(q) - theta(p)) * size(p) * theta(p).sin().sqrt()) as f32);
            }
        }
    }

    /// What the tracker can take from it.
    pub fn known(&self) -> Known {
        let enough = |values: &[f32]| (values.len() >= FEWEST).then(|| width(values));
        Known {
            resolution: self.residuals.each_ref().map(|both| both.each_ref().map(|values| enough(values))),
            noise: self.noise.map(|counts| (counts[1] >= FEWEST as u64).then(|| share(counts))),
            scattering: enough(&self.kinks.concat()),
            beam_sigma_r: enough(&self.across),
        }
    }

    /// Figures of the events with their names.
    pub fn figures(&self) -> Vec<(String, f64)> {
        let mut rows: Vec<(String, f64)> = Vec::new();
        let mut row = |name: &str, value: f64| rows.push((name.to_string(), value));
        let beyond = |r: f32| self.radii.iter().filter(|v| **v > r).count() as f64 / self.radii.len() as f64;
        row("hits of a particle that has hits", self.of_particles as f64 / self.with_hits as f64);
        row("particles without hits", 1.0 - self.with_hits as f64 / self.particles as f64);
        for (name, of, shares) in [
            ("pT, GeV/c", &self.transverse, [0.25, 0.5, 0.75, 0.95]),
            ("pT of those from the beam spot, GeV/c", &self.primary, [0.25, 0.5, 0.75, 0.95]),
            ("pT of the others, GeV/c", &self.secondary, [0.25, 0.5, 0.75, 0.95]),
        ] {
            for share in shares {
                let what = if share == 0.5 { "median".into() } else { format!("{:.0} % below", 100.0 * share) };
                row(&format!("{name}: {what}"), quantile(of, share));
            }
        }
        row("abs(eta) from the beam spot: 99 % below", quantile(&self.eta, 0.99));
        row("produced beyond 1 mm", beyond(1.0));
        row("produced beyond 30 mm", beyond(30.0));
        row("produced beyond 172 mm", beyond(172.0));
        row("width of the beam spot across the beam, mm", width(&self.across));
        row("width of the beam spot along the beam, mm", width(&self.along));
        row("momentum lost along a track of more than 5 hits: median", quantile(&self.losses, 0.5));
        row("scattering in a layer of pixels, GeV rad", width(&self.kinks[0]));
        row("scattering in a layer of short strips, GeV rad", width(&self.kinks[1]));
        for (name, counts) in [
            ("layers with a second hit", &self.doubles),
            ("hits that are noise", &self.noise),
            ("layers passed without a hit", &self.holes),
        ] {
            for (region, counts) in REGIONS.iter().zip(counts) {
                row(&format!("{name}: {region}"), share(*counts));
            }
        }
        for (region, [around, along]) in REGIONS.iter().zip(&self.residuals) {
            row(&format!("resolution around, mm: {region}"), width(around));
            row(&format!("resolution along, mm: {region}"), width(along));
        }
        rows
    }

    /// Events and hits of them.
    pub fn size(&self) -> (u64, u64) {
        (self.events, self.hits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_standard_deviations_of_normal_values_and_few_outliers_do_not_matter() {
        // Quantiles of a normal distribution by the logistic approximation are too rough: by sums of twelve even numbers.
        let mut state = 1_u64;
        let mut even = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32
        };
        let mut values: Vec<f32> =
            (0..20_000).map(|_| 3.0 + 0.2 * ((0..12).map(|_| even()).sum::<f32>() - 6.0)).collect();
        assert!((width(&values) - 0.2).abs() < 0.005, "{}", width(&values));
        values.extend(std::iter::repeat_n(100.0, 100));
        assert!((width(&values) - 0.2).abs() < 0.01, "{}", width(&values));
    }
}
