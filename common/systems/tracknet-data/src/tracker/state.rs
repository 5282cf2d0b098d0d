//! What is known of a track after each of its hits: the helix so far, the residuals of a next hit in units of what
//! resolution and scattering make likely, and the numbers that the network reads.

use super::conditions::Conditions;
use super::field::turning;
use super::helix::{Crossing, Helix, length};

/// Numbers that the network reads after each hit.
pub const FEATURES: usize = 14;
/// How much older hits count in the line along the beam, from one hit to the next: the track forgets its scattering.
const MEMORY: f64 = 0.35;
/// Most that residuals may be in features and targets, in units of their expected width.
pub const CLIP: f64 = 8.0;

/// A hit as the tracker sees it, mm.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Position.
    pub xyz: [f64; 3],
    /// Distance from the axis.
    pub r: f64,
    /// Azimuth.
    pub phi: f64,
    /// Kind of module: 0 pixel, 1 short strip, 2 long strip.
    pub kind: usize,
    /// Whether the layer is a disk.
    pub disk: bool,
}

impl Point {
    /// From a position and the volume of its module.
    pub fn new(xyz: [f32; 3], volume: i32) -> Self {
        let [x, y, z] = xyz.map(f64::from);
        let (kind, disk) = match volume {
            8 => (0, false),
            7 | 9 => (0, true),
            13 => (1, false),
            12 | 14 => (1, true),
            17 => (2, false),
            _ => (2, true),
        };
        Self { xyz: [x, y, z], r: x.hypot(y), phi: y.atan2(x), kind, disk }
    }

    fn flat(&self) -> [f64; 2] {
        [self.xyz[0], self.xyz[1]]
    }
}

/// Residual of a hit against a helix, in units of the expected width, and those widths in mm.
#[derive(Debug, Clone, Copy, Default)]
pub struct Residual {
    /// Along the circle.
    pub u: f64,
    /// Along the beam (barrel) or the radius (disk).
    pub v: f64,
    /// Expected width of the first, mm.
    pub width_u: f64,
    /// Expected width of the second, mm.
    pub width_v: f64,
}

/// A track up to some hit.
#[derive(Debug, Clone, Copy)]
pub struct State<'c> {
    conditions: &'c Conditions,
    last: Point,
    /// The hit before the last, across the beam.
    before: [f64; 2],
    /// Its place along the beam.
    before_z: f64,
    /// Hits so far.
    pub hits: usize,
    /// The helix; none for a single hit.
    pub helix: Option<Helix>,
    /// Whether the beam spot stands in for what was before the first hit.
    pointing: bool,
    /// Length of the last step.
    step: f64,
    innovation: Residual,
    // Weighted sums of the line z(s), s counted from the last hit.
    w: f64,
    ws: f64,
    wss: f64,
    wz: f64,
    wsz: f64,
}

impl<'c> State<'c> {
    /// One hit; the beam line stands in for what was before.
    pub fn start(hit: Point, conditions: &'c Conditions) -> Self {
        let mut state = Self::first(hit, conditions, true);
        // The beam spot, so that the line has a direction from the second hit on.
        state.add_point(conditions.beam_z, conditions.beam_sigma_z, -hit.r);
        state.add_point(hit.xyz[2], conditions.resolution_of(hit.kind, hit.disk)[1], 0.0);
        state
    }

    /// One hit of a track that may come from anywhere: it has no helix before its third hit.
    pub fn free(hit: Point, conditions: &'c Conditions) -> Self {
        let mut state = Self::first(hit, conditions, false);
        state.add_point(hit.xyz[2], conditions.resolution_of(hit.kind, hit.disk)[1], 0.0);
        state
    }

    fn first(hit: Point, conditions: &'c Conditions, pointing: bool) -> Self {
        Self {
            conditions,
            last: hit,
            before: [0.0; 2],
            before_z: conditions.beam_z,
            hits: 1,
            helix: None,
            pointing,
            step: hit.r,
            innovation: Residual::default(),
            w: 0.0,
            ws: 0.0,
            wss: 0.0,
            wz: 0.0,
            wsz: 0.0,
        }
    }

    fn add_point(&mut self, z: f64, sigma: f64, s: f64) {
        let w = 1.0 / (sigma * sigma);
        self.w += w;
        self.ws += w * s;
        self.wss += w * s * s;
        self.wz += w * z;
        self.wsz += w * s * z;
    }

    /// Moves the origin of the arc length by `step` and lets old points fade.
    fn advance(&mut self, step: f64) {
        let (w, ws, wss, wz, wsz) = (self.w, self.ws, self.wss, self.wz, self.wsz);
        self.ws = MEMORY * (ws - w * step);
        self.wss = MEMORY * (wss - 2.0 * step * ws + step * step * w);
        self.wsz = MEMORY * (wsz - step * wz);
        self.w = MEMORY * w;
        self.wz = MEMORY * wz;
    }

    /// The residual of `hit`, if the helix gets there.
    pub fn residual(&self, hit: &Point) -> Option<Residual> {
        let helix = self.helix.as_ref()?;
        let at = if hit.disk { self.at_plane(helix, hit.xyz[2])? } else { helix.at_radius(hit.r)? };
        let (width_u, width_v) = self.widths(helix, &at, hit.kind, hit.disk);
        let v = if hit.disk { hit.r - at.r } else { hit.xyz[2] - at.z };
        Some(Residual { u: hit.r * at.turn_to(hit.flat(), hit.r) / width_u, v: v / width_v, width_u, width_v })
    }

