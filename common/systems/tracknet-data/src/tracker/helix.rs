//! Helices through hits, and where they meet the next layer.

/// mm per GeV/c of transverse momentum in 2 T.
pub const MM_PER_GEV: f64 = 1000.0 / (0.299_792_458 * 2.0);

/// A circle across the beam and a straight line along it, ending at the last hit.
#[derive(Debug, Clone, Copy)]
pub struct Helix {
    centre: [f64; 2],
    /// Radius of curvature in the field in the middle of the detector, mm.
    pub radius: f64,
    /// Signed curvature in that field, positive anticlockwise, 1/mm.
    pub unit: f64,
    /// Radius of curvature around the next hit, mm.
    local: f64,
    /// Direction at the last hit, a unit vector.
    heading: [f64; 2],
    /// Distance of the centre from the axis.
    distance: f64,
    /// Side of the centre on which the track lies, seen from the axis: 1 or -1.
    side: f64,
    /// Sense of rotation, 1 is anticlockwise.
    pub sense: f64,
    last: [f64; 2],
    /// z of the line at the last hit, mm.
    pub z: f64,
    /// dz per length of arc.
    pub slope: f64,
}

/// Where a helix meets a place of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Crossing {
    /// Place across the beam, mm.
    pub xy: [f64; 2],
    /// Distance from the axis, mm.
    pub r: f64,
    /// Place along the beam, mm.
    pub z: f64,
    /// Length of arc from the last hit, mm.
    pub arc: f64,
}

impl Crossing {
    /// Azimuth.
    pub fn phi(&self) -> f64 {
        self.xy[1].atan2(self.xy[0])
    }

    /// Azimuth from here to a point across the beam at the distance `r` from the axis, in -pi..pi.
    pub fn turn_to(&self, point: [f64; 2], r: f64) -> f64 {
        let [x, y] = self.xy;
        let (cross, dot) = (x * point[1] - y * point[0], x * point[0] + y * point[1]);
        let sine = cross / (self.r * r).max(f64::MIN_POSITIVE);
        // Nearly all are small: two terms of the arc sine are exact to 1e-12 there.
        if dot > 0.0 && sine.abs() < 0.005 { sine * (1.0 + sine * sine / 6.0) } else { cross.atan2(dot) }
    }

    /// Whether a point across the beam is farther than `half` mm along the circle around the axis; near the bound it may say no.
    pub fn is_beyond(&self, point: [f64; 2], half: f64) -> bool {
        let [x, y] = self.xy;
        let (cross, dot) = (x * point[1] - y * point[0], x * point[0] + y * point[1]);
        // The sine is less than the angle; behind the axis lies a quarter of the circle and more.
        if dot > 0.0 {
            cross * cross > half * half * (cross * cross + dot * dot) / (self.r * self.r)
        } else {
            half < 1.5 * self.r
        }
    }
}

/// Length of a vector. Unlike `hypot` not made for numbers whose squares overflow, and several times as fast.
pub(super) fn length(x: f64, y: f64) -> f64 {
    (x * x + y * y).sqrt()
}

/// The circle through three points: centre, radius, sense of rotation. Points on a line get a very large circle.
pub fn circle(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> ([f64; 2], f64, f64) {
    let (ux, uy, vx, vy) = (b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]);
    let mut cross = ux * vy - uy * vx;
    let (u2, v2) = (ux * ux + uy * uy, vx * vx + vy * vy);
    // Radius at most 1e6 mm: 600 GeV/c.
    let (wx, wy) = (c[0] - b[0], c[1] - b[1]);
    let least = (u2 * v2 * (wx * wx + wy * wy)).sqrt() / 2e6;
    if cross.abs() < least.max(1e-12) {
        cross = least.max(1e-12) * if cross < 0.0 { -1.0 } else { 1.0 };
    }
    let (x, y) = ((vy * u2 - uy * v2) / (2.0 * cross), (ux * v2 - vx * u2) / (2.0 * cross));
    ([a[0] + x, a[1] + y], length(x, y), cross.signum())
}

