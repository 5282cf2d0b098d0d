//! The solenoid as true tracks feel it: how much they turn over three hits, against their true momenta.

use super::conditions::Conditions;
use super::field::{Solenoid, turning};
use super::helix::{circle, estimate};
use crate::tracks::{Tracks, pt};

/// One stretch of three hits.
struct Bend {
    /// Place along the beam and distance from the axis times slope between the first two hits and the last two, mm.
    between: [[f64; 2]; 2],
    /// Share of the first in the way.
    share: f64,
    /// What turned it, in units of the field in the middle.
    felt: f64,
    weight: f64,
}

/// Stretches of many tracks.
pub struct Bends {
    list: Vec<Bend>,
}

/// Places beyond this tell where the field ends, mm; this many stretches of tracks are needed there.
const OUTER: f64 = 1500.0;
const LEAST: usize = 300;
/// More stretches than these add time and no knowledge.
const MOST: usize = 12_000;
/// Half lengths and radii that are tried first, mm.
const LENGTHS: [f64; 6] = [1500.0, 2000.0, 2500.0, 3000.0, 3750.0, 5000.0];
const RADII: [f64; 6] = [400.0, 700.0, 1000.0, 1400.0, 1900.0, 2600.0];
/// A solenoid has to describe the stretches better than a uniform field by this factor.
const BETTER: f64 = 0.99;

impl Bends {
    /// From true tracks in mm; none where too few reach the ends.
    pub fn of(parts: &[Tracks], conditions: &Conditions) -> Option<Self> {
        let mut list = Vec::new();
        for part in parts {
            for i in 0..part.len() {
                let points = &part.xyz[part.hits(i)];
                let truth = f64::from(pt(part.momentum[i]));
                if points.len() < 5 || !(0.4..5.0).contains(&truth) {
                    continue;
                }
                let Some(found) = estimate(points) else { continue };
                for hits in points.windows(3) {
                    list.extend(bend(hits, truth * conditions.mm_per_gev(), -found.charge));
                }
            }
        }
        let outer = list.iter().filter(|bend| bend.between[1][0].abs() > OUTER).count();
        if outer < LEAST {
            return None;
        }
        let stride = list.len().div_ceil(MOST);
        let mut at = 0;
        list.retain(|_| {
            at += 1;
            (at - 1) % stride == 0
        });
        Some(Self { list })
    }

    /// Weighted mean of the absolute differences; far-off stretches, scattered or of wrong hits, count no more than others.
    fn misfit(&self, solenoid: Option<&Solenoid>) -> f64 {
        let of = |bend: &Bend| {
            let [a, b] = bend.between.map(|[z, lever]| turning(solenoid, z, lever));
            bend.weight * (bend.felt - (bend.share * a + (1.0 - bend.share) * b)).abs().min(1.0)
        };
        self.list.iter().map(of).sum()
    }

    /// The solenoid that describes them best; none where a uniform field does as well.
    pub fn solenoid(&self) -> Option<Solenoid> {
        let tried = |half_length: f64, radius: f64| {
            let solenoid = Solenoid { half_length, radius };
            (self.misfit(Some(&solenoid)), solenoid)
        };
        let lower = |a: (f64, Solenoid), b: (f64, Solenoid)| if b.0 < a.0 { b } else { a };
        let mut best = LENGTHS
            .into_iter()
            .flat_map(|length| RADII.into_iter().map(move |radius| (length, radius)))
            .map(|(length, radius)| tried(length, radius))
            .reduce(lower)?;
        // Ever finer steps around the best one.
        let mut step = 0.2;
        while step > 0.004 {
            let Solenoid { half_length, radius } = best.1;
            let mut next = best;
            for (a, b) in [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (1.0, 1.0), (-1.0, -1.0)] {
                next = lower(next, tried(half_length * (1.0 + step * a), radius * (1.0 + step * b)));
            }
            if next.0 < best.0 {
                best = next;
            } else {
                step *= 0.5;
            }
        }
        (best.0 < BETTER * self.misfit(None)).then_some(best.1)
    }
}

