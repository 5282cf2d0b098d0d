//! Particles on their way through the layers.

use std::f64::consts::{PI, TAU};

use common::Result;
use common::seed::rng_for;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::detector::{Layer, Surface, layers};
use super::modules::{Detector, Module};
pub use super::state::State;
use super::{Event, SimulateConfig};
use crate::trackml::{Phase, weights};

/// Spread of the collisions across the beam, mm; measured on a real event.
const VERTEX_XY: f64 = 0.015;

/// Secondaries of [`SimulateConfig::vertex_radii`]: spread of their azimuth around that of the parent (rad), share of the parent's
/// pseudorapidity that they keep, spread around it, and the farthest vertex along the beam (mm). After the real event of the
/// whole detector.
const AROUND: f64 = 1.2;
const PARENT: f64 = 0.4;
const ALONG: f64 = 0.8;
const FARTHEST: f64 = 1500.0;

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

/// The modules that a config asks for; none where layers have no modules of their own.
pub fn detector(config: &SimulateConfig) -> Result<Option<Detector>> {
    config.detector.as_ref().map(|what| Detector::open(what, config.barrel_only)).transpose()
}

/// A secondary of a parent with some pseudorapidity: it starts at a radius between those of its tenth, evenly in the
/// logarithm, in nearly any direction.
fn displaced(from: State, parent: f64, radii: &[f64; 9], scale: f64, least: f64, rng: &mut Pcg64) -> State {
    let at = 10.0 * rng.random::<f64>();
    let tenth = (at as usize).min(9);
    let below = if tenth == 0 { 0.2 * radii[0] } else { radii[tenth - 1] };
    let above = if tenth == 9 { 2.0 * radii[8] } else { radii[tenth] };
    let flight = below * (above / below).powf(at - tenth as f64);
    // A parent that left the detector along the beam made nothing in it.
    let lift = parent.sinh().clamp(-FARTHEST / flight, FARTHEST / flight);
    let [x, y, z] = from.position;
    State {
        position: [x + flight * from.phi.cos(), y + flight * from.phi.sin(), z + flight * lift],
        phi: from.phi + AROUND * normal(rng),
        pt: draw_pt(rng, least, scale),
        slope: (PARENT * lift.asinh() + ALONG * normal(rng)).sinh(),
        ..from
    }
}

/// Simulates event `number`.
pub fn simulate(config: &SimulateConfig, number: u32) -> Result<Event> {
    simulate_in(config, detector(config)?.as_ref(), number)
}

/// Simulates event `number` in the modules of [`detector`].
pub fn simulate_in(config: &SimulateConfig, detector: Option<&Detector>, number: u32) -> Result<Event> {
    let mut rng = rng_for(config.seed, "tracknet-event", u64::from(number));
    let mut layers = detector.map_or_else(|| layers(config.barrel_only), |detector| detector.layers.clone());
    if let Some(resolution) = config.disk_resolution {
        for layer in layers.iter_mut().filter(|layer| matches!(layer.surface, Surface::Disk { .. })) {
            [layer.sigma_phi, layer.sigma_long] = resolution[layer.kind()];
        }
    }
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
            turning: 1.0,
        };
        if !primary && let Some(radii) = &config.vertex_radii {
            let scale = config.secondary_pt_scale.unwrap_or(config.pt_scale);
            state = displaced(state, eta, radii, scale, config.min_pt, &mut rng);
        } else if !primary {
            // A neutral parent flew on before it made this one.
            let flight = -config.flight * (1.0 - rng.random::<f64>()).ln();
            let [x, y, z] = state.position;
            state.position = [x + flight * state.phi.cos(), y + flight * state.phi.sin(), z + flight * state.slope];
            state.phi += 0.25 * normal(&mut rng) / (1.0 + state.pt);
            state.slope += 0.1 * normal(&mut rng) / (1.0 + state.pt);
        }
        let before = marks.len();
        fly(config, (&layers, detector), state, i, &mut marks, &mut rng);
        particles.push((state, marks.len() - before, primary));
    }
    let share = |real: f64, noise: f64| (real * noise / (1.0 - noise)).round() as usize;
    let noise = match config.noise_by_region {
        None => vec![((0..marks.len()).collect(), share(marks.len() as f64, config.noise))],
        Some(shares) => (0..6)
            .map(|region| {
                let (kind, disk) = (region / 2, region % 2 == 1);
                let within = |layer: &Layer| layer.kind() == kind && layer.is_disk() == disk;
                let of: Vec<usize> = (0..marks.len()).filter(|&m| within(&layers[marks[m].layer])).collect();
                let wanted = share(of.len() as f64, shares[kind][usize::from(disk)]);
                (of, wanted)
            })
            .collect(),
    };
    assemble((&layers, detector), &particles, &marks, &noise, &mut rng, number)
}

