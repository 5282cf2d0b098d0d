//! Tracking figures of an event: how many particles were found, how many tracks are real, under several rules of what a
//! match is, whole and in classes of the particles' and tracks' kinematics.

use std::collections::{BTreeMap, HashMap, HashSet};

use common::Result;

use crate::blacklist::Blacklist;
use crate::classes::{Classes, Variable};
use crate::cuts::Cuts;
use crate::event::{Hits, Particles, Truth};
use crate::submission::Submission;
use crate::tracker::helix::{Estimate, estimate};
use crate::tracks::{Filters, Recipe, Tracks, Transform, pt};

/// When a track is a particle's, the one with most of its hits (smallest id on ties).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Double majority: the particle made more than this share of the track's hits, and the track holds more than this
    /// share of all hits of the particle.
    Double(f64),
    /// The track is the particle: the same set of hits.
    Perfect,
    /// As at the LHC: the particle made at least this share of the track's hits.
    Lhc(f64),
    /// As [`Rule::Double`] with the particle's hits counted once a layer: two halves of a track with second hits on
    /// overlapping modules both match. Kept for figures that were made so.
    Layers(f64),
}

impl Rule {
    /// The rules of a report, the default first.
    pub const ALL: [Self; 5] =
        [Self::Double(0.5), Self::Double(0.7), Self::Perfect, Self::Lhc(0.75), Self::Layers(0.5)];

    /// Name in reports.
    pub fn name(self) -> String {
        match self {
            Self::Double(share) => format!("double_{share}"),
            Self::Perfect => "perfect".into(),
            Self::Lhc(share) => format!("lhc_{share}"),
            Self::Layers(share) => format!("layers_{share}"),
        }
    }

    /// Whether a track of `size` hits, `shared` of them of a particle with `hits` hits in `layers` layers, is that particle.
    fn matches(self, shared: usize, size: usize, hits: usize, layers: usize) -> bool {
        let (part, size) = (shared as f64, size as f64);
        match self {
            Self::Double(share) => part > share * size && part > share * hits as f64,
            Self::Perfect => part == size && shared == hits,
            Self::Lhc(share) => part >= share * size,
            Self::Layers(share) => part > share * size && part > share * layers as f64,
        }
    }
}

/// Counts of one event or a class; sums over events add up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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
    /// Found over reconstructible (recall); NaN of nothing, as all ratios here.
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

/// Figures of an event under one rule, whole and in classes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Everything.
    pub all: Counts,
    /// Only tracks and particles with at least [`Cuts::high_pt`]; tracks by their estimate.
    pub high_pt: Counts,
    /// By variable. Particles stand in the class of their true value and pass all cuts but those on the variable itself;
    /// tracks stand in the class of their estimate.
    pub classes: Vec<Classes>,
}

impl std::ops::AddAssign<&Figures> for Figures {
    fn add_assign(&mut self, other: &Figures) {
        self.all += other.all;
        self.high_pt += other.high_pt;
        if self.classes.is_empty() {
            self.classes.clone_from(&other.classes);
        } else {
            self.classes.iter_mut().zip(&other.classes).for_each(|(sum, more)| *sum += more);
        }
    }
}

/// A track of a submission and the particle that it is compared with.
struct Track {
    /// Its number in the submission.
    number: i64,
    size: usize,
    particle: i64,
    shared: usize,
    estimate: Option<Estimate>,
}

/// A particle with hits.
struct Particle {
    id: i64,
    hits: usize,
    layers: usize,
    /// Values of the variables, in their order.
    values: [f32; Variable::ALL.len()],
    /// Which groups of cuts it passes: that of each variable, and the rest.
    passes: [bool; Variable::ALL.len()],
    always: bool,
    pt: f32,
}

/// An event and a submission, ready to be counted by any rule.
pub struct Comparison {
    tracks: Vec<Track>,
    particles: Vec<Particle>,
    /// Tracks with fewer hits than [`Cuts::min_track_hits`], which count nowhere.
    pub short: u64,
}

