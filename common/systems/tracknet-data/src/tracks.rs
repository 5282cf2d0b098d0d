//! From an event to the tracks of its particles: join, group, blacklist, sort, transform, filter, in the order of the
//! original (`src/tracknet/data/dataset.py`), vectorised: the original spends 3.5 s of Python loops an event.

use std::path::Path;

use common::Result;
use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blacklist::Blacklist;
use crate::event::{self, Hits, Particles, Places, Truth};
use crate::gaps::Gaps;
use crate::normalizer::Normalizer;

/// What is done to a track, in order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Keep the first hit of each layer; overlapping modules give two.
    DropRepeatedLayers,
    /// Min-max normalisation of the positions.
    Normalize(Normalizer),
}

/// Which tracks are kept; hit counts are those after the transforms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// Fewest hits, >= 3. `null`: any number. Published: 3.
    pub min_hits: Option<usize>,
    /// Smallest transverse momentum in GeV/c. `null`: any. Published: 1.
    pub min_pt: Option<f32>,
    /// Layers (volume, layer) of which the first hit must be one; empty: any. Published: (8,2), (7,14), (9,2).
    pub first_layers: Vec<(i32, i32)>,
}

impl Filters {
    /// Those of the published configuration.
    pub fn published() -> Self {
        Self { min_hits: Some(3), min_pt: Some(1.0), first_layers: SEED_LAYERS.to_vec() }
    }

    /// Checks ranges.
    pub fn validate(&self, at: &str, problems: &mut Problems) {
        if let Some(hits) = self.min_hits.filter(|&hits| hits <= 2) {
            problems.push(
                format!("{at}.min_hits"),
                format!("is {hits}, expected at least 3: a step ahead needs two hits and one more"),
            );
        }
        if let Some(pt) = self.min_pt.filter(|pt| !(*pt >= 0.0 && pt.is_finite())) {
            problems.push(format!("{at}.min_pt"), format!("is {pt}, expected a finite number >= 0"));
        }
    }
}

/// Innermost surfaces of the TrackML detector.
pub const SEED_LAYERS: [(i32, i32); 3] = [(8, 2), (7, 14), (9, 2)];

/// Transforms and filters of one data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What is done, in order.
    pub transforms: Vec<Transform>,
    /// Which tracks are kept.
    pub filters: Filters,
}

/// Tracks as ragged arrays: hits of track i are `offsets[i]..offsets[i + 1]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tracks {
    /// Bounds of the tracks, one more than tracks.
    pub offsets: Vec<usize>,
    /// Particle of each track.
    pub particle_id: Vec<i64>,
    /// Number of the group in its event, counted before the filters.
    pub track_id: Vec<i64>,
    /// Initial momentum in GeV/c.
    pub momentum: Vec<[f32; 3]>,
    /// Charge in e.
    pub charge: Vec<i32>,
    /// Positions after the transforms.
    pub xyz: Vec<[f32; 3]>,
    /// Cached r, phi, z.
    pub cylindrical: Vec<[f32; 3]>,
    /// Hit ids.
    pub hit_id: Vec<i32>,
    /// Volumes.
    pub volume: Vec<i32>,
    /// Layers.
    pub layer: Vec<i32>,
    /// Modules.
    pub module: Vec<i32>,
}

/// Transverse momentum, in f32 as published.
pub fn pt(momentum: [f32; 3]) -> f32 {
    (momentum[0] * momentum[0] + momentum[1] * momentum[1]).sqrt()
}

/// Spherical radius in f32, summed in the published order.
pub fn radius([x, y, z]: [f32; 3]) -> f32 {
    (x * x + y * y + z * z).sqrt()
}

/// r, phi, z.
pub fn cylindrical([x, y, z]: [f32; 3]) -> [f32; 3] {
    [(x * x + y * y).sqrt(), y.atan2(x), z]
}

impl Tracks {
    /// An empty list.
    pub fn new() -> Self {
        Self { offsets: vec![0], ..Self::default() }
    }

    /// Number of tracks.
    pub fn len(&self) -> usize {
        self.particle_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.particle_id.is_empty()
    }

    /// Hits of track `i`.
    pub fn hits(&self, i: usize) -> std::ops::Range<usize> {
        self.offsets[i]..self.offsets[i + 1]
    }

    /// Reads an event and makes its tracks.
    pub fn of_event(prefix: &Path, blacklist: Option<&Path>, recipe: &Recipe) -> Result<Self> {
        Self::with_gaps(prefix, blacklist, recipe).map(|(tracks, _)| tracks)
    }

    /// The same, with what the files of the event do not agree in.
    pub fn with_gaps(prefix: &Path, blacklist: Option<&Path>, recipe: &Recipe) -> Result<(Self, Gaps)> {
        let hits = Hits::read(prefix)?;
        let particles = Particles::read(prefix)?;
        let (truth_hits, truth_particles) = Truth::read_ids(prefix)?;
        let name = prefix.file_name().unwrap_or_default().to_string_lossy();
        let blacklist = blacklist.map(|folder| Blacklist::read(folder, &name)).transpose()?.unwrap_or_default();
        let path = event::part(prefix, "hits")?;
        let truth = (truth_hits.as_slice(), truth_particles.as_slice());
        // Truth and hits of ACTS are made of one another, and secondary particles may be listed elsewhere.
        let gaps = match event::knows_particles(prefix)? {
            true => Gaps::default(),
            false => Gaps::of(&hits, &particles, truth, &blacklist),
        };
        Ok((Self::build(&hits, &particles, truth, &blacklist, recipe, &path)?, gaps))
    }