/// The difference of two angles in -pi..pi.
pub fn turn(angle: f64) -> f64 {
    use std::f64::consts::{PI, TAU};
    // Differences of two azimuths need one correction at most.
    if angle > PI {
        angle - TAU
    } else if angle < -PI {
        angle + TAU
    } else {
        angle
    }
}

/// Share of the field in the middle from which on a stretch of track tells its momentum as well as anywhere.
const STRONG: f64 = 0.8;

/// Side of the centre on which a point lies, seen from the axis.
fn side_of(last: [f64; 2], centre: [f64; 2]) -> f64 {
    if centre[0] * last[1] - centre[1] * last[0] < 0.0 { -1.0 } else { 1.0 }
}

impl Helix {
    /// The circle through three points and the line through (z at the last one, slope).
    pub fn new(points: [[f64; 2]; 3], z: f64, slope: f64) -> Self {
        let (centre, radius, sense) = circle(points[0], points[1], points[2]);
        let last = points[2];
        let distance = length(centre[0], centre[1]).max(1e-9);
        let heading = [-sense * (last[1] - centre[1]) / radius, sense * (last[0] - centre[0]) / radius];
        let side = side_of(last, centre);
        Self { centre, radius, unit: sense / radius, local: radius, heading, distance, side, sense, last, z, slope }
    }

    /// The same hits in a field that changes along the track. `turned` is what turned it between the first two and the
    /// last two points, `next` what turns it around the next one, in units of the field in the middle; `known` is the
    /// signed curvature (1/mm, in that field) of the hits before, which counts the more the weaker the field is.
    #[must_use]
    pub fn bent(self, points: [[f64; 2]; 3], turned: [f64; 2], next: f64, known: Option<f64>) -> Self {
        let arc = |a: [f64; 2], b: [f64; 2]| self.arc(length(b[0] - a[0], b[1] - a[1]));
        let (first, second) = (arc(points[0], points[1]), arc(points[1], points[2]));
        let circle = self.sense / self.radius;
        let (way, felt) = (first + second, turned[0] * first + turned[1] * second);
        let fresh = circle * way / felt.abs().max(0.05 * way);
        // The error of the fresh curvature grows as the field gets weaker.
        let trust = (felt / (STRONG * way)).clamp(0.0, 1.0).powi(2);
        let unit = known.map_or(fresh, |known| trust * fresh + (1.0 - trust) * known);
        let off = 0.5 * (unit * turned[1] - circle) * second;
        let (sin, cos) = off.sin_cos();
        let [x, y] = self.heading;
        let heading = [x * cos - y * sin, x * sin + y * cos];
        let curvature = unit * next;
        let curvature = if curvature.abs() < 1e-6 { 1e-6_f64.copysign(curvature) } else { curvature };
        let (local, sense) = (1.0 / curvature.abs(), curvature.signum());
        let last = self.last;
        let centre = [last[0] - heading[1] / curvature, last[1] + heading[0] / curvature];
        Self {
            centre,
            radius: (1.0 / unit.abs()).min(1e6),
            unit,
            local,
            heading,
            distance: length(centre[0], centre[1]).max(1e-9),
            side: side_of(last, centre),
            sense,
            ..self
        }
    }

    /// The same circle with another line.
    #[must_use]
    pub fn with_line(self, z: f64, slope: f64) -> Self {
        Self { z, slope, ..self }
    }

    /// Transverse momentum, GeV/c.
    pub fn pt(&self) -> f64 {
        self.radius / MM_PER_GEV
    }

    /// Angle of the direction of flight at a point of the circle against the outward radius there, rad.
    pub fn lean(&self, point: [f64; 2]) -> f64 {
        let [dx, dy] = [point[0] - self.centre[0], point[1] - self.centre[1]];
        turn((self.sense * dx).atan2(-self.sense * dy) - point[1].atan2(point[0]))
    }