impl Comparison {
    /// Compares a submission with the truth.
    pub fn new(
        (hits, particles, truth): (&Hits, &Particles, &Truth),
        submission: &Submission,
        cuts: &Cuts,
        path: &std::path::Path,
    ) -> Result<Self> {
        let recipe = Recipe { transforms: vec![Transform::DropRepeatedLayers], filters: Filters::default() };
        let ids = (truth.hit_id.as_slice(), truth.particle_id.as_slice());
        let once = Tracks::build(hits, particles, ids, &Blacklist::default(), &recipe, path)?;
        let mut sizes: HashMap<i64, usize> = HashMap::new();
        truth.particle_id.iter().for_each(|id| *sizes.entry(*id).or_default() += 1);
        let vertex_of: HashMap<i64, [f32; 3]> =
            particles.particle_id.iter().copied().zip(particles.vertex.iter().copied()).collect();
        let of_particles = (0..once.len()).map(|i| {
            let (id, momentum, layers) = (once.particle_id[i], once.momentum[i], once.hits(i).len());
            let vertex = vertex_of.get(&id).copied().unwrap_or([f32::NAN; 3]);
            let transverse = pt(momentum);
            let first = once.hits(i).next().map(|hit| (once.volume[hit], once.layer[hit]));
            let values = Variable::ALL.map(|variable| variable.of_particle(momentum, vertex, layers));
            Particle {
                id,
                hits: sizes.get(&id).copied().unwrap_or(0),
                layers,
                passes: std::array::from_fn(|v| cuts.pass(Variable::ALL[v], values[v])),
                values,
                always: id != 0 && cuts.starts(first),
                pt: transverse,
            }
        });
        let of_particles = of_particles.collect();

        let particle_of: HashMap<i32, i64> =
            truth.hit_id.iter().copied().zip(truth.particle_id.iter().copied()).collect();
        let place: HashMap<i32, usize> = hits.hit_id.iter().enumerate().map(|(row, hit)| (*hit, row)).collect();
        let mut members: BTreeMap<i64, Vec<i32>> = BTreeMap::new();
        for (hit, track) in submission.hit_id.iter().zip(&submission.track_id).filter(|(_, track)| **track > 0) {
            members.entry(*track).or_default().push(*hit);
        }
        let (mut tracks, mut short) = (Vec::with_capacity(members.len()), 0);
        for (number, list) in members {
            if list.len() < cuts.min_track_hits {
                short += 1;
                continue;
            }
            let mut of: Vec<i64> = list.iter().map(|hit| particle_of.get(hit).copied().unwrap_or(0)).collect();
            of.sort_unstable();
            let mut best = (0, 0_i64);
            for group in of.chunk_by(|a, b| a == b).filter(|group| group[0] != 0) {
                if group.len() > best.0 {
                    best = (group.len(), group[0]);
                }
            }
            let points: Vec<[f32; 3]> = list.iter().filter_map(|hit| Some(hits.xyz[*place.get(hit)?])).collect();
            let (size, estimate) = (list.len(), estimate(&points));
            tracks.push(Track { number, size, particle: best.1, shared: best.0, estimate });
        }
        Ok(Self { tracks, particles: of_particles, short })
    }

    /// What became of each track by one rule: its number, and the particle that it is (none: a fake). And the reconstructible particles that no track is.
    pub fn outcomes(&self, rule: Rule) -> (Vec<(i64, Option<i64>)>, Vec<i64>) {
        let row_of: HashMap<i64, &Particle> = self.particles.iter().map(|p| (p.id, p)).collect();
        let of = |track: &Track| {
            let particle = row_of.get(&track.particle)?;
            rule.matches(track.shared, track.size, particle.hits, particle.layers).then_some(particle.id)
        };
        let tracks: Vec<(i64, Option<i64>)> = self.tracks.iter().map(|track| (track.number, of(track))).collect();
        let found: HashSet<i64> = tracks.iter().filter_map(|(_, particle)| *particle).collect();
        let wanted = self.particles.iter().filter(|p| p.always && p.passes.iter().all(|passes| *passes));
        (tracks, wanted.map(|p| p.id).filter(|id| !found.contains(id)).collect())
    }

