//! A charged particle at a point of its helix, and where it meets layers.

use std::f64::consts::{PI, TAU};

use super::detector::{Layer, MM_PER_GEV, Surface};
use crate::tracker::field::Solenoid;

/// Longest step in a field that changes, mm.
const STEP: f64 = 60.0;

/// A charged particle at a point of its helix.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Position, mm.
    pub position: [f64; 3],
    /// Azimuth of the momentum.
    pub phi: f64,
    /// Transverse momentum, GeV/c.
    pub pt: f64,
    /// pz / pT.
    pub slope: f64,
    /// Charge, 1 or -1.
    pub charge: f64,
    /// What turns it here, in units of the field in the middle.
    pub turning: f64,
}

impl State {
    /// Radius of curvature (mm) and sense of rotation (1 is anticlockwise).
    fn circle(&self) -> (f64, f64) {
        let turning = if self.turning.abs() < 1e-4 { 1e-4_f64.copysign(self.turning) } else { self.turning };
        (self.pt * MM_PER_GEV / turning.abs(), -self.charge * turning.signum())
    }

    /// Radius of curvature, mm.
    pub fn radius(&self) -> f64 {
        self.circle().0
    }

    /// Momentum, GeV/c.
    pub fn momentum(&self) -> [f64; 3] {
        [self.pt * self.phi.cos(), self.pt * self.phi.sin(), self.pt * self.slope]
    }

    /// The state after the momentum turned by `t` radians (>= 0): positive charges turn clockwise.
    pub fn turned(&self, t: f64) -> Self {
        let (radius, sign) = self.circle();
        let phi = self.phi + sign * t;
        let [x, y, z] = self.position;
        let position = [
            x + sign * radius * (phi.sin() - self.phi.sin()),
            y - sign * radius * (phi.cos() - self.phi.cos()),
            z + radius * t * self.slope,
        ];
        Self { position, phi, ..*self }
    }

    /// Turning angle (0 < t < pi) at which the helix first crosses a cylinder around the axis.
    fn to_cylinder(self, r: f64) -> Option<f64> {
        let (radius, sign) = self.circle();
        let (cx, cy) =
            (self.position[0] - sign * radius * self.phi.sin(), self.position[1] + sign * radius * self.phi.cos());
        let d = cx.hypot(cy);
        let cosine = (d * d + radius * radius - r * r) / (2.0 * d * radius);
        if !(-1.0..=1.0).contains(&cosine) {
            return None;
        }
        let inward = (-cy).atan2(-cx);
        let here = (self.position[1] - cy).atan2(self.position[0] - cx);
        let turn = |angle: f64| (sign * (angle - here)).rem_euclid(TAU);
        let (a, b) = (turn(inward + cosine.acos()), turn(inward - cosine.acos()));
        [a, b].into_iter().filter(|t| *t > 1e-9 && *t < PI).min_by(f64::total_cmp)
    }

    /// Turning angle at which it reaches a plane across the axis.
    fn to_plane(self, z: f64) -> Option<f64> {
        let t = (z - self.position[2]) / (self.circle().0 * self.slope);
        (t > 1e-9 && t < PI).then_some(t)
    }

    /// The same under the field of a solenoid around it: what turns it, and how its slope changes per mm of arc across the
    /// beam. The radial part of the field turns what flies along the beam, and lifts what flies around it.
    pub(super) fn felt(self, solenoid: &Solenoid) -> (Self, f64) {
        let [x, y, z] = self.position;
        let r = x.hypot(y).max(1e-9);
        let (sin, cos) = self.phi.sin_cos();
        let (outward, around) = ((x * cos + y * sin) / r, (y * cos - x * sin) / r);
        let radial = -0.5 * r * solenoid.gradient(z);
        let turning = solenoid.axial(z) - self.slope * outward * radial;
        // dpz per mm at constant momentum; the slope changes with both components.
        let lift = self.charge * radial * around / MM_PER_GEV;
        let change = lift / self.pt * (1.0 + self.slope * self.slope);
        (Self { turning, ..self }, change)
    }

    /// The state that flies an arc (mm across the beam) as in the middle of it, and how its slope changes on half of it.
    fn midway(self, arc: f64, solenoid: &Solenoid) -> (Self, f64) {
        let (here, _) = self.felt(solenoid);
        let (middle, change) = here.turned(0.5 * arc / here.circle().0).felt(solenoid);
        let half = 0.5 * arc * change;
        (here.inclined(half, middle.turning), half)
    }

    /// The same momentum at a slope that is larger by `by`.
    fn inclined(self, by: f64, turning: f64) -> Self {
        let slope = self.slope + by;
        Self { slope, pt: self.pt * self.slope.hypot(1.0) / slope.hypot(1.0), turning, ..self }
    }

    /// Flies to the module of a layer under a solenoid, in short steps: the start of the last one, the crossing, the module
    /// and the place on it.
    pub(super) fn fly_to(self, layer: &Layer, solenoid: &Solenoid) -> Option<(Self, Self, u32, f64)> {
        let start = self.felt(solenoid).0;
        let (t, ..) = start.to_module(layer)?;
        let arc = t * start.circle().0;
        let steps = (arc * start.slope.hypot(1.0) / STEP).ceil().max(1.0);
        let mut state = self;
        for _ in 1..steps as usize {
            let (here, half) = state.midway(arc / steps, solenoid);
            state = here.turned(arc / steps / here.circle().0).inclined(half, here.turning);
        }
        let (t, ..) = state.felt(solenoid).0.to_module(layer)?;
        let (here, half) = state.midway(t * state.felt(solenoid).0.circle().0, solenoid);
        let (t, module, edge) = here.to_module(layer)?;
        Some((here, here.turned(t).inclined(half, here.turning), module, edge))
    }

    /// Turning angle at which it crosses the module of a layer that it meets, and that module; the middle of a layer whose
    /// modules stand in a list.
    pub(super) fn to_module(self, layer: &Layer) -> Option<(f64, u32, f64)> {
        match layer.surface {
            Surface::Barrel { r, half } => {
                let rough = self.turned(self.to_cylinder(r)?);
                if rough.position[2].abs() > half {
                    return None;
                }
                if layer.modules == 0 {
                    return Some((self.to_cylinder(r)?, 0, 0.0));
                }
                let phi = rough.position[1].atan2(rough.position[0]);
                let (module, edge) = layer.module(phi);
                Some((self.to_flat(layer, module, phi)?, module, edge))
            }
            Surface::Disk { z, inner, outer } => {
                let there = self.turned(self.to_plane(z)?);
                let r = there.position[0].hypot(there.position[1]);
                if !(inner..outer).contains(&r) {
                    return None;
                }
                if layer.modules == 0 {
                    return Some((self.to_plane(z)?, 0, 0.0));
                }
                let (module, edge) = layer.module(there.position[1].atan2(there.position[0]));
                Some((self.to_plane(layer.plane(module))?, module, edge))
            }
        }
    }

    /// Turning angle at which it crosses one module of a cylinder, which is flat: near `phi` a cylinder of that radius.
    pub(super) fn to_flat(self, layer: &Layer, module: u32, phi: f64) -> Option<f64> {
        match layer.surface {
            Surface::Barrel { .. } => {
                let off = (phi - layer.normal(module) + PI).rem_euclid(TAU) - PI;
                self.to_cylinder(layer.plane(module) / off.cos())
            }
            Surface::Disk { .. } => self.to_plane(layer.plane(module)),
        }
    }
}