/// Leaves the hits of one particle.
fn fly(
    config: &SimulateConfig,
    (layers, detector): (&[Layer], Option<&Detector>),
    start: State,
    particle: usize,
    marks: &mut Vec<Mark>,
    rng: &mut Pcg64,
) {
    let mut state = start;
    let mut passed = vec![false; layers.len()];
    loop {
        if let Some(solenoid) = &config.solenoid {
            state = state.felt(solenoid).0;
        }
        let next = layers
            .iter()
            .enumerate()
            .filter(|(i, _)| !passed[*i])
            .filter_map(|(i, layer)| state.to_module(layer).map(|(t, module, edge)| (t, i, module, edge)))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((t, i, module, edge)) = next else { return };
        let layer = &layers[i];
        passed[i] = true;
        let (near, at, module, edge) = match &config.solenoid {
            None => (state, state.turned(t), module, edge),
            Some(solenoid) => match state.fly_to(layer, solenoid) {
                Some(there) => there,
                None => continue,
            },
        };
        if let Some(detector) = detector {
            for crossing in detector.crossed(i, &near, &at) {
                if rng.random::<f64>() < config.inefficiency {
                    continue;
                }
                let measured = measure_in(&detector.modules[i][crossing.module], layer, &crossing.at, rng);
                marks.push(Mark { layer: i, module: crossing.module as u32, measured, particle, at: crossing.at });
            }
        } else if rng.random::<f64>() >= config.inefficiency {
            marks.push(Mark { layer: i, module, measured: measure(layer, module, &at, rng), particle, at });
            let overlap = config.overlap[usize::from(matches!(layer.surface, Surface::Disk { .. }))];
            if config.double_hits && edge.abs() > 1.0 - 2.0 * overlap {
                let side = if edge > 0.0 { 1 } else { layer.modules - 1 };
                let other = (module + side) % layer.modules;
                let phi = at.position[1].atan2(at.position[0]);
                if let Some(t) = near.to_flat(layer, other, phi) {
                    let at = near.turned(t);
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
        if config.absorption > 0.0 && rng.random::<f64>() < config.absorption * aslant {
            return;
        }
        let lost = 1e-3 * config.energy_loss_mev * aslant;
        let momentum = (state.pt / cosine * (1.0 - config.energy_loss) - lost).max(0.01);
        let scattering = config.scattering_by_kind.map_or(config.scattering, |angles| angles[layer.kind()]);
        let sigma = scattering / momentum * aslant.sqrt();
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

/// Smears a crossing in the plane of a module of a list.
fn measure_in(module: &Module, layer: &Layer, at: &State, rng: &mut Pcg64) -> [f64; 3] {
    let [u, v] = module.local(at.position);
    let across = layer.sigma_phi * normal(rng);
    // An even distribution of the same width.
    let along = layer.sigma_long * if layer.flat { 12.0_f64.sqrt() * (rng.random::<f64>() - 0.5) } else { normal(rng) };
    module.place(u + across, v + along)
}

fn single(p: [f64; 3]) -> [f32; 3] {
    p.map(|v| v as f32)
}

/// Gives ids, adds noise, weighs.
fn assemble(
    (layers, detector): (&[Layer], Option<&Detector>),
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
        if let Some(detector) = detector {
            // Each module makes as much noise as any other of its region.
            let layer = &layers[marks[of[rng.random_range(0..of.len())]].layer];
            let (kind, disk) = (layer.kind(), layer.is_disk());
            let region = || (0..layers.len()).filter(|&l| layers[l].kind() == kind && layers[l].is_disk() == disk);
            let mut place = rng.random_range(0..region().map(|l| detector.modules[l].len()).sum::<usize>());
            for l in region() {
                if let Some(module) = detector.modules[l].get(place) {
                    let v = (2.0 * rng.random::<f64>() - 1.0) * module.half[2];
                    let u = (2.0 * rng.random::<f64>() - 1.0) * module.half_width(v);
                    rows.push((l, place as u32, module.place(u, v), None));
                    break;
                }
                place -= detector.modules[l].len();
            }
            continue;
        }
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
        let listed = detector.map(|detector| detector.modules[*layer][*module as usize].id[2]);
        event.hits.module.push(listed.unwrap_or(*module as i32 + 1));
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

#[cfg(test)]
mod tests {
    use super::super::detector::MM_PER_GEV;
    use super::*;
    use crate::tracker::field::Solenoid;

    /// Momentum (GeV/c) and position by the equation of motion, Runge and Kutta of fourth order in steps of 0.5 mm.
    fn integrated(mut at: [f64; 6], charge: f64, solenoid: &Solenoid, z: f64) -> [f64; 6] {
        let rate = |s: &[f64; 6]| {
            let [x, y, z, px, py, pz] = *s;
            let p = (px * px + py * py + pz * pz).sqrt();
            let (axial, gradient) = (solenoid.axial(z), solenoid.gradient(z));
            let field = [-0.5 * x * gradient, -0.5 * y * gradient, axial].map(|b| b / MM_PER_GEV * charge / p);
            [
                px / p,
                py / p,
                pz / p,
                py * field[2] - pz * field[1],
                pz * field[0] - px * field[2],
                px * field[1] - py * field[0],
            ]
        };
        let add = |a: &[f64; 6], b: &[f64; 6], h: f64| -> [f64; 6] { std::array::from_fn(|i| a[i] + h * b[i]) };
        while at[2] < z {
            let h = 0.5_f64.min((z - at[2]) / rate(&at)[2]).max(1e-9);
            let a = rate(&at);
            let b = rate(&add(&at, &a, 0.5 * h));
            let c = rate(&add(&at, &b, 0.5 * h));
            let d = rate(&add(&at, &c, h));
            at = std::array::from_fn(|i| at[i] + h / 6.0 * (a[i] + 2.0 * b[i] + 2.0 * c[i] + d[i]));
        }
        at
    }

    #[test]
    fn steps_in_a_solenoid_follow_the_equation_of_motion() {
        let solenoid = Solenoid::TRACKML;
        let disks: Vec<Layer> = layers(false).into_iter().filter(|layer| layer.volume == 14).collect();
        for (pt, slope, charge, phi) in [(0.5, 4.5, 1.0, 0.4), (1.0, 5.5, -1.0, 2.0), (3.0, 6.0, 1.0, -1.0)] {
            let start = State { position: [3.0, -2.0, 40.0], phi, pt, slope, charge, turning: 1.0 };
            let (mut state, mut seen) = (start, 0);
            let mut ordered = disks.clone();
            ordered.sort_by_key(|layer| layer.layer);
            for layer in &ordered {
                let Some((_, at, ..)) = state.fly_to(layer, &solenoid) else { continue };
                let [px, py, pz] = start.momentum();
                let [x, y, z] = start.position;
                let want = integrated([x, y, z, px, py, pz], charge, &solenoid, at.position[2]);
                let off = (at.position[0] - want[0]).hypot(at.position[1] - want[1]);
                assert!(off < 0.05, "{off} mm off at {:?} {want:?}", at.position);
                let p = at.momentum();
                assert!((0..3).all(|k| (p[k] - want[k + 3]).abs() < 2e-3 * pt), "{p:?} {want:?}");
                (state, seen) = (at, seen + 1);
            }
            assert!(seen >= 3, "{seen} disks");
        }
    }
}