    /// Counts by one rule.
    pub fn count(&self, rule: Rule, cuts: &Cuts) -> Figures {
        let mut result = Figures { classes: Variable::ALL.map(Classes::new).to_vec(), ..Figures::default() };
        let row_of: HashMap<i64, usize> = self.particles.iter().enumerate().map(|(row, p)| (p.id, row)).collect();
        let mut matches: HashMap<i64, u64> = HashMap::new();
        for track in &self.tracks {
            let particle = row_of.get(&track.particle).map(|&row| &self.particles[row]);
            let real = particle.is_some_and(|p| rule.matches(track.shared, track.size, p.hits, p.layers));
            let before = if real { matches.entry(track.particle).or_default() } else { &mut 0 };
            let counts = Counts {
                tracks: 1,
                matched: u64::from(real),
                clones: u64::from(real && *before > 0),
                hit_purity: track.shared as f64 / track.size as f64,
                ..Counts::default()
            };
            *before += 1;
            result.all += counts;
            if track.estimate.is_some_and(|e| e.pt >= cuts.high_pt) {
                result.high_pt += counts;
            }
            for (variable, classes) in Variable::ALL.iter().zip(&mut result.classes) {
                let value = track.estimate.map_or(f64::NAN, |e| variable.of_track(&e, track.size));
                classes.add(value as f32, counts);
            }
        }
        for particle in &self.particles {
            let found = matches.contains_key(&particle.id);
            let counts = Counts { reconstructible: 1, found: u64::from(found), ..Counts::default() };
            let fails = |but: Option<usize>| (0..Variable::ALL.len()).any(|v| Some(v) != but && !particle.passes[v]);
            if !particle.always {
                continue;
            }
            if !fails(None) {
                result.all += counts;
                if f64::from(particle.pt) >= cuts.high_pt {
                    result.high_pt += counts;
                }
            }
            for (v, classes) in result.classes.iter_mut().enumerate() {
                if !fails(Some(v)) {
                    classes.add(particle.values[v], counts);
                }
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A particle with two hits in each of three layers; tracks by hit.
    fn count(rule: Rule, tracks: [i64; 6], cuts: &Cuts) -> Counts {
        let hits = Hits {
            hit_id: (1..=6).collect(),
            xyz: (0..6).map(|i| [30.0 + 40.0 * (i / 2) as f32 + (i % 2) as f32, i as f32, 3.0]).collect(),
            volume: vec![8; 6],
            layer: vec![2, 2, 4, 4, 6, 6],
            module: vec![0; 6],
        };
        let particles = Particles {
            particle_id: vec![7],
            particle_type: None,
            vertex: vec![[0.0; 3]],
            momentum: vec![[2.0, 0.0, 0.1]],
            charge: vec![1],
            nhits: vec![6],
        };
        let truth = Truth { hit_id: (1..=6).collect(), particle_id: vec![7; 6], ..Truth::default() };
        let submission = Submission { hit_id: (1..=6).collect(), track_id: tracks.to_vec() };
        let path = std::path::Path::new("event000000001-hits.csv");
        Comparison::new((&hits, &particles, &truth), &submission, cuts, path).unwrap().count(rule, cuts).all
    }

    #[test]
    fn halves_of_a_track_with_second_hits_match_by_layers_alone() {
        let cuts = Cuts::default();
        let halves = [1, 2, 1, 2, 1, 2];
        assert_eq!(count(Rule::Double(0.5), halves, &cuts).found, 0);
        let layers = count(Rule::Layers(0.5), halves, &cuts);
        assert_eq!((layers.found, layers.matched, layers.clones), (1, 2, 1));
        assert_eq!(count(Rule::Double(0.5), [1, 1, 1, 1, 0, 0], &cuts).found, 1);
        assert_eq!(count(Rule::Perfect, [1, 1, 1, 1, 1, 0], &cuts).found, 0);
        assert_eq!(count(Rule::Perfect, [1; 6], &cuts).found, 1);
        assert_eq!(count(Rule::Lhc(0.75), [0, 0, 0, 1, 1, 1], &cuts).found, 1);
    }

    #[test]
    fn tracks_of_few_hits_are_no_tracks_and_ratios_of_nothing_are_nan() {
        let short = count(Rule::Double(0.5), [1, 2, 3, 4, 5, 6], &Cuts::default());
        assert_eq!(short.tracks, 0);
        assert!(short.purity().is_nan() && short.ghost_rate().is_nan());
        let cuts = Cuts { min_track_hits: 1, ..Cuts::default() };
        assert_eq!(count(Rule::Double(0.5), [1, 2, 3, 4, 5, 6], &cuts).tracks, 6);
    }
}