    /// Where the helix crosses the plane at `z`, in the field on the way there.
    pub fn at_plane(&self, helix: &Helix, z: f64) -> Option<Crossing> {
        let solenoid = self.conditions.solenoid.as_ref();
        // What turns a track early moves it most: the field a third of the way on, exactly where it changes evenly.
        let third = (z - helix.z) / 3.0;
        helix.at_plane(z, turning(solenoid, helix.z + third, self.last.r * helix.slope + third))
    }

    /// Expected widths of the residuals at a crossing of a module of some kind, mm.
    pub fn widths(&self, helix: &Helix, at: &Crossing, kind: usize, disk: bool) -> (f64, f64) {
        let [res_u, res_v] = self.conditions.resolution_of(kind, disk);
        let aslant = length(helix.slope, 1.0);
        let pt = helix.radius / self.conditions.mm_per_gev();
        let kick = self.conditions.scattering / (pt * aslant) * at.arc * aslant;
        // The older points of the circle and the line extrapolate their own errors.
        let reach = at.arc / self.step.max(1.0);
        let last = self.conditions.resolution_of(self.last.kind, self.last.disk);
        let width_u = (res_u * res_u + kick * kick + (last[0] * (1.0 + 2.0 * reach)).powi(2)).sqrt();
        let bend = if disk { (aslant / helix.slope.abs().max(0.05)).powi(2) } else { aslant };
        let line = last[1].min(5.0) * (1.0 + reach);
        let line = if disk { line / helix.slope.abs().max(0.05) } else { line };
        let width_v = (res_v * res_v + (kick * bend).powi(2) + line * line).sqrt();
        (width_u, width_v)
    }

    /// The state with one hit more.
    #[must_use]
    pub fn with(&self, hit: Point) -> Self {
        let mut next = *self;
        next.innovation = self.residual(&hit).unwrap_or_default();
        let chord = length(hit.xyz[0] - self.last.xyz[0], hit.xyz[1] - self.last.xyz[1]);
        let first = if self.hits == 1 { [0.0; 2] } else { self.before };
        let points = [first, self.last.flat(), hit.flat()];
        let rough = Helix::new(points, hit.xyz[2], 0.0);
        let arc = rough.arc(chord).max(1e-3);
        next.advance(arc);
        let [_, along] = self.conditions.resolution_of(hit.kind, hit.disk);
        // On a disk the radius is uncertain: it shows as an uncertainty of z along the track.
        let previous = self.slope();
        let along = if hit.disk { (along * previous.abs()).max(0.01) } else { along };
        next.add_point(hit.xyz[2], along, 0.0);
        next.before = self.last.flat();
        next.before_z = self.last.xyz[2];
        next.last = hit;
        next.hits += 1;
        next.step = arc;
        let slope = next.slope();
        let z = next.height();
        let solenoid = self.conditions.solenoid.as_ref();
        let rough = match solenoid {
            None => rough,
            Some(_) => {
                let r = |[x, y]: [f64; 2]| length(x, y);
                let at = |z: f64, r: f64| turning(solenoid, z, r * slope);
                let first_z = if self.hits == 1 { self.conditions.beam_z } else { self.before_z };
                let early = at(0.5 * (first_z + self.last.xyz[2]), 0.5 * (r(first) + self.last.r));
                let late = at(0.5 * (self.last.xyz[2] + hit.xyz[2]), 0.5 * (self.last.r + hit.r));
                // The next step is about as long as this one.
                let ahead = at(hit.xyz[2] + 0.5 * slope * arc, hit.r + 0.5 * arc);
                rough.bent(points, [early, late], ahead, self.helix.map(|h| h.unit))
            }
        };
        // Two hits alone have no curvature.
        next.helix = (self.pointing || next.hits > 2).then(|| rough.with_line(z, slope));
        next
    }

    fn slope(&self) -> f64 {
        let det = self.w * self.wss - self.ws * self.ws;
        let slope = if det > 0.0 { (self.w * self.wsz - self.ws * self.wz) / det } else { 0.0 };
        // A slope of zero would never reach a plane.
        if slope.abs() < 1e-6 { 1e-6 } else { slope.clamp(-50.0, 50.0) }
    }

    fn height(&self) -> f64 {
        let det = self.w * self.wss - self.ws * self.ws;
        if det > 0.0 { (self.wss * self.wz - self.ws * self.wsz) / det } else { self.last.xyz[2] }
    }

    /// z of the line where the track was closest to the axis, roughly: only meaningful for the first hits.
    pub fn origin(&self) -> f64 {
        self.helix.map_or(self.last.xyz[2], |h| h.z - h.slope * h.arc(self.last.r))
    }

    /// What the network reads.
    pub fn features(&self) -> [f32; FEATURES] {
        let helix = self.helix;
        let kind = |k: usize| f64::from(u8::from(self.last.kind == k));
        let clip = |v: f64| v.clamp(-CLIP, CLIP) / 3.0;
        let slope = helix.map_or(0.0, |h| h.slope);
        [
            kind(0),
            kind(1),
            kind(2),
            f64::from(u8::from(self.last.disk)),
            self.last.r / 500.0,
            self.last.xyz[2].abs() / 1500.0,
            helix.map_or(0.0, |h| (1000.0 / h.radius).min(4.0)),
            slope.asinh().abs() / 2.0,
            clip(self.innovation.u),
            clip(self.innovation.v),
            clip(self.innovation.u).abs(),
            clip(self.innovation.v).abs(),
            (self.step / 100.0).ln().clamp(-3.0, 3.0),
            (self.hits as f64 / 10.0).min(2.0),
        ]
        .map(|v| v as f32)
    }
}
