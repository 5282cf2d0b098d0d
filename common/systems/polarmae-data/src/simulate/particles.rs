//! Particles of one event, voxel by voxel.

use std::collections::HashSet;

use common::config::Problems;
use rand::RngExt;
use rand_pcg::Pcg64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Side of the grid in voxels.
const SIDE: i32 = 768;

/// Semantic types, as published.
const SHOWER: i32 = 0;
const TRACK: i32 = 1;
const MICHEL: i32 = 2;
const DELTA: i32 = 3;
const SCATTER: i32 = 4;

/// What an event holds: ranges are drawn from evenly, ends included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Interactions.
    pub interactions: [u32; 2],
    /// Tracks of an interaction.
    pub tracks: [u32; 2],
    /// Length of a track in voxels.
    pub track_length: [u32; 2],
    /// Showers of an interaction.
    pub showers: [u32; 2],
    /// Voxels of a shower, about.
    pub shower_voxels: [u32; 2],
    /// Share of tracks that are muons: these can end in a Michel electron, and knock out delta rays.
    pub muons: f64,
    /// Share of muons that end in a Michel electron.
    pub michels: f64,
    /// Delta rays for each voxel of a muon.
    pub deltas: f64,
    /// Low-energy scatters, voxels.
    pub scatters: [u32; 2],
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            interactions: [1, 2],
            tracks: [1, 4],
            track_length: [60, 400],
            showers: [0, 2],
            shower_voxels: [200, 1500],
            muons: 0.6,
            michels: 0.5,
            deltas: 0.012,
            scatters: [100, 500],
        }
    }
}

impl Rates {
    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        for (name, [low, high]) in [
            ("interactions", self.interactions),
            ("tracks", self.tracks),
            ("track_length", self.track_length),
            ("showers", self.showers),
            ("shower_voxels", self.shower_voxels),
            ("scatters", self.scatters),
        ] {
            problems
                .demand(low <= high, &format!("{key}.{name}"), || format!("is [{low}, {high}], expected low <= high"));
        }
        for (name, share) in [("muons", self.muons), ("michels", self.michels), ("deltas", self.deltas)] {
            problems.demand((0.0..=1.0).contains(&share), &format!("{key}.{name}"), || {
                format!("is {share}, expected 0 to 1")
            });
        }
    }
}

/// The voxels of one particle, or of all scatters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cluster {
    /// Semantic type: 0 shower, 1 track, 2 Michel electron, 3 delta ray, 4 low-energy scatter.
    pub semantic: i32,
    /// Particle: 0 photon, 1 electron, 2 muon, 3 pion, 4 proton, -1 none.
    pub particle: i32,
    /// Particle that it belongs to.
    pub group: i32,
    /// Interaction that it belongs to.
    pub interaction: i32,
    /// Places on the grid, in the order in which they were reached.
    pub voxels: Vec<[i32; 3]>,
    /// Energy in each, MeV.
    pub energies: Vec<f32>,
}

/// The clusters of an event; the first one is that of the scatters.
pub fn event(rates: &Rates, rng: &mut Pcg64) -> Vec<Cluster> {
    let mut world = World { taken: HashSet::new(), clusters: vec![] };
    let mut group = 0;
    for interaction in 0..between(rng, rates.interactions) as i32 {
        let vertex = std::array::from_fn(|_| 150.0 + 468.0 * rng.random::<f64>());
        for _ in 0..between(rng, rates.tracks) {
            let identity = Identity { group, interaction };
            track(&mut world, rates, rng, vertex, identity);
            group += 1;
        }
        for _ in 0..between(rng, rates.showers) {
            shower(&mut world, rates, rng, vertex, Identity { group, interaction });
            group += 1;
        }
    }
    let scatters = scatters(&mut world, rates, rng);
    world.clusters.retain(|cluster| !cluster.voxels.is_empty());
    world.clusters.insert(0, scatters);
    world.clusters
}

struct World {
    taken: HashSet<[i32; 3]>,
    clusters: Vec<Cluster>,
}

#[derive(Clone, Copy)]
struct Identity {
    group: i32,
    interaction: i32,
}

impl World {
    /// Puts energy at a place, unless it lies outside or another voxel is there.
    fn deposit(&mut self, cluster: &mut Cluster, at: [f64; 3], energy: f64) {
        let voxel = at.map(|c| c.round() as i32);
        if voxel.iter().all(|c| (0..SIDE).contains(c)) && self.taken.insert(voxel) {
            cluster.voxels.push(voxel);
            cluster.energies.push(energy as f32);
        }
    }
}

fn cluster(semantic: i32, particle: i32, identity: Identity) -> Cluster {
    let Identity { group, interaction } = identity;
    Cluster { semantic, particle, group, interaction, ..Cluster::default() }
}

fn between(rng: &mut Pcg64, [low, high]: [u32; 2]) -> u32 {
    rng.random_range(low..=high)
}

fn normal(rng: &mut Pcg64) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn direction(rng: &mut Pcg64) -> [f64; 3] {
    unit(std::array::from_fn(|_| normal(rng)))
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let length = v.iter().map(|c| c * c).sum::<f64>().sqrt().max(1e-9);
    v.map(|c| c / length)
}

/// Turns a direction by a small random angle.
fn scattered(rng: &mut Pcg64, d: [f64; 3], angle: f64) -> [f64; 3] {
    unit(std::array::from_fn(|a| d[a] + angle * normal(rng)))
}

fn ahead(at: [f64; 3], d: [f64; 3], distance: f64) -> [f64; 3] {
    std::array::from_fn(|a| at[a] + distance * d[a])
}

