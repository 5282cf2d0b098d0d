//! One event: a neutrino, its light, and what the sensors make of it.
//!
//! A track is a muon that crosses the detector at the speed of light and drags a cone of Cherenkov light behind it; a
//! cascade is a flash in one point whose light goes mostly forward. Light spreads, is absorbed and scattered by the ice
//! around the sensor that sees it. This is no detector simulation, but it has what a network learns from: arrival times
//! on the Cherenkov cone, brightness that falls with distance, delays that grow with it, coincidences and noise.

use rand::{Rng, RngExt};
use rand_pcg::Pcg64;

use super::config::Physics;
use super::detector::{Detector, STRING};

/// Speed of light in vacuum, m/ns.
const C: f64 = 0.299_792_458;
/// Group refractive index of ice at 400 nm.
const INDEX: f64 = 1.356;
/// Angle of Cherenkov light against the track (phase index 1.32).
const CHERENKOV: f64 = 0.711;
/// Earliest scattering: metres that light travels as if there were none.
const NEAR_M: f64 = 5.0;
/// Trigger window in ns around the first coincidence.
const WINDOW_NS: [f64; 2] = [-4000.0, 6000.0];
/// Where the first coincidence stands on the clock of an event.
const TRIGGER_NS: f64 = 1e4;
/// Sensors of a string that count as neighbours, and the time within which they confirm each other.
const NEIGHBOURS: i32 = 2;
const COINCIDENCE_NS: f64 = 1000.0;
/// Pulses of a sensor this close in time are seen as one.
const MERGE_NS: i64 = 20;
/// Step of a charge in photo-electrons.
const CHARGE_STEP: f64 = 0.025;
/// Pulses of an event at most.
pub const MOST_PULSES: f64 = 20_000.0;
/// Coincident pulses that trigger the detector.
const TRIGGER_PULSES: usize = 4;

/// What kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A muon crosses the detector.
    Track,
    /// A shower in one point.
    Cascade,
}

impl Kind {
    /// Its name in the table of truths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Cascade => "cascade",
        }
    }
}

/// One pulse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pulse {
    /// Which sensor.
    pub sensor: i16,
    /// When, in ns.
    pub time: i64,
    /// Charge in photo-electrons.
    pub charge: f64,
    /// Whether no neighbour confirms it.
    pub auxiliary: bool,
}

/// A simulated event.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// Where the neutrino comes from.
    pub azimuth: f64,
    /// Angle of that direction to the vertical.
    pub zenith: f64,
    /// Track or cascade.
    pub kind: Kind,
    /// Photo-electrons that the light was to leave: a stand-in for the energy.
    pub brightness: f64,
    /// Where a cascade is, or a point on a track, in metres.
    pub vertex: [f64; 3],
    /// Pulses in time order.
    pub pulses: Vec<Pulse>,
}

/// GeV for each photo-electron that the light leaves: about what a cascade in the middle of the detector needs.
pub const GEV_PER_PHOTON: f64 = 10.0;

/// Draws events until one triggers the detector.
pub fn simulate(detector: &Detector, physics: &Physics, rng: &mut Pcg64) -> Simulated {
    loop {
        let azimuth = uniform(rng) * std::f64::consts::TAU;
        let zenith = (1.0 - 2.0 * uniform(rng)).acos();
        let kind = if uniform(rng) < physics.tracks { Kind::Track } else { Kind::Cascade };
        let brightness = (physics.median_pulses * (physics.spread * normal(rng)).exp()).min(MOST_PULSES);
        let (light, vertex) = light(detector, kind, azimuth, zenith, brightness, rng);
        let mut hits = photons(detector, &light, physics, rng);
        let Some(trigger) = first_coincidence(&mut hits) else { continue };
        hits.retain(|hit| (WINDOW_NS[0]..=WINDOW_NS[1]).contains(&(hit.time - trigger)));
        let noise = poisson(rng, physics.noise_pulses);
        for _ in 0..noise {
            let time = trigger + WINDOW_NS[0] + uniform(rng) * (WINDOW_NS[1] - WINDOW_NS[0]);
            hits.push(Hit { sensor: rng.random_range(0..detector.sensors.len()), time });
        }
        let pulses = pulses(hits, trigger, rng);
        return Simulated { azimuth, zenith, kind, brightness, vertex, pulses };
    }
}

/// Light at a sensor.
struct Seen {
    sensor: usize,
    /// Expected photo-electrons.
    mean: f64,
    /// Earliest arrival in ns.
    time: f64,
    /// Metres from the emission, in units of the scattering length there.
    scatterings: f64,
}

/// A photo-electron.
struct Hit {
    sensor: usize,
    time: f64,
}