/// What turned a track over three hits; `radius` is that of its true momentum in the field in the middle, `sense` its sense of
/// rotation there.
fn bend(hits: &[[f32; 3]], radius: f64, sense: f64) -> Option<Bend> {
    let p: Vec<[f64; 3]> = hits.iter().map(|hit| hit.map(f64::from)).collect();
    let flat = |i: usize| [p[i][0], p[i][1]];
    let (_, around, turned) = circle(flat(0), flat(1), flat(2));
    let r = |i: usize| p[i][0].hypot(p[i][1]);
    let step = |i: usize| (p[i + 1][0] - p[i][0]).hypot(p[i + 1][1] - p[i][1]);
    let way = step(0) + step(1);
    // Short stretches tell their resolution alone.
    if way < 60.0 || step(0) < 10.0 || step(1) < 10.0 {
        return None;
    }
    let slope = (p[2][2] - p[0][2]) / way;
    let between = |i: usize| [0.5 * (p[i][2] + p[i + 1][2]), 0.5 * (r(i) + r(i + 1)) * slope];
    let scattered = 1.0 / slope.hypot(1.0).min(4.0);
    Some(Bend {
        between: [between(0), between(1)],
        share: step(0) / way,
        felt: sense * turned * radius / around,
        weight: (way / 100.0).min(3.0) * (radius / 1000.0).recip().min(1.0) / scattered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{SimulateConfig, particle};

    /// True tracks of simulated events with or without a solenoid.
    fn tracks(solenoid: &str) -> Tracks {
        let text = format!(
            "{{\"system\": \"tracknet\", \"seed\": 5, \"events\": 1, \"particles\": 2500, \"min_pt\": 0.4, \"secondaries\": 0.0, \
             \"noise\": 0.0, \"max_eta\": 2.7, \"solenoid\": {solenoid}}}"
        );
        let config: SimulateConfig = serde_json::from_str(&text).unwrap();
        let event = particle::simulate(&config, 1).unwrap();
        let mut hits_of: std::collections::BTreeMap<i64, Vec<[f32; 3]>> = std::collections::BTreeMap::new();
        for (id, xyz) in event.truth.particle_id.iter().zip(&event.hits.xyz) {
            hits_of.entry(*id).or_default().push(*xyz);
        }
        let mut tracks = Tracks::new();
        for (row, id) in event.particles.particle_id.iter().enumerate() {
            let Some(mut hits) = hits_of.remove(id) else { continue };
            let way = |p: &[f32; 3]| p[0].hypot(p[1]).hypot(p[2]);
            hits.sort_by(|a, b| way(a).total_cmp(&way(b)));
            tracks.particle_id.push(*id);
            tracks.momentum.push(event.particles.momentum[row]);
            tracks.xyz.extend(hits);
            tracks.offsets.push(tracks.xyz.len());
        }
        tracks
    }

    #[test]
    fn the_solenoid_is_found_in_true_tracks_and_a_uniform_field_is_told_from_it() {
        let known = Conditions { solenoid: None, ..Conditions::ACCURACY };
        let found =
            Bends::of(&[tracks("{\"half_length\": 2400, \"radius\": 900}")], &known).unwrap().solenoid().unwrap();
        let meant = Solenoid { half_length: 2400.0, radius: 900.0 };
        for z in [0.0, 800.0, 1500.0, 2100.0, 2700.0] {
            let (is, want) = (turning(Some(&found), z, z), turning(Some(&meant), z, z));
            assert!((is - want).abs() < 0.05, "at {z}: {is} for {want}, {found:?}");
        }
        let flat = Bends::of(&[tracks("null")], &known).unwrap().solenoid();
        for z in [0.0, 1500.0, 2700.0] {
            assert!((turning(flat.as_ref(), z, z) - 1.0).abs() < 0.05, "{flat:?}");
        }
    }
}