    /// Length of the arc between two points of a circle of this radius.
    pub fn arc(&self, chord: f64) -> f64 {
        2.0 * self.local * (chord / (2.0 * self.local)).min(1.0).asin()
    }

    /// Where it crosses the cylinder of radius `r`, if it does.
    pub fn at_radius(&self, r: f64) -> Option<Crossing> {
        let cosine = (self.distance * self.distance + r * r - self.local * self.local) / (2.0 * self.distance * r);
        if !(-1.0..=1.0).contains(&cosine) {
            return None;
        }
        // From the direction of the centre, as seen from the axis, turned to the side of the track.
        let sine = self.side * (1.0 - cosine * cosine).sqrt();
        let [ux, uy] = self.centre.map(|c| r * c / self.distance);
        let (x, y) = (ux * cosine - uy * sine, uy * cosine + ux * sine);
        let arc = self.arc(length(x - self.last[0], y - self.last[1]));
        Some(Crossing { xy: [x, y], r, z: self.z + self.slope * arc, arc })
    }

    /// Where it crosses the plane at `z`, if that lies ahead within half a turn. `turned` is what turns it on the way there,
    /// in units of the field in the middle.
    pub fn at_plane(&self, z: f64, turned: f64) -> Option<Crossing> {
        let arc = (z - self.z) / self.slope;
        let angle = self.unit * turned * arc;
        if !(arc > 0.0 && angle.abs() < std::f64::consts::PI) {
            return None;
        }
        let half = 0.5 * angle;
        let sinc = if half.abs() < 1e-4 { 1.0 - half * half / 6.0 } else { half.sin() / half };
        let (along, across) = (arc * sinc * half.cos(), arc * sinc * half.sin());
        let [hx, hy] = self.heading;
        let (x, y) = (self.last[0] + along * hx - across * hy, self.last[1] + along * hy + across * hx);
        Some(Crossing { xy: [x, y], r: length(x, y), z, arc })
    }
}

/// What a circle and a line through hits say of a track, at its point nearest to the axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Transverse momentum, GeV/c.
    pub pt: f64,
    /// pz / pT.
    pub slope: f64,
    /// Azimuth of the momentum.
    pub phi: f64,
    /// Distance from the axis, mm; positive where the axis lies to the left of the track.
    pub d0: f64,
    /// Place along the beam, mm.
    pub z0: f64,
    /// Charge in a field along +z: 1 turns clockwise.
    pub charge: f64,
}

