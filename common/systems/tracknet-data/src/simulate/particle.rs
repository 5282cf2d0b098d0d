//! Particles on their way through the layers.

use std::f64::consts::{PI, TAU};

use common::Result;
use common::seed::rng_for;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::detector::{Layer, MM_PER_GEV, Surface, layers};
use super::{Event, SimulateConfig};
use crate::trackml::{Phase, weights};

/// Spread of the collisions across the beam, mm; measured on a real event.
const VERTEX_XY: f64 = 0.015;

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
}

impl State {
    /// Momentum, GeV/c.
    pub fn momentum(&self) -> [f64; 3] {
        [self.pt * self.phi.cos(), self.pt * self.phi.sin(), self.pt * self.slope]
    }

    /// The state after the momentum turned by `t` radians (>= 0): positive charges turn clockwise.
    pub fn turned(&self, t: f64) -> Self {
        let (radius, sign) = (self.pt * MM_PER_GEV, -self.charge);
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
        let (radius, sign) = (self.pt * MM_PER_GEV, -self.charge);
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
        let t = (z - self.position[2]) / (self.pt * MM_PER_GEV * self.slope);
        (t > 1e-9 && t < PI).then_some(t)
    }

    /// Turning angle at which it crosses the module of a layer that it meets, and that module.
    fn to_module(self, layer: &Layer) -> Option<(f64, u32, f64)> {
        match layer.surface {
            Surface::Barrel { r, half } => {
                let rough = self.turned(self.to_cylinder(r)?);
                if rough.position[2].abs() > half {
                    return None;
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
                let (module, edge) = layer.module(there.position[1].atan2(there.position[0]));
                Some((self.to_plane(layer.plane(module))?, module, edge))
            }
        }
    }

    /// Turning angle at which it crosses one module of a cylinder, which is flat: near `phi` a cylinder of that radius.
    fn to_flat(self, layer: &Layer, module: u32, phi: f64) -> Option<f64> {
        match layer.surface {
            Surface::Barrel { .. } => {
                let off = (phi - layer.normal(module) + PI).rem_euclid(TAU) - PI;
                self.to_cylinder(layer.plane(module) / off.cos())
            }
            Surface::Disk { .. } => self.to_plane(layer.plane(module)),
        }
    }
}

/// A standard normal number.
pub fn normal(rng: &mut Pcg64) -> f64 {
    let u: f64 = 1.0 - rng.random::<f64>();
    (-2.0 * u.ln()).sqrt() * (TAU * rng.random::<f64>()).cos()
}

/// Draws from dN/dpT ~ pT (1 + pT / scale)^-5.5 above `least`.
fn draw_pt(rng: &mut Pcg64, least: f64, scale: f64) -> f64 {
    loop {
        // Envelope: (1 + pT / scale)^-4.5, inverted; pT / (scale + pT) is what is left.
        let u: f64 = 1.0 - rng.random::<f64>();
        let pt = scale * ((1.0 + least / scale) * u.powf(-1.0 / 3.5) - 1.0);
        if rng.random::<f64>() < pt / (scale + pt) {
            return pt.min(50.0);
        }
    }
}

/// One hit before it has an id.
struct Mark {
    layer: usize,
    module: u32,
    measured: [f64; 3],
    particle: usize,
    at: State,
}

/// Simulates event `number`.
pub fn simulate(config: &SimulateConfig, number: u32) -> Result<Event> {
    let mut rng = rng_for(config.seed, "tracknet-event", u64::from(number));
    let layers = layers(config.barrel_only);
    let mut marks: Vec<Mark> = Vec::new();
    let mut particles: Vec<(State, usize, bool)> = Vec::new();
    let vertices: Vec<[f64; 3]> = (0..200)
        .map(|_| [VERTEX_XY * normal(&mut rng), VERTEX_XY * normal(&mut rng), config.beam_sigma_z * normal(&mut rng)])
        .collect();
    for i in 0..config.particles as usize {
        let primary = rng.random::<f64>() >= config.secondaries;
        let vertex = vertices[rng.random_range(0..vertices.len())];
        let eta = (2.0 * rng.random::<f64>() - 1.0) * config.max_eta;
        let mut state = State {
            position: vertex,
            phi: TAU * rng.random::<f64>() - PI,
            pt: draw_pt(&mut rng, config.min_pt, config.pt_scale),
            slope: eta.sinh(),
            charge: if rng.random::<bool>() { 1.0 } else { -1.0 },
        };
        if !primary {
            // A neutral parent flew on before it made this one.
            let flight = -config.flight * (1.0 - rng.random::<f64>()).ln();
            let [x, y, z] = state.position;
            state.position = [x + flight * state.phi.cos(), y + flight * state.phi.sin(), z + flight * state.slope];
            state.phi += 0.25 * normal(&mut rng) / (1.0 + state.pt);
            state.slope += 0.1 * normal(&mut rng) / (1.0 + state.pt);
        }
        let before = marks.len();
        fly(config, &layers, state, i, &mut marks, &mut rng);
        particles.push((state, marks.len() - before, primary));
    }
    let share = |real: f64, noise: f64| (real * noise / (1.0 - noise)).round() as usize;
    let noise = match config.noise_by_kind {
        None => vec![((0..marks.len()).collect(), share(marks.len() as f64, config.noise))],
        Some(shares) => (0..3)
            .map(|kind| {
                let of: Vec<usize> = (0..marks.len()).filter(|&m| layers[marks[m].layer].kind() == kind).collect();
                let wanted = share(of.len() as f64, shares[kind]);
                (of, wanted)
            })
            .collect(),
    };
    assemble(&layers, &particles, &marks, &noise, &mut rng, number)
}

/// Leaves the hits of one particle.
fn fly(
    config: &SimulateConfig,
    layers: &[Layer],
    start: State,
    particle: usize,
    marks: &mut Vec<Mark>,
    rng: &mut Pcg64,
) {
    let mut state = start;
    let mut passed = vec![false; layers.len()];
    loop {
        let next = layers
            .iter()
            .enumerate()
            .filter(|(i, _)| !passed[*i])
            .filter_map(|(i, layer)| state.to_module(layer).map(|(t, module, edge)| (t, i, module, edge)))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((t, i, module, edge)) = next else { return };
        let layer = &layers[i];
        passed[i] = true;
        let at = state.turned(t);
        if rng.random::<f64>() >= config.inefficiency {
            marks.push(Mark { layer: i, module, measured: measure(layer, module, &at, rng), particle, at });
            let overlap = config.overlap[usize::from(matches!(layer.surface, Surface::Disk { .. }))];
            if config.double_hits && edge.abs() > 1.0 - 2.0 * overlap {
                let side = if edge > 0.0 { 1 } else { layer.modules - 1 };
                let other = (module + side) % layer.modules;
                let phi = at.position[1].atan2(at.position[0]);
                if let Some(t) = state.to_flat(layer, other, phi) {
                    let at = state.turned(t);
                    marks.push(Mark {
                        layer: i,
                        module: other,
                        measured: measure(layer, other, &at, rng),
                        particle,
                        at,
                    });
                }
            }
        }
        state = at;
        // Scattering: both angles of the direction, more in a layer that is crossed aslant.
        let cosine = 1.0 / state.slope.hypot(1.0);
        let aslant = match layer.surface {
            Surface::Barrel { .. } => 1.0 / cosine,
            Surface::Disk { .. } => 1.0 / (1.0 - cosine * cosine).sqrt().max(0.1),
        };
        let momentum = state.pt / cosine * (1.0 - config.energy_loss);
        let sigma = config.scattering / momentum * aslant.sqrt();
        let (theta, total) = ((1.0_f64).atan2(state.slope) + sigma * normal(rng), momentum);
        state.phi += sigma * normal(rng) / cosine;
        state.slope = theta.cos() / theta.sin();
        state.pt = total * theta.sin();
        if state.pt < 0.02 {
            return;
        }
    }
}

/// Smears a crossing inside the plane of its module.
fn measure(layer: &Layer, module: u32, at: &State, rng: &mut Pcg64) -> [f64; 3] {
    let across = layer.sigma_phi * normal(rng);
    let along = layer.sigma_long * if layer.flat { 2.0 * rng.random::<f64>() - 1.0 } else { normal(rng) };
    let [x, y, z] = at.position;
    match layer.surface {
        Surface::Barrel { .. } => {
            let normal = layer.normal(module);
            [x - across * normal.sin(), y + across * normal.cos(), z + along]
        }
        Surface::Disk { .. } => {
            let (sin, cos) = y.atan2(x).sin_cos();
            [x - across * sin + along * cos, y + across * cos + along * sin, z]
        }
    }
}

fn single(p: [f64; 3]) -> [f32; 3] {
    p.map(|v| v as f32)
}

/// Gives ids, adds noise, weighs.
fn assemble(
    layers: &[Layer],
    particles: &[(State, usize, bool)],
    marks: &[Mark],
    noise: &[(Vec<usize>, usize)],
    rng: &mut Pcg64,
    number: u32,
) -> Result<Event> {
    let mut event = Event::default();
    let id = |i: usize, primary: bool| -> i64 {
        // Vertex, primary, generation, secondary, process, as in the real ids.
        let generation = i64::from(!primary);
        ((i as i64 % 200 + 1) << 52) | ((i as i64 + 1) << 36) | (generation << 24)
    };
    for (i, (state, nhits, primary)) in particles.iter().enumerate() {
        event.particles.particle_id.push(id(i, *primary));
        event.particles.vertex.push(single(state.position));
        event.particles.momentum.push(single(state.momentum()));
        event.particles.charge.push(state.charge as i32);
        event.particles.nhits.push(*nhits as i32);
    }
    // Density of noise: as that of the real hits, layer by layer.
    let mut rows: Vec<(usize, u32, [f64; 3], Option<&Mark>)> =
        marks.iter().map(|m| (m.layer, m.module, m.measured, Some(m))).collect();
    // Like which marks, and how many.
    let each = noise.iter().filter(|(of, _)| !of.is_empty()).flat_map(|(of, n)| std::iter::repeat_n(of, *n));
    for of in each {
        let like = &marks[of[rng.random_range(0..of.len())]];
        let layer = &layers[like.layer];
        let turn = TAU * rng.random::<f64>();
        let phi = turn - PI;
        let (module, _) = layer.module(phi);
        let off = (phi - layer.normal(module) + PI).rem_euclid(TAU) - PI;
        let place = match layer.surface {
            Surface::Barrel { half, .. } => {
                let r = layer.plane(module) / off.cos();
                let z = (like.measured[2] + 40.0 * normal(rng)).clamp(-half, half);
                [r * phi.cos(), r * phi.sin(), z]
            }
            Surface::Disk { inner, outer, .. } => {
                let r = (like.measured[0].hypot(like.measured[1]) + 15.0 * normal(rng)).clamp(inner, outer);
                [r * phi.cos(), r * phi.sin(), layer.plane(module)]
            }
        };
        rows.push((like.layer, module, place, None));
    }
    // Ids go by volume, layer, module, as in the real files.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&i| (layers[rows[i].0].volume, layers[rows[i].0].layer, rows[i].1, i));
    for (place, &i) in order.iter().enumerate() {
        let (layer, module, measured, mark) = &rows[i];
        event.hits.hit_id.push(place as i32 + 1);
        event.hits.xyz.push(single(*measured));
        event.hits.volume.push(layers[*layer].volume);
        event.hits.layer.push(layers[*layer].layer);
        event.hits.module.push(*module as i32 + 1);
        event.truth.hit_id.push(place as i32 + 1);
        match mark {
            Some(mark) => {
                event.truth.particle_id.push(id(mark.particle, particles[mark.particle].2));
                event.truth.position.push(single(mark.at.position));
                event.truth.momentum.push(single(mark.at.momentum()));
            }
            None => {
                event.truth.particle_id.push(0);
                event.truth.position.push(single(*measured));
                // As in the real files: noise carries absurd momenta.
                event.truth.momentum.push([-1e5, 1e5, 1e6]);
            }
        }
    }
    event.truth.weight = vec![0.0; event.truth.hit_id.len()];
    let path = std::path::PathBuf::from(super::name(number));
    let by_rule = weights(&event.truth, &event.particles, Phase::One, &path)?;
    event.truth.weight = by_rule.into_iter().map(|w| w as f32).collect();
    Ok(event)
}
