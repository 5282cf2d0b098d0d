//! Fitted tracks: the five parameters of a helix at its point nearest to the axis, with their covariance.
//!
//! Least squares with the full covariance of the measurements: resolution on the diagonal, and scattering in each crossed
//! layer as process noise, which moves all later hits together. That is what a Kalman filter with smoothing gives for
//! the same model, in one solution. Energy loss is not in the model. Sums follow Strandlie and Frühwirth (2010), section III.

use super::conditions::Conditions;
use super::field::{Solenoid, mean_turning};
use super::helix::{estimate, turn};
use super::state::Point;

/// Parameters of a helix: d0 (mm; the nearest point to the axis is d0 (-sin phi, cos phi)), z0 (mm), phi and theta of the
/// momentum there (rad), q/p (1/GeV).
pub type Parameters = [f64; 5];
/// Names of the parameters, in their order.
pub const NAMES: [&str; 5] = ["d0", "z0", "phi", "theta", "qop"];

/// A fitted track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// The parameters.
    pub parameters: Parameters,
    /// Their covariance.
    pub covariance: [[f64; 5]; 5],
    /// Sum of squared residuals in units of their covariance.
    pub chi2: f64,
    /// Measurements less parameters.
    pub degrees: usize,
}

/// Steps of the iteration at most.
const STEPS: usize = 6;
/// Hits nearer than this are of one layer, where the track scatters once, mm.
const SAME_LAYER: f64 = 14.0;

/// A helix under a field.
#[derive(Clone, Copy)]
struct Helix<'c> {
    p: Parameters,
    /// Change of azimuth per mm of arc across the beam, in the field in the middle.
    curvature: f64,
    solenoid: Option<&'c Solenoid>,
    /// Sine and cosine of the azimuth, and the cotangent of the polar angle.
    start: (f64, f64),
    cot: f64,
}

/// Places and weights of Gauss and Legendre for four points between 0 and 1.
const GAUSS: [(f64, f64); 4] = [
    (0.069_431_844_202_973_71, 0.173_927_422_568_726_93),
    (0.330_009_478_207_571_9, 0.326_072_577_431_273_07),
    (0.669_990_521_792_428_1, 0.326_072_577_431_273_07),
    (0.930_568_155_797_026_3, 0.173_927_422_568_726_93),
];

/// Where a helix meets the surface of a hit.
#[derive(Clone, Copy)]
struct Meeting {
    /// Arc across the beam from the nearest point to the axis, mm.
    arc: f64,
    position: [f64; 3],
    /// Azimuth of the momentum.
    heading: f64,
    /// How the position changes with the curvature at the same arc, in units of the curvature: across the beam, along and across
    /// the direction at the nearest point to the axis.
    bent: [f64; 2],
}

/// The chord of an arc: (along, across) the direction at its start.
fn chord(curvature: f64, arc: f64) -> [f64; 2] {
    let half = 0.5 * curvature * arc;
    let sinc = if half.abs() < 1e-4 { 1.0 - half * half / 6.0 } else { half.sin() / half };
    [arc * sinc * half.cos(), arc * sinc * half.sin()]
}

impl<'c> Helix<'c> {
    fn new(p: Parameters, conditions: &'c Conditions) -> Self {
        let curvature = -p[4] / (p[3].sin() * conditions.mm_per_gev());
        let (sin, cos) = p[3].sin_cos();
        Self { p, curvature, solenoid: conditions.solenoid.as_ref(), start: p[2].sin_cos(), cot: cos / sin }
    }

    /// Curvature over a stretch of arc from the nearest point to the axis.
    fn over(&self, from: f64, to: f64) -> f64 {
        let z0 = self.p[1];
        self.curvature * mean_turning(self.solenoid, z0, z0 + from * self.cot, z0 + to * self.cot)
    }

    /// (along, across) the direction at the nearest point to the axis after an arc, how that changes with the curvature (in units of
    /// it), and how far the direction has turned.
    fn way(&self, arc: f64) -> ([f64; 2], [f64; 2], f64) {
        let (mut way, mut bent) = ([0.0; 2], [0.0; 2]);
        for (share, weight) in GAUSS {
            let upto = share * arc;
            let turned = upto * self.over(0.0, upto);
            let (sin, cos) = turned.sin_cos();
            way[0] += weight * arc * cos;
            way[1] += weight * arc * sin;
            bent[0] -= weight * arc * turned * sin;
            bent[1] += weight * arc * turned * cos;
        }
        if self.solenoid.is_none() {
            way = chord(self.curvature, arc);
        }
        (way, bent, arc * self.over(0.0, arc))
    }