fn light(
    d: &Detector,
    kind: Kind,
    azimuth: f64,
    zenith: f64,
    brightness: f64,
    rng: &mut Pcg64,
) -> (Vec<Seen>, [f64; 3]) {
    // Physics has the cosine first (see `crate::angles`), and the particle flies away from where it comes from.
    let from = [azimuth.cos() * zenith.sin(), azimuth.sin() * zenith.sin(), zenith.cos()];
    let along = from.map(|c| -c);
    // Tracks pass anywhere through the detector, cascades lie well inside.
    let reach = if kind == Kind::Track { 0.8 } else { 0.7 };
    let point: [f64; 3] = std::array::from_fn(|k| d.centre[k] + reach * d.half[k] * (2.0 * uniform(rng) - 1.0));
    let mut seen: Vec<Seen> = Vec::new();
    let mut total = 0.0;
    for (sensor, position) in d.sensors.iter().enumerate() {
        let to: [f64; 3] = std::array::from_fn(|k| position[k] - point[k]);
        let ahead: f64 = to.iter().zip(along).map(|(a, b)| a * b).sum();
        let away2: f64 = to.iter().map(|c| c * c).sum();
        let (path, time, shape) = match kind {
            Kind::Track => {
                let side = (away2 - ahead * ahead).max(1.0).sqrt();
                let path = side / CHERENKOV.sin();
                // The muon emits this light `side / tan` before the closest point.
                let time = (ahead - side / CHERENKOV.tan()) / C + path * INDEX / C;
                (path, time, 1.0)
            }
            Kind::Cascade => {
                let path = away2.max(1.0).sqrt();
                let cosine = ahead / path;
                // Forward peaked around the Cherenkov angle, with a tail to all sides.
                let off = cosine.clamp(-1.0, 1.0).acos() - CHERENKOV;
                (path, path * INDEX / C, 0.06 + (-(off / 0.45).powi(2)).exp())
            }
        };
        if path > 400.0 {
            continue;
        }
        let [scattering, absorption] = d.ice_at(position[2]);
        let spread = if kind == Kind::Track { path + NEAR_M } else { (path + NEAR_M).powi(2) };
        let mean = shape * (-path / absorption.max(1.0)).exp() / spread;
        total += mean;
        seen.push(Seen { sensor, mean, time, scatterings: (path - NEAR_M).max(0.0) / scattering.max(1.0) });
    }
    for light in &mut seen {
        light.mean *= brightness / total.max(f64::MIN_POSITIVE);
    }
    (seen, point)
}

fn photons(detector: &Detector, light: &[Seen], physics: &Physics, rng: &mut Pcg64) -> Vec<Hit> {
    debug_assert!(light.iter().all(|seen| seen.sensor < detector.sensors.len()));
    let mut hits = Vec::new();
    for seen in light {
        for _ in 0..poisson(rng, seen.mean) {
            // Scattered light is late: a mean delay that grows with the number of scatterings.
            let delay = -(1.0 - uniform(rng)).ln() * 8.0 * seen.scatterings.powf(1.3);
            hits.push(Hit { sensor: seen.sensor, time: seen.time + delay + physics.jitter_ns * normal(rng) });
        }
    }
    hits
}

/// Time of the first hit that a neighbour confirms; sorts the hits by time. `None` where too few are confirmed.
fn first_coincidence(hits: &mut [Hit]) -> Option<f64> {
    hits.sort_by(|a, b| a.time.total_cmp(&b.time));
    let confirmed = confirmed(hits.iter().map(|hit| (hit.sensor, hit.time)));
    let mut times = hits.iter().zip(&confirmed).filter(|(_, confirmed)| **confirmed).map(|(hit, _)| hit.time);
    let first = times.next()?;
    (times.count() + 1 >= TRIGGER_PULSES).then_some(first)
}

/// Which of the hits, ascending in time, have one on another sensor nearby on the same string within a microsecond.
fn confirmed(hits: impl Iterator<Item = (usize, f64)>) -> Vec<bool> {
    let hits: Vec<(usize, f64)> = hits.collect();
    let mut order: Vec<usize> = (0..hits.len()).collect();
    // By string: within one, hits stay in time order.
    order.sort_by_key(|&i| hits[i].0 / STRING);
    let mut confirmed = vec![false; hits.len()];
    for (place, &i) in order.iter().enumerate() {
        for &j in &order[place + 1..] {
            let ((a, s), (b, t)) = (hits[i], hits[j]);
            if a / STRING != b / STRING || t - s > COINCIDENCE_NS {
                break;
            }
            let apart = (a as i32 - b as i32).abs();
            if (1..=NEIGHBOURS).contains(&apart) {
                (confirmed[i], confirmed[j]) = (true, true);
            }
            if confirmed[i] && t - s > 100.0 {
                break;
            }
        }
    }
    confirmed
}