    /// Makes the tracks of tables in memory; `path` names the hits in messages.
    pub fn build(
        hits: &Hits,
        particles: &Particles,
        (truth_hits, truth_particles): (&[i32], &[i64]),
        blacklist: &Blacklist,
        recipe: &Recipe,
        path: &Path,
    ) -> Result<Self> {
        let places = Places::of(&hits.hit_id, path)?;
        let mut order: Vec<u32> = (0..particles.particle_id.len() as u32).collect();
        order.sort_unstable_by_key(|&p| particles.particle_id[p as usize]);
        let ids: Vec<i64> = order.iter().map(|&p| particles.particle_id[p as usize]).collect();
        // Counting sort by rank of the particle: stable, and rows keep the order of the truth file.
        let mut members: Vec<(u32, u32)> = Vec::with_capacity(truth_hits.len());
        let mut counts = vec![0_u32; ids.len() + 1];
        for (hit, particle) in truth_hits.iter().zip(truth_particles) {
            if let (Ok(rank), Some(row)) = (ids.binary_search(particle), places.get(*hit)) {
                members.push((rank as u32, row as u32));
                counts[rank + 1] += 1;
            }
        }
        for rank in 0..ids.len() {
            counts[rank + 1] += counts[rank];
        }
        let mut rows = vec![0_u32; members.len()];
        let mut next = counts.clone();
        for (rank, row) in members {
            rows[next[rank as usize] as usize] = row;
            next[rank as usize] += 1;
        }
        let mut tracks = Self::new();
        let mut scratch = Scratch::default();
        let mut track_id = 0;
        for (rank, &id) in ids.iter().enumerate() {
            let group = &rows[counts[rank] as usize..counts[rank + 1] as usize];
            if group.is_empty() || blacklist.has_particle(id) {
                continue;
            }
            let listed = |&row: &u32| blacklist.has_hit(hits.hit_id[row as usize]);
            // As published: one listed hit drops the whole particle.
            if blacklist.has_hits() && group.iter().any(listed) {
                continue;
            }
            let particle = order[rank] as usize;
            let momentum = particles.momentum[particle];
            // Independent of the transforms, so tested before the work.
            if recipe.filters.min_pt.is_none_or(|least| pt(momentum) >= least) {
                scratch.load(hits, group);
                recipe.transforms.iter().for_each(|transform| scratch.apply(*transform, hits));
                if scratch.passes(&recipe.filters, hits) {
                    tracks.push(&scratch, hits, (id, track_id), momentum, particles.charge[particle]);
                }
            }
            track_id += 1;
        }
        Ok(tracks)
    }

    fn push(&mut self, track: &Scratch, hits: &Hits, (id, number): (i64, i64), momentum: [f32; 3], charge: i32) {
        self.particle_id.push(id);
        self.track_id.push(number);
        self.momentum.push(momentum);
        self.charge.push(charge);
        self.xyz.extend_from_slice(&track.xyz);
        self.cylindrical.extend_from_slice(&track.cylindrical);
        for &row in &track.rows {
            self.hit_id.push(hits.hit_id[row as usize]);
            self.volume.push(hits.volume[row as usize]);
            self.layer.push(hits.layer[row as usize]);
            self.module.push(hits.module[row as usize]);
        }
        self.offsets.push(self.xyz.len());
    }
}

/// One track at work.
#[derive(Default)]
struct Scratch {
    rows: Vec<u32>,
    xyz: Vec<[f32; 3]>,
    cylindrical: Vec<[f32; 3]>,
    keyed: Vec<(f32, u32)>,
}

impl Scratch {
    /// Takes the hits of a group, sorted by radius; equal radii keep the order of the file.
    fn load(&mut self, hits: &Hits, group: &[u32]) {
        self.keyed.clear();
        self.keyed.extend(group.iter().map(|&row| (radius(hits.xyz[row as usize]), row)));
        self.keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.rows.clear();
        self.rows.extend(self.keyed.iter().map(|k| k.1));
        self.xyz.clear();
        self.xyz.extend(self.rows.iter().map(|&row| hits.xyz[row as usize]));
        self.cache();
    }

    fn cache(&mut self) {
        self.cylindrical.clear();
        self.cylindrical.extend(self.xyz.iter().map(|&xyz| cylindrical(xyz)));
    }

    fn apply(&mut self, transform: Transform, hits: &Hits) {
        match transform {
            Transform::DropRepeatedLayers => {
                let key = |row: u32| (hits.volume[row as usize], hits.layer[row as usize]);
                let mut kept = 0;
                for i in 0..self.rows.len() {
                    let row = self.rows[i];
                    if self.rows[..kept].iter().all(|&before| key(before) != key(row)) {
                        self.rows[kept] = row;
                        self.xyz[kept] = self.xyz[i];
                        kept += 1;
                    }
                }
                self.rows.truncate(kept);
                self.xyz.truncate(kept);
                // As published: from the positions as they are now, so behind a normalisation these are no mm.
                self.cache();
            }
            Transform::Normalize(normalizer) => {
                self.xyz.iter_mut().for_each(|xyz| *xyz = normalizer.normalize(*xyz));
            }
        }
    }

    fn passes(&self, filters: &Filters, hits: &Hits) -> bool {
        let first = self.rows.first().map(|&row| (hits.volume[row as usize], hits.layer[row as usize]));
        filters.min_hits.is_none_or(|least| self.rows.len() >= least)
            && (filters.first_layers.is_empty() || first.is_some_and(|first| filters.first_layers.contains(&first)))
    }
}