    fn at(&self, arc: f64) -> Meeting {
        let [d0, z0, phi, ..] = self.p;
        let (sin, cos) = self.start;
        let ([along, across], bent, turned) = self.way(arc);
        let position =
            [-d0 * sin + along * cos - across * sin, d0 * cos + along * sin + across * cos, z0 + arc * self.cot];
        Meeting { arc, position, heading: phi + turned, bent }
    }

    /// How what is measured of a hit changes with each parameter.
    fn slopes(&self, hit: &Point, at: &Meeting) -> [[f64; 2]; 5] {
        let (sin, cos) = self.start;
        let [x, y, _] = at.position;
        let bent = [at.bent[0] * cos - at.bent[1] * sin, at.bent[0] * sin + at.bent[1] * cos];
        let theta = self.p[3].sin();
        // The curvature goes as q/p over the sine of the polar angle.
        let turned = [-bent[0] * self.cot, -bent[1] * self.cot, -at.arc / (theta * theta)];
        let charge = [bent[0] / self.p[4], bent[1] / self.p[4], 0.0];
        let surface = Surface::new(hit, at, self.p[3]);
        [[-sin, cos, 0.0], [0.0, 0.0, 1.0], [-y, x, 0.0], turned, charge].map(|moved| surface.shown(moved))
    }

    /// Where it meets the cylinder or the plane that a hit lies on, on its way out; looked for around an arc.
    fn meet(&self, hit: &Point, around: Option<f64>) -> Option<Meeting> {
        if hit.disk {
            let arc = (hit.xyz[2] - self.p[1]) / self.cot;
            return (arc > 0.0 && (arc * self.curvature).abs() < std::f64::consts::PI).then(|| self.at(arc));
        }
        let mut arc = around.unwrap_or_else(|| (hit.r * hit.r - self.p[0] * self.p[0]).max(0.0).sqrt());
        for _ in 0..20 {
            let at = self.at(arc);
            let [x, y, _] = at.position;
            let rate = 2.0 * (x * at.heading.cos() + y * at.heading.sin());
            if rate <= 1e-6 {
                return None;
            }
            let step = (x * x + y * y - hit.r * hit.r) / rate;
            arc -= step;
            // The next step would be its square over the radius of curvature.
            if step.abs() < 1e-4 {
                return Some(self.at(arc));
            }
        }
        None
    }
}

/// What is measured of a hit: place around the circle and along the beam (barrel) or the radius (disk), mm, against `hit`.
fn residual(hit: &Point, at: &Meeting) -> [f64; 2] {
    let [x, y, z] = at.position;
    let across = hit.r * turn(hit.phi - y.atan2(x));
    [across, if hit.disk { hit.r - x.hypot(y) } else { hit.xyz[2] - z }]
}

/// The surface of a hit and the direction of a track there.
struct Surface {
    disk: bool,
    /// Unit vector outward, across the beam.
    outward: [f64; 2],
    ahead: [f64; 3],
}

impl Surface {
    fn new(hit: &Point, at: &Meeting, theta: f64) -> Self {
        let [x, y, _] = at.position;
        let r = x.hypot(y).max(1e-9);
        let ((sin, cos), (steep, level)) = (at.heading.sin_cos(), theta.sin_cos());
        Self { disk: hit.disk, outward: [x / r, y / r], ahead: [steep * cos, steep * sin, level] }
    }

    /// How a displacement of the track at fixed arc shows in what is measured.
    fn shown(&self, moved: [f64; 3]) -> [f64; 2] {
        let ([cos, sin], [ahead_x, ahead_y, ahead_z]) = (self.outward, self.ahead);
        let outward = [moved[0] * cos + moved[1] * sin, ahead_x * cos + ahead_y * sin];
        // The track meets the surface earlier or later by this much.
        let slip = if self.disk { moved[2] / ahead_z } else { outward[0] / outward[1] };
        let across = (-moved[0] * sin + moved[1] * cos) - slip * (-ahead_x * sin + ahead_y * cos);
        if self.disk { [across, outward[0] - slip * outward[1]] } else { [across, moved[2] - slip * ahead_z] }
    }
}