/// Energy of one voxel: a most probable value with a tail of knocked-out electrons.
fn deposit_of(rng: &mut Pcg64, typical: f64) -> f64 {
    let tail = -(1.0 - rng.random::<f64>()).ln();
    typical * (0.8 + 0.12 * normal(rng).abs() + 0.25 * tail)
}

fn track(world: &mut World, rates: &Rates, rng: &mut Pcg64, vertex: [f64; 3], identity: Identity) {
    let muon = rng.random::<f64>() < rates.muons;
    let length = between(rng, rates.track_length);
    let length = if muon { length } else { length / 2 + 1 };
    let typical = if muon { 0.65 } else { 1.3 };
    let (mut at, mut d) = (vertex, direction(rng));
    let mut own = cluster(TRACK, if muon { 2 } else { 4 }, identity);
    let mut knocked = vec![];
    for step in 0..length {
        // The Bragg peak: a particle that stops leaves more.
        let rest = f64::from(length - step);
        let energy = deposit_of(rng, typical * (1.0 + 3.0 / (1.0 + rest / 4.0)));
        world.deposit(&mut own, at, energy);
        d = scattered(rng, d, 0.012);
        at = ahead(at, d, 1.0);
        if muon && rng.random::<f64>() < rates.deltas {
            knocked.push((at, d));
        }
    }
    world.clusters.push(own);
    for (from, d) in knocked {
        let mut delta = cluster(DELTA, 1, identity);
        let length = between(rng, [4, 14]);
        let away = scattered(rng, d, 0.8);
        curl(world, rng, &mut delta, from, away, length, 0.35);
        world.clusters.push(delta);
    }
    if muon && rng.random::<f64>() < rates.michels {
        let mut michel = cluster(MICHEL, 1, identity);
        let (d, length) = (direction(rng), between(rng, [15, 55]));
        curl(world, rng, &mut michel, at, d, length, 0.18);
        world.clusters.push(michel);
    }
}

/// A slow electron: one voxel a step, many turns.
fn curl(world: &mut World, rng: &mut Pcg64, own: &mut Cluster, from: [f64; 3], d: [f64; 3], length: u32, angle: f64) {
    let (mut at, mut d) = (ahead(from, d, 1.5), d);
    for _ in 0..length {
        let energy = deposit_of(rng, 0.55);
        world.deposit(own, at, energy);
        d = scattered(rng, d, angle);
        at = ahead(at, d, 1.0);
    }
}

/// A cascade: electrons that radiate photons, which make electrons a little further on.
fn shower(world: &mut World, rates: &Rates, rng: &mut Pcg64, vertex: [f64; 3], identity: Identity) {
    let budget = between(rng, rates.shower_voxels) as usize;
    let axis = direction(rng);
    let mut own = cluster(SHOWER, 0, identity);
    let start = ahead(vertex, axis, 4.0 - 18.0 * (1.0 - rng.random::<f64>()).ln());
    let mut waiting = vec![(start, axis, 40.0)];
    while let Some((mut at, mut d, length)) = waiting.pop() {
        if own.voxels.len() >= budget {
            break;
        }
        for _ in 0..(length * (0.5 + rng.random::<f64>())) as u32 {
            let energy = deposit_of(rng, 0.6);
            world.deposit(&mut own, at, energy);
            if rng.random::<f64>() < 0.3 {
                // Neighbouring voxels share the charge of a dense core.
                let side = direction(rng);
                let energy = deposit_of(rng, 0.35);
                world.deposit(&mut own, ahead(at, side, 1.2), energy);
            }
            d = scattered(rng, d, 0.06);
            at = ahead(at, d, 1.0);
            if rng.random::<f64>() < 0.12 {
                let branch = scattered(rng, d, 0.22);
                let gap = 2.0 - 9.0 * (1.0 - rng.random::<f64>()).ln();
                waiting.insert(0, (ahead(at, branch, gap), branch, (length * 0.75).max(4.0)));
            }
        }
    }
    world.clusters.push(own);
}

/// Blobs of a few weak voxels anywhere.
fn scatters(world: &mut World, rates: &Rates, rng: &mut Pcg64) -> Cluster {
    let mut own = cluster(SCATTER, -1, Identity { group: -1, interaction: -1 });
    let most = between(rng, rates.scatters) as usize;
    while own.voxels.len() < most {
        let mut at: [f64; 3] = std::array::from_fn(|_| f64::from(SIDE) * rng.random::<f64>());
        for _ in 0..between(rng, [1, 4]) {
            let energy = 0.05 - 0.25 * (1.0 - rng.random::<f64>()).ln();
            world.deposit(&mut own, at, energy);
            at = ahead(at, direction(rng), 1.0);
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::seed::rng_for;

    #[test]
    fn the_first_cluster_is_that_of_the_scatters_and_no_voxel_is_used_twice() {
        let mut kinds = HashSet::new();
        for number in 0..20 {
            let clusters = event(&Rates::default(), &mut rng_for(1, "event", number));
            assert!(clusters[0].semantic == SCATTER && clusters[1..].iter().all(|c| c.semantic != SCATTER));
            let all: Vec<_> = clusters.iter().flat_map(|c| c.voxels.clone()).collect();
            assert_eq!(all.len(), all.iter().collect::<HashSet<_>>().len());
            assert!(all.iter().flatten().all(|c| (0..SIDE).contains(c)));
            assert!(clusters.iter().all(|c| c.voxels.len() == c.energies.len()));
            assert!(clusters.iter().flat_map(|c| &c.energies).all(|e| *e > 0.0 && e.is_finite()));
            kinds.extend(clusters.iter().map(|c| c.semantic));
        }
        assert_eq!(kinds.len(), 5);
    }
}