/// The circle (Kåsa's least squares on x² + y² - 2ax - 2by = c, positions relative to their mean) and the line through
/// hits in any order; none for fewer than three hits.
pub fn estimate(points: &[[f32; 3]]) -> Option<Estimate> {
    if points.len() < 3 {
        return None;
    }
    let n = points.len() as f64;
    let mean = |i: usize| points.iter().map(|p| f64::from(p[i])).sum::<f64>() / n;
    let (mx, my) = (mean(0), mean(1));
    let (mut xx, mut xy, mut yy, mut xz, mut yz, mut z) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for p in points {
        let (x, y) = (f64::from(p[0]) - mx, f64::from(p[1]) - my);
        let w = x * x + y * y;
        xx += x * x;
        xy += x * y;
        yy += y * y;
        xz += x * w;
        yz += y * w;
        z += w;
    }
    // Points on a line get a circle of 1 TeV/c, seen from the side that the rounding gives.
    let least = 1e-12 * (xx * yy).max(1e-30);
    let det = xx * yy - xy * xy;
    let det = if det <= least { least } else { det };
    let (a, b) = ((xz * yy - yz * xy) / (2.0 * det), (yz * xx - xz * xy) / (2.0 * det));
    let radius = (a * a + b * b + z / n).sqrt();
    let straight = radius > 1e3 * MM_PER_GEV;
    let (cx, cy) = (mx + a, my + b);
    let distance = cx.hypot(cy).max(1e-9);
    // The point of the circle that is nearest to the axis.
    let (px, py) = (cx * (1.0 - radius / distance), cy * (1.0 - radius / distance));
    let outer = points.iter().max_by(|p, q| p[0].hypot(p[1]).total_cmp(&q[0].hypot(q[1])))?;
    let (ox, oy) = (f64::from(outer[0]) - px, f64::from(outer[1]) - py);
    // Sense of rotation from there to the outermost hit: 1 is anticlockwise.
    let sense = if (px - cx) * oy - (py - cy) * ox >= 0.0 { 1.0 } else { -1.0 };
    let (ux, uy) = (-(py - cy) / radius * sense, (px - cx) / radius * sense);
    let (mut ws, mut wss, mut wz, mut wsz) = (0.0, 0.0, 0.0, 0.0);
    for p in points {
        let (x, y) = (f64::from(p[0]) - px, f64::from(p[1]) - py);
        let half = (x.hypot(y) / (2.0 * radius)).min(1.0);
        let s = 2.0 * radius * half.asin() * if x * ux + y * uy < 0.0 { -1.0 } else { 1.0 };
        ws += s;
        wss += s * s;
        wz += f64::from(p[2]);
        wsz += s * f64::from(p[2]);
    }
    let det = n * wss - ws * ws;
    let slope = if det > 0.0 { (n * wsz - ws * wz) / det } else { 0.0 };
    Some(Estimate {
        pt: if straight { 1e3 } else { radius / MM_PER_GEV },
        slope,
        phi: uy.atan2(ux),
        d0: ux * py - uy * px,
        z0: (wz - slope * ws) / n,
        charge: -sense,
    })
}

/// Transverse momentum (GeV/c) of the circle that fits hits best; none for fewer than three.
pub fn fit_pt(points: &[[f32; 3]]) -> Option<f64> {
    estimate(points).map(|estimate| estimate.pt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::particle::State;

    #[test]
    fn a_helix_through_three_points_of_a_track_meets_its_later_points() {
        for (charge, phi, slope) in [(1.0, 0.3, 0.4), (-1.0, 2.9, -1.5), (1.0, -3.0, 0.01), (-1.0, -1.2, 3.0)] {
            let state = State { position: [0.01, -0.02, 3.0], phi, pt: 0.9, slope, charge, turning: 1.0 };
            let p: Vec<[f64; 3]> = [0.05, 0.09, 0.15, 0.24].iter().map(|t| state.turned(*t).position).collect();
            let flat = |i: usize| [p[i][0], p[i][1]];
            let helix = Helix::new([flat(0), flat(1), flat(2)], p[2][2], slope);
            assert!((helix.pt() - 0.9).abs() < 1e-6);
            assert_eq!(helix.sense, -charge);
            let (r, at) = (p[3][0].hypot(p[3][1]), p[3][1].atan2(p[3][0]));
            let barrel = helix.at_radius(r).unwrap();
            assert!(turn(barrel.phi() - at).abs() < 1e-8 && (barrel.z - p[3][2]).abs() < 1e-5, "{barrel:?} {p:?}");
            let disk = helix.at_plane(p[3][2], 1.0).unwrap();
            assert!(turn(disk.phi() - at).abs() < 1e-8 && (disk.r - r).abs() < 1e-5, "{disk:?}");
            let hits: Vec<[f32; 3]> = p.iter().map(|p| p.map(|v| v as f32)).collect();
            let found = estimate(&hits).unwrap();
            assert!((found.pt - 0.9).abs() < 1e-3, "{found:?}");
            // The start lies a little ahead of the point nearest to the axis.
            let ahead = 0.01 * phi.cos() - 0.02 * phi.sin();
            assert!(turn(found.phi - phi).abs() < 1e-3, "{found:?}");
            assert!((found.z0 - (3.0 - slope * ahead)).abs() < 0.01, "{found:?}");
            assert!((found.slope - slope).abs() < 1e-3 && found.charge == charge, "{found:?}");
            assert!(found.d0.abs() < 0.1, "{found:?}");
        }
    }
}