fn pulses(mut hits: Vec<Hit>, trigger: f64, rng: &mut Pcg64) -> Vec<Pulse> {
    hits.sort_by(|a, b| a.time.total_cmp(&b.time));
    let mut last: std::collections::HashMap<usize, usize> = std::collections::HashMap::new();
    let mut pulses: Vec<Pulse> = Vec::with_capacity(hits.len());
    for hit in &hits {
        let time = (hit.time - trigger + TRIGGER_NS).round() as i64;
        // A photo-electron gives about one unit, never less than a tenth.
        let charge = (1.0 + 0.3 * normal(rng)).max(0.1);
        match last.get(&hit.sensor) {
            Some(&place) if time - pulses[place].time <= MERGE_NS => pulses[place].charge += charge,
            _ => {
                last.insert(hit.sensor, pulses.len());
                pulses.push(Pulse { sensor: hit.sensor as i16, time, charge, auxiliary: true });
            }
        }
    }
    let confirmed = confirmed(pulses.iter().map(|pulse| (pulse.sensor as usize, pulse.time as f64)));
    for (pulse, confirmed) in pulses.iter_mut().zip(confirmed) {
        pulse.auxiliary = !confirmed;
        pulse.charge = (pulse.charge / CHARGE_STEP).round().max(1.0) * CHARGE_STEP;
    }
    pulses
}

fn uniform(rng: &mut Pcg64) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

fn normal(rng: &mut Pcg64) -> f64 {
    (-2.0 * (1.0 - uniform(rng)).ln()).sqrt() * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// A Poisson number: by multiplying uniforms for small means, by a rounded normal for large ones.
fn poisson(rng: &mut Pcg64, mean: f64) -> usize {
    if mean > 50.0 {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0) as usize;
    }
    let limit = (-mean).exp();
    let (mut count, mut product) = (0, uniform(rng));
    while product > limit {
        count += 1;
        product *= uniform(rng);
    }
    count
}

#[cfg(test)]
mod tests {
    use crate::angles;
    use common::seed::rng_for;

    use super::*;
    use crate::simulate::detector;

    fn world() -> Detector {
        let folder = tempfile::tempdir().unwrap();
        let (geometry, ice) = (folder.path().join("g.csv"), folder.path().join("ice.txt"));
        common::durable::write(&geometry, detector::GEOMETRY).unwrap();
        common::durable::write(&ice, detector::ICE).unwrap();
        Detector::read(&geometry, &ice).unwrap()
    }

    #[test]
    fn events_look_like_the_published_ones() {
        let detector = world();
        let physics = Physics::default();
        let events: Vec<Simulated> =
            (0..200).map(|i| simulate(&detector, &physics, &mut rng_for(1, "event", i))).collect();
        let mut confirmed = 0;
        let mut all = 0;
        for event in &events {
            assert!(event.pulses.is_sorted_by_key(|pulse| pulse.time));
            assert!(event.pulses.iter().all(|p| (0..5160).contains(&p.sensor) && p.charge > 0.0));
            assert!(event.pulses.iter().all(
                |p| (p.charge / CHARGE_STEP).fract().abs() < 1e-6 || (p.charge / CHARGE_STEP).fract() > 1.0 - 1e-6
            ));
            confirmed += event.pulses.iter().filter(|p| !p.auxiliary).count();
            all += event.pulses.len();
        }
        let mean = all as f64 / events.len() as f64;
        assert!((70.0..160.0).contains(&mean), "{mean} pulses an event");
        assert!((0.2..0.8).contains(&(confirmed as f64 / all as f64)), "{confirmed} of {all} confirmed");
    }

    #[test]
    fn a_line_through_the_pulses_of_a_track_points_back_to_its_origin() {
        let detector = world();
        let physics = Physics { tracks: 1.0, noise_pulses: 5.0, median_pulses: 120.0, ..Physics::default() };
        let mut near = 0;
        for i in 0..60 {
            let event = simulate(&detector, &physics, &mut rng_for(2, "event", i));
            let hits: Vec<&Pulse> = event.pulses.iter().filter(|p| !p.auxiliary).collect();
            let n = hits.len() as f64;
            let t0 = hits.iter().map(|p| p.time as f64).sum::<f64>() / n;
            let velocity: [f64; 3] = std::array::from_fn(|k| {
                let mean = hits.iter().map(|p| detector.sensors[p.sensor as usize][k]).sum::<f64>() / n;
                let covariance = |p: &&Pulse| (p.time as f64 - t0) * (detector.sensors[p.sensor as usize][k] - mean);
                hits.iter().map(covariance).sum()
            });
            // Back along the velocity, with the competition's exchanged components.
            let origin = [-velocity[1], -velocity[0], -velocity[2]];
            near += usize::from(angles::opening(origin, angles::vector(event.azimuth, event.zenith)) < 0.6);
        }
        assert!(near > 40, "{near} of 60 within 0.6 rad");
    }
}
