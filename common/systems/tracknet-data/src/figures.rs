//! Tracking figures of an event: how many particles were found, how many tracks are real.

use std::collections::HashMap;
use std::path::Path;

use common::Result;
use serde::{Deserialize, Serialize};

use crate::event::{Hits, Particles, Truth};
use crate::trackml::Submission;
use crate::tracks::{Blacklist, Filters, Recipe, Tracks, Transform, pt};

/// Counts of one event or a class of particles; sums over events add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Particles that could be found.
    pub reconstructible: u64,
    /// Of them, those that some track matches.
    pub found: u64,
    /// Tracks.
    pub tracks: u64,
    /// Tracks that match a particle, reconstructible or not.
    pub matched: u64,
    /// Matched tracks beyond the first of a particle.
    pub clones: u64,
    /// Sum over tracks of the share of hits that the majority particle made.
    pub hit_purity: f64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.reconstructible += other.reconstructible;
        self.found += other.found;
        self.tracks += other.tracks;
        self.matched += other.matched;
        self.clones += other.clones;
        self.hit_purity += other.hit_purity;
    }
}

impl Counts {
    /// Found over reconstructible (recall).
    pub fn efficiency(&self) -> f64 {
        self.found as f64 / self.reconstructible as f64
    }

    /// Matched over all tracks (precision).
    pub fn purity(&self) -> f64 {
        self.matched as f64 / self.tracks as f64
    }

    /// Tracks that match nothing, over all tracks.
    pub fn ghost_rate(&self) -> f64 {
        1.0 - self.purity()
    }

    /// Surplus tracks over all tracks.
    pub fn clone_rate(&self) -> f64 {
        self.clones as f64 / self.tracks as f64
    }

    /// Mean share of a track's hits that its majority particle made.
    pub fn mean_hit_purity(&self) -> f64 {
        self.hit_purity / self.tracks as f64
    }
}

/// Figures of an event, whole and in classes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Everything.
    pub all: Counts,
    /// Only tracks with a high estimated pT, by the limit of [`figures`].
    pub high_pt: Counts,
    /// Particles by pT in GeV/c: (name, counts of reconstructible and found).
    pub by_pt: Vec<(String, Counts)>,
    /// Particles by pseudorapidity.
    pub by_eta: Vec<(String, Counts)>,
    /// Particles by number of hits, one a layer.
    pub by_hits: Vec<(String, Counts)>,
}

/// Bounds of the classes.
const PT: [f32; 6] = [0.0, 0.5, 1.0, 2.0, 5.0, f32::INFINITY];
const ETA: [f32; 7] = [-4.0, -2.5, -1.0, 0.0, 1.0, 2.5, 4.0];
const HITS: [f32; 5] = [3.0, 6.0, 9.0, 12.0, 99.0];

/// Judges a submission. A track (number > 0) belongs to the particle with most of its hits (smallest id on ties), and
/// matches it where it holds more than `threshold` of the track's hits and of the particle's hits counted once a layer.
/// `estimate` gives the pT of a track by its number, for [`Figures::high_pt`] with tracks of at least `high_pt` GeV/c.
pub fn figures(
    (hits, particles, truth): (&Hits, &Particles, &Truth),
    submission: &Submission,
    filters: &Filters,
    threshold: f64,
    path: &Path,
    (estimate, high_pt): (&dyn Fn(i64) -> Option<f64>, f64),
) -> Result<Figures> {
    let once = |filters: Filters| -> Result<Tracks> {
        let recipe = Recipe { transforms: vec![Transform::DropRepeatedLayers], filters };
        let ids = (truth.hit_id.as_slice(), truth.particle_id.as_slice());
        Tracks::build(hits, particles, ids, &Blacklist::default(), &recipe, path)
    };
    let all = once(Filters::default())?;
    let layers: HashMap<i64, usize> = (0..all.len()).map(|i| (all.particle_id[i], all.hits(i).len())).collect();
    let wanted = once(filters.clone())?;
    let mut members: std::collections::BTreeMap<i64, Vec<i64>> = std::collections::BTreeMap::new();
    let particle_of: HashMap<i32, i64> = truth.hit_id.iter().copied().zip(truth.particle_id.iter().copied()).collect();
    for (hit, track) in submission.hit_id.iter().zip(&submission.track_id).filter(|(_, track)| **track > 0) {
        members.entry(*track).or_default().push(particle_of.get(hit).copied().unwrap_or(0));
    }
    let mut result = Figures::default();
    let mut matches: HashMap<i64, u64> = HashMap::new();
    for (track, mut of) in members {
        let size = of.len();
        of.sort_unstable();
        let mut best = (0, 0_i64);
        for group in of.chunk_by(|a, b| a == b).filter(|group| group[0] != 0) {
            if group.len() > best.0 {
                best = (group.len(), group[0]);
            }
        }
        let (shared, particle) = best;
        let real = shared as f64 > threshold * size as f64
            && layers.get(&particle).is_some_and(|&layers| shared as f64 > threshold * layers as f64);
        let before = matches.get(&particle).copied().unwrap_or(0);
        let counts = Counts {
            tracks: 1,
            matched: u64::from(real),
            clones: u64::from(real && before > 0),
            hit_purity: shared as f64 / size as f64,
            ..Counts::default()
        };
        result.all += counts;
        if estimate(track).is_some_and(|pt| pt >= high_pt) {
            result.high_pt += counts;
        }
        if real {
            *matches.entry(particle).or_default() += 1;
        }
    }
    let class = |bounds: &[f32]| -> Vec<(String, Counts)> {
        bounds.windows(2).map(|w| (format!("{}..{}", w[0], w[1]), Counts::default())).collect()
    };
    (result.by_pt, result.by_eta, result.by_hits) = (class(&PT), class(&ETA), class(&HITS));
    for i in 0..wanted.len() {
        let found = matches.contains_key(&wanted.particle_id[i]);
        let counts = Counts { reconstructible: 1, found: u64::from(found), ..Counts::default() };
        result.all += counts;
        let momentum = wanted.momentum[i];
        let transverse = pt(momentum);
        if f64::from(transverse) >= high_pt {
            result.high_pt += counts;
        }
        let eta = (momentum[2] / transverse.max(1e-9)).asinh();
        let put = |classes: &mut [(String, Counts)], bounds: &[f32], value: f32| {
            let at = bounds.partition_point(|b| *b <= value);
            if at > 0 && at < bounds.len() {
                classes[at - 1].1 += counts;
            }
        };
        put(&mut result.by_pt, &PT, transverse);
        put(&mut result.by_eta, &ETA, eta);
        put(&mut result.by_hits, &HITS, wanted.hits(i).len() as f32);
    }
    Ok(result)
}