/// Covariance of all measurements, row by row.
fn covariance(hits: &[Point], meetings: &[Meeting], helix: &Helix<'_>, conditions: &Conditions) -> Vec<f64> {
    let size = 2 * hits.len();
    let mut v = vec![0.0; size * size];
    for (i, hit) in hits.iter().enumerate() {
        for (k, sigma) in conditions.resolution_of(hit.kind, hit.disk).into_iter().enumerate() {
            v[(2 * i + k) * (size + 1)] = sigma * sigma;
        }
    }
    let theta = helix.p[3];
    let (sin, cot) = (theta.sin(), helix.cot);
    let surfaces: Vec<Surface> = hits.iter().zip(meetings).map(|(hit, at)| Surface::new(hit, at, theta)).collect();
    let momentum = 1.0 / helix.p[4].abs().max(1e-6);
    let mut effects = [vec![0.0; size], vec![0.0; size]];
    for j in 0..hits.len() {
        let from = &meetings[j];
        let near =
            |a: &Point, b: &Point| (0..3).map(|k| (a.xyz[k] - b.xyz[k]).powi(2)).sum::<f64>() < SAME_LAYER * SAME_LAYER;
        if j > 0 && near(&hits[j - 1], &hits[j]) {
            continue;
        }
        let aslant = if hits[j].disk { 1.0 / theta.cos().abs().max(0.1) } else { 1.0 / sin };
        let sigma = conditions.scattering / momentum * aslant.sqrt();
        let (sine, cosine) = from.heading.sin_cos();
        effects.iter_mut().for_each(|effect| effect.fill(0.0));
        for i in j + 1..hits.len() {
            let to = &meetings[i];
            let arc = to.arc - from.arc;
            let (dx, dy) = (to.position[0] - from.position[0], to.position[1] - from.position[1]);
            // The azimuth turns: everything behind turns around this point.
            let by_phi = surfaces[i].shown([-dy / sin, dx / sin, 0.0]);
            // The polar angle turns at constant momentum: the slope changes, and the curvature with the transverse part.
            let nudge = 1e-7;
            let curvature = helix.over(from.arc, to.arc);
            let (before, after) = (chord(curvature, arc), chord(curvature + nudge, arc));
            let rate = -curvature * cot / nudge;
            let (along, across) = ((after[0] - before[0]) * rate, (after[1] - before[1]) * rate);
            let moved = [along * cosine - across * sine, along * sine + across * cosine, -arc / (sin * sin)];
            let by_theta = surfaces[i].shown(moved);
            for k in 0..2 {
                effects[0][2 * i + k] = sigma * by_phi[k];
                effects[1][2 * i + k] = sigma * by_theta[k];
            }
        }
        for effect in &effects {
            for a in 2 * j + 2..size {
                for b in 2 * j + 2..=a {
                    v[a * size + b] += effect[a] * effect[b];
                }
            }
        }
    }
    v
}

/// The lower triangular root of a matrix of which the lower half is given; none where it is not positive.
fn root(mut a: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let left = a[i * n + j] - dot;
            a[i * n + j] = if i == j {
                if left <= 0.0 || !left.is_finite() {
                    return None;
                }
                left.sqrt()
            } else {
                left / a[j * n + j]
            };
        }
    }
    Some(a)
}

/// Solves L x = b in place.
fn forward(l: &[f64], n: usize, b: &mut [f64]) {
    for i in 0..n {
        let dot: f64 = (0..i).map(|k| l[i * n + k] * b[k]).sum();
        b[i] = (b[i] - dot) / l[i * n + i];
    }
}

/// Fits the hits of a track, in the order of its way out; none for fewer than three, or where no helix meets them all.
pub fn fit(hits: &[Point], conditions: &Conditions) -> Option<Fit> {
    let points: Vec<[f32; 3]> = hits.iter().map(|hit| hit.xyz.map(|v| v as f32)).collect();
    let start = estimate(&points)?;
    let theta = 1.0_f64.atan2(start.slope);
    let pt = start.pt * 2.0 / conditions.field;
    let mut p = [start.d0, start.z0, start.phi, theta, start.charge * theta.sin() / pt];
    let size = 2 * hits.len();
    let (mut factor, mut known) = (Vec::new(), Vec::new());
    let mut last = f64::INFINITY;
    for step in 0..STEPS {
        let helix = Helix::new(p, conditions);
        let meet = |(i, hit): (usize, &Point)| helix.meet(hit, known.get(i).copied());
        let meetings = hits.iter().enumerate().map(meet).collect::<Option<Vec<_>>>()?;
        known = meetings.iter().map(|at| at.arc).collect();
        let mut residuals: Vec<f64> = hits.iter().zip(&meetings).flat_map(|(hit, at)| residual(hit, at)).collect();
        // The second step sees nearly the final momentum: scattering is known then.
        if step < 2 {
            factor = root(covariance(hits, &meetings, &helix, conditions), size)?;
        }
        let mut columns: [Vec<f64>; 5] = std::array::from_fn(|_| Vec::with_capacity(size));
        for (hit, at) in hits.iter().zip(&meetings) {
            for (column, slopes) in columns.iter_mut().zip(helix.slopes(hit, at)) {
                column.extend(slopes);
            }
        }
        columns.iter_mut().for_each(|column| forward(&factor, size, column));
        forward(&factor, size, &mut residuals);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let chi2 = dot(&residuals, &residuals);
        let normal: Vec<f64> = (0..25).map(|at| dot(&columns[at / 5], &columns[at % 5])).collect();
        let inner = root(normal, 5)?;
        // Columns of the inverse root; its square is the covariance.
        let mut inverse = [[0.0; 5]; 5];
        for (k, column) in inverse.iter_mut().enumerate() {
            column[k] = 1.0;
            forward(&inner, 5, column);
        }
        let covariance: [[f64; 5]; 5] =
            std::array::from_fn(|a| std::array::from_fn(|b| (0..5).map(|k| inverse[a][k] * inverse[b][k]).sum()));
        if (last - chi2).abs() < 1e-3 || step + 1 == STEPS {
            let mut parameters = p;
            parameters[2] = turn(p[2].rem_euclid(std::f64::consts::TAU));
            return chi2.is_finite().then_some(Fit { parameters, covariance, chi2, degrees: size.saturating_sub(5) });
        }
        last = chi2;
        let gradient: Parameters = std::array::from_fn(|k| dot(&columns[k], &residuals));
        for (a, value) in p.iter_mut().enumerate() {
            *value += (0..5).map(|b| covariance[a][b] * gradient[b]).sum::<f64>();
        }
        if !(p[3] > 0.0 && p[3] < std::f64::consts::PI) {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{SimulateConfig, particle};

    /// What the simulation smears by where nothing else is said.
    const SIMULATED: [[f64; 2]; 3] = [[0.0025, 0.005], [0.017, 0.24], [0.026, 5.0 / 1.732_050_8]];

    /// Pulls of the parameters of simulated primary particles: (fitted - true) / sigma.
    fn pulls(min_pt: f64, conditions: &Conditions) -> [Vec<f64>; 5] {
        let solenoid = serde_json::to_string(&conditions.solenoid).unwrap();
        let text = format!(
            "{{\"system\": \"tracknet\", \"seed\": 3, \"events\": 1, \"particles\": 1500, \"min_pt\": {min_pt}, \
             \"secondaries\": 0.0, \"noise\": 0.0, \"solenoid\": {solenoid}}}"
        );
        let config: SimulateConfig = serde_json::from_str(&text).unwrap();
        let event = particle::simulate(&config, 1).unwrap();
        let mut hits_of: std::collections::BTreeMap<i64, Vec<usize>> = std::collections::BTreeMap::new();
        for (i, id) in event.truth.particle_id.iter().enumerate().filter(|(_, id)| **id != 0) {
            hits_of.entry(*id).or_default().push(i);
        }
        let mut all: [Vec<f64>; 5] = Default::default();
        for (row, id) in event.particles.particle_id.iter().enumerate() {
            let Some(rows) = hits_of.get(id).filter(|rows| rows.len() >= 6) else { continue };
            let mut hits: Vec<Point> =
                rows.iter().map(|&i| Point::new(event.hits.xyz[i], event.hits.volume[i])).collect();
            let way = |p: &Point| p.r.hypot(p.xyz[2]);
            hits.sort_by(|a, b| way(a).total_cmp(&way(b)));
            let Some(found) = fit(&hits, conditions) else { continue };
            let [vx, vy, vz] = event.particles.vertex[row].map(f64::from);
            let [px, py, pz] = event.particles.momentum[row].map(f64::from);
            let (pt, phi) = (px.hypot(py), py.atan2(px));
            let (ahead, side) = (vx * phi.cos() + vy * phi.sin(), vy * phi.cos() - vx * phi.sin());
            let charge = f64::from(event.particles.charge[row]);
            let curvature = -charge / (pt * conditions.mm_per_gev());
            let theta = pt.atan2(pz);
            let truth = [side, vz - ahead * pz / pt, phi - curvature * ahead, theta, charge / pt.hypot(pz)];
            for k in 0..5 {
                let off = found.parameters[k] - truth[k];
                let off = if k == 2 { turn(off) } else { off };
                all[k].push(off / found.covariance[k][k].sqrt());
            }
        }
        all
    }

    #[test]
    fn pulls_of_simulated_tracks_have_width_one() {
        for (min_pt, solenoid) in
            [(0.3, None), (1.0, None), (0.3, Some(Solenoid::TRACKML)), (1.0, Some(Solenoid::TRACKML))]
        {
            let conditions = Conditions {
                resolution: SIMULATED,
                resolution_disks: SIMULATED,
                scattering: 0.0017,
                solenoid,
                ..Conditions::ACCURACY
            };
            for (name, mut list) in NAMES.iter().zip(pulls(min_pt, &conditions)) {
                assert!(list.len() > 700, "{} tracks", list.len());
                list.sort_by(f64::total_cmp);
                let at = |share: f64| list[(share * (list.len() - 1) as f64) as usize];
                let (width, middle) = (0.5 * (at(0.8413) - at(0.1587)), at(0.5));
                assert!(
                    (width - 1.0).abs() < 0.15 && middle.abs() < 0.2,
                    "{name} above {min_pt}, {solenoid:?}: {width} {middle}"
                );
            }
        }
    }
}
