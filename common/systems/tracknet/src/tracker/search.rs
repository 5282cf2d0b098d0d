//! Finding the tracks of an event: pairs that point to the beam line start candidates, likely hits extend them, the sum of
//! log-likelihood ratios against chance ranks them, and hits are given out without overlap. Then a second pass with what
//! is left.

mod displaced;
mod grown;

use std::collections::HashMap;

use common::config::Problems;
use common::{Error, Result};
use neural::Doing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::conditions::Conditions;
use super::helix::turn;
use super::layers::Layers;
use super::network::TrackerNet;
use super::source::{Key, Transitions};
use super::state::{FEATURES, State};
use crate::event::Hits;
use crate::submission::Submission;
use crate::tracks::SEED_LAYERS;
use grown::{Ends, Grown};

pub use displaced::DisplacedConfig;

/// How tracks are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Layers (volume, layer) whose hits start candidates, pass by pass; a later pass sees the hits that are left.
    pub passes: Vec<Vec<(i32, i32)>>,
    /// Smallest transverse momentum of a pair, GeV/c, > 0.
    pub min_pt: f64,
    /// Farthest from the middle of the beam spot that a pair may point, mm, > 0. `null`: 3.73 widths of the beam spot that
    /// the network was trained with, 22 mm in the accuracy phase, 183 mm in the throughput phase.
    pub max_z0: Option<f64>,
    /// Half width of the region of a next hit, in predicted widths, > 0.
    pub window: f64,
    /// Most extensions of a candidate, step by step; the last number holds for all further steps.
    pub branch: Vec<usize>,
    /// Candidates kept of each seed, >= 1.
    pub beam: usize,
    /// Fewest hits of a track, >= 3.
    pub min_hits: usize,
    /// Smallest log-likelihood ratio of a track.
    pub min_score: f64,
    /// Most hits of an accepted candidate that belong to better ones.
    pub max_shared: usize,
    /// Whether unused hits of overlapping modules join the track that they lie on.
    pub double_hits: bool,
    /// Whether the network's means and widths are used; without, those of resolution and scattering are.
    pub learned: bool,
    /// Starts of tracks from elsewhere than the beam spot, after all passes, of the hits that are left.
    pub displaced: DisplacedConfig,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            passes: vec![SEED_LAYERS.to_vec(), vec![(8, 4), (7, 12), (9, 4)]],
            min_pt: 0.2,
            max_z0: None,
            window: 4.5,
            branch: vec![20, 6, 3],
            beam: 12,
            min_hits: 3,
            min_score: 3.0,
            max_shared: 1,
            double_hits: true,
            learned: true,
            displaced: DisplacedConfig::default(),
        }
    }
}

impl SearchConfig {
    /// Checks ranges.
    pub fn validate(&self, at: &str, problems: &mut Problems) {
        let limits = [("min_pt", Some(self.min_pt)), ("max_z0", self.max_z0), ("window", Some(self.window))];
        for (key, value) in limits.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            problems.demand(value > 0.0 && value.is_finite(), &format!("{at}.{key}"), || {
                format!("is {value}, expected > 0")
            });
        }
        problems.demand(self.beam >= 1, &format!("{at}.beam"), || "is 0, expected at least 1".into());
        problems.demand(self.min_hits >= 3, &format!("{at}.min_hits"), || {
            format!("is {}, expected at least 3", self.min_hits)
        });
        problems.demand(!self.branch.is_empty() && !self.branch.contains(&0), &format!("{at}.branch"), || {
            format!("is {:?}, expected numbers of at least 1", self.branch)
        });
        problems.demand(!self.passes.is_empty(), &format!("{at}.passes"), || "is empty, so no track can start".into());
        problems.demand(self.min_score.is_finite(), &format!("{at}.min_score"), || "is not finite".into());
        self.displaced.validate(&format!("{at}.displaced"), problems);
    }
}

/// Tracks of an event.
#[derive(Debug)]
pub struct Found {
    /// A number for every hit, by ascending hit id; 0 without a track.
    pub submission: Submission,
    /// Pairs that started candidates.
    pub seeds: usize,
    /// Tracks.
    pub tracks: usize,
}

/// Candidates that are advanced at a time.
const BLOCK: usize = 4096;

// Windows of pairs and of next hits: what geometry gives, and margins that were set by hand when the search was made and were
// not varied one by one since. What they let in too much costs time; scores decide about it.

/// Azimuth that a circle through the beam line turns between two radii, in units of their distance over the radius of
/// curvature: one half, and a tenth of that as margin.
const TURN: f64 = 0.55;
/// Margin of the azimuth beside that, rad.
const TURN_MARGIN: f64 = 0.002;
/// Smallest distance of two layers that counts for the turn, mm.
const LEAST_STEP: f64 = 5.0;
/// Margin along the layer, beside what the beam spot and the depth of the layer allow, mm.
const ALONG_MARGIN: f64 = 2.0;
/// Smallest distance of the radii of a pair that says where it points, mm.
const LEAST_DISTANCE: f64 = 1.0;
/// Radius up to which disks are searched where the beam spot leaves no bounds, mm; TrackML's pixel disks end below it.
const DISK_RADIUS: f64 = 200.0;
/// Share of the smallest momentum below which the helix of a candidate ends it: three hits give a momentum roughly.
const SOFTEST: f64 = 0.7;
/// Margin along a cylinder for tracks that cross its depth at an angle.
const SLANT: f64 = 1.2;
/// Starts of one hit that stay in the race after the first step, in beams: its pairs are many and their triplets alike.
const FIRST_BEAMS: usize = 4;
/// How far a candidate's score may lie behind the best one of its first hit: what is e^10 times less likely does not catch up.
const BEHIND: f64 = 10.0;
/// A layer is not searched where the likeliest hit would still be e^2 times likelier by chance: wide regions among many hits say
/// nothing, and took half of the time.
const WORSE: f64 = 2.0;
/// Farthest that the modules of a layer lie apart, mm.
const DEPTH: f64 = 18.0;
/// How far second hits may lie from the track: across and along on cylinders, along the circle and the radius on disks, mm; pixels,
/// short and long strips. About five of the resolutions that a real event shows (`docs/tracknet.md`).
const SECOND_BARREL: [[f64; 2]; 3] = [[0.05, 0.15], [0.15, 1.2], [0.25, 9.0]];
const SECOND_DISK: [[f64; 2]; 3] = [[0.11, 0.15], [0.15, 1.6], [0.7, 10.5]];
/// Where corners of modules meet, a track has up to four hits of a layer.
const MOST_SECOND: usize = 3;
/// Layers that a next hit may be in, with the logarithm of their share.
type Next = Vec<(usize, f64)>;

/// Hits that a candidate starts with: two, and three where the beam spot is none of them.
#[derive(Clone, Copy)]
struct Start {
    hits: [u32; 3],
    score: f64,
}

/// What is asked of the candidates of a pass.
#[derive(Clone, Copy)]
struct Pass {
    /// Whether its starts point to the beam spot.
    pointing: bool,
    min_hits: usize,
    min_score: f64,
}

/// A candidate that may still grow.
struct Candidate<'c> {
    seed: u32,
    /// The last of its hits in [`Grown`].
    node: u32,
    /// The layers that it has a hit in, a bit each. A layer is crossed once: where regions are wide and hits few, a candidate would
    /// go to and fro between two layers for ever, each hit being likelier than chance.
    crossed: u128,
    state: State<'c>,
    score: f64,
}

struct Search<'a> {
    config: &'a SearchConfig,
    layers: &'a Layers,
    network: &'a TrackerNet,
    next: Vec<Next>,
    free: Vec<bool>,
    conditions: &'a Conditions,
    max_z0: f64,
}

/// Finds the tracks of an event.
pub fn find(
    hits: &Hits,
    network: &TrackerNet,
    (transitions, conditions): (&Transitions, &Conditions),
    config: &SearchConfig,
) -> Result<Found> {
    let max_z0 = config.max_z0.unwrap_or(conditions.max_z0());
    let layers = Layers::new(hits);
    if layers.all.len() > 128 {
        return Err(Error::failed(format!("the event has hits in {} layers, expected at most 128", layers.all.len())));
    }
    let mut shares: HashMap<Key, Vec<(Key, f64)>> = HashMap::new();
    for (from, to, share) in &transitions.shares {
        shares.entry(*from).or_default().push((*to, *share));
    }
    let next = layers
        .all
        .iter()
        .map(|layer| {
            let of = shares.get(&layer.key).into_iter().flatten();
            of.filter_map(|(to, share)| Some((layers.number(*to)?, share.ln()))).collect()
        })
        .collect();
    let mut search =
        Search { config, layers: &layers, network, next, free: vec![true; hits.len()], conditions, max_z0 };
    let mut track_of = vec![0_i64; hits.len()];
    let (mut tracks, mut seeds) = (0_i64, 0);
    for starts in &config.passes {
        let pass = Pass { pointing: true, min_hits: config.min_hits, min_score: config.min_score };
        let pairs = search.pairs(starts);
        seeds += search.pass(&pairs, pass, &mut track_of, &mut tracks)?;
    }
    if !config.displaced.layers.is_empty() {
        let DisplacedConfig { min_hits, min_score, .. } = config.displaced;
        let pass = Pass { pointing: false, min_hits, min_score };
        let triplets = search.triplets();
        seeds += search.pass(&triplets, pass, &mut track_of, &mut tracks)?;
    }
    let mut order: Vec<usize> = (0..hits.len()).collect();
    order.sort_unstable_by_key(|&i| hits.hit_id[i]);
    let submission = Submission {
        hit_id: order.iter().map(|&i| hits.hit_id[i]).collect(),
        track_id: order.iter().map(|&i| track_of[i]).collect(),
    };
    Ok(Found { submission, seeds, tracks: tracks as usize })
}

impl<'a> Search<'a> {
    /// One pass: grows candidates from its starts and gives the hits to the best ones; the number of starts.
    fn pass(&mut self, starts: &[Start], pass: Pass, track_of: &mut [i64], tracks: &mut i64) -> Result<usize> {
        common::cli::signals::check("nothing of this event; the same command starts it anew")?;
        let (mut grown, mut ends) = (Grown::default(), Ends::default());
        for block in starts.chunks(BLOCK) {
            tch::no_grad(|| self.grow(block, pass, &mut grown, &mut ends))?;
        }
        self.select(&grown, ends, pass.min_hits, track_of, tracks);
        Ok(starts.len())
    }

    /// Pairs of free hits that point to the beam spot, both ends of one candidate.
    fn pairs(&self, starts: &[(i32, i32)]) -> Vec<Start> {
        let mut pairs = Vec::new();
        let radius = self.config.min_pt * self.conditions.mm_per_gev();
        let (z0, beam) = (self.max_z0, self.conditions.beam_z);
        for first in starts.iter().filter_map(|key| self.layers.number(*key)) {
            for (a, point) in self.layers.points.iter().enumerate() {
                if self.layers.of_hit[a] as usize != first || !self.free[a] {
                    continue;
                }
                for &(to, _) in &self.next[first] {
                    let layer = &self.layers.all[to];
                    let (low, high, far) = if layer.disk {
                        // Radius at the disk of the lines from both ends of the beam spot.
                        let at = |z0: f64| point.r * (layer.middle - z0) / (point.xyz[2] - z0);
                        let (p, q) = (at(beam - z0), at(beam + z0));
                        let same = (point.xyz[2] - beam - z0) * (point.xyz[2] - beam + z0) > 0.0;
                        if !same || p <= 0.0 || q <= 0.0 {
                            (0.0, DISK_RADIUS, DISK_RADIUS)
                        } else {
                            (p.min(q), p.max(q), p.max(q))
                        }
                    } else {
                        let at = |z0: f64| z0 + (point.xyz[2] - z0) * layer.middle / point.r;
                        let (p, q) = (at(beam - z0), at(beam + z0));
                        (p.min(q), p.max(q), layer.middle)
                    };
                    let half_phi = TURN * (far - point.r).abs().max(LEAST_STEP) / radius + TURN_MARGIN;
                    let slack = ALONG_MARGIN + layer.depth;
                    let (middle, half) = (0.5 * (low + high), 0.5 * (high - low) + slack);
                    layer.near(point.phi, middle, half_phi, half, |b| {
                        let other = &self.layers.points[b as usize];
                        if !self.free[b as usize] || other.r + other.xyz[2].abs() <= point.r + point.xyz[2].abs() {
                            return;
                        }
                        // Straight line across and along: where the pair points.
                        let dr = other.r - point.r;
                        if dr.abs() < LEAST_DISTANCE {
                            return;
                        }
                        let origin = point.xyz[2] - point.r * (other.xyz[2] - point.xyz[2]) / dr;
                        let bend = turn(other.phi - point.phi).abs();
                        if (origin - beam).abs() <= z0 && bend <= TURN * dr.abs() / radius + TURN_MARGIN {
                            pairs.push(Start { hits: [a as u32, b, 0], score: 0.0 });
                        }
                    });
                }
            }
        }
        pairs.sort_unstable_by_key(|start| start.hits);
        pairs
    }

    /// Grows candidates from starts; all that are long enough go to `ends`.
    fn grow(&self, starts: &[Start], pass: Pass, grown: &mut Grown, ends: &mut Ends) -> Result<()> {
        let points = &self.layers.points;
        let begin = |hit: u32| match pass.pointing {
            true => State::start(points[hit as usize], self.conditions),
            false => State::free(points[hit as usize], self.conditions),
        };
        let size = if pass.pointing { 2 } else { 3 };
        // What the network makes of a first hit is the same for all of its starts, which lie side by side.
        let of_one = || starts.chunk_by(|a, b| a.hits[0] == b.hits[0]);
        let firsts: Vec<State<'a>> = of_one().map(|of| begin(of[0].hits[0])).collect();
        let which = of_one().enumerate().flat_map(|(i, of)| std::iter::repeat_n(i, of.len()));
        let places: Vec<i64> = which.clone().map(|i| i as i64).collect();
        let mut memory = self.feed(firsts.iter(), &self.network.start(firsts.len() as i64))?;
        memory = memory.index_select(0, &Tensor::from_slice(&places));
        let with = |state: &State<'a>, start: &Start, at: usize| state.with(points[start.hits[at] as usize]);
        let mut states: Vec<State<'a>> = which.zip(starts).map(|(i, start)| with(&firsts[i], start, 1)).collect();
        for at in 2..size {
            memory = self.feed(states.iter(), &memory)?;
            for (state, start) in states.iter_mut().zip(starts) {
                *state = with(state, start, at);
            }
        }
        // One start a first hit: those that begin with it compete in one beam.
        let mut active: Vec<Candidate<'a>> = Vec::with_capacity(starts.len());
        for (start, state) in starts.iter().zip(states) {
            let node = grown.start(&start.hits[..size])?;
            let crossed = start.hits[..size].iter().fold(0, |crossed, &hit| crossed | self.layer_bit(hit));
            active.push(Candidate { seed: start.hits[0], node, crossed, state, score: start.score });
        }
        let mut step = 0;
        loop {
            if active.is_empty() {
                return Ok(());
            }
            memory = self.feed(active.iter().map(|c| &c.state), &memory)?;
            let outputs = self.network.head(&memory);
            let outputs = Vec::<f32>::try_from(outputs.flatten(0, -1))
                .map_err(|e| Error::failed(format!("building tracks: {e}")))?;
            let branch = self.config.branch[step.min(self.config.branch.len() - 1)];
            let (mut next, mut parents): (Vec<Candidate<'a>>, Vec<i64>) = (Vec::new(), Vec::new());
            let mut children: Vec<(f64, usize, u32)> = Vec::new();
            let mut i = 0;
            while i < active.len() {
                let seed = active[i].seed;
                children.clear();
                while i < active.len() && active[i].seed == seed {
                    let predicted: [f32; 4] =
                        std::array::from_fn(|k| if self.config.learned { outputs[4 * i + k] } else { 0.0 });
                    let last = grown.last(active[i].node);
                    self.extensions(&active[i], last, predicted, branch, i, &mut children);
                    i += 1;
                }
                children.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
                children.truncate(if step == 0 { FIRST_BEAMS * self.config.beam } else { self.config.beam });
                let least = children.first().map_or(0.0, |best| best.0 - BEHIND);
                children.truncate(children.partition_point(|child| child.0 >= least));
                for &(score, parent, hit) in &children {
                    let from = &active[parent];
                    let node = grown.longer(from.node, hit)?;
                    let crossed = from.crossed | self.layer_bit(hit);
                    next.push(Candidate { seed, node, crossed, state: from.state.with(points[hit as usize]), score });
                    parents.push(parent as i64);
                }
            }
            let long = |c: &&Candidate<'_>| c.state.hits >= pass.min_hits && c.score >= pass.min_score;
            active.iter().filter(long).for_each(|c| ends.push(c.score, c.node));
            memory = memory.index_select(0, &Tensor::from_slice(&parents));
            active = next;
            step += 1;
        }
    }

    fn layer_bit(&self, hit: u32) -> u128 {
        1 << self.layers.of_hit[hit as usize]
    }

    fn feed<'b>(&self, states: impl Iterator<Item = &'b State<'a>>, memory: &Tensor) -> Result<Tensor>
    where
        'a: 'b,
    {
        let features: Vec<f32> = states.flat_map(|state| state.features()).collect();
        let features =
            Tensor::f_from_slice(&features).and_then(|t| t.f_view([-1, FEATURES as i64])).doing("building tracks")?;
        Ok(self.network.step(&features, memory))
    }

    /// The likely next hits of a candidate: (score of the longer candidate, candidate, hit).
    fn extensions(
        &self,
        from: &Candidate<'_>,
        last: u32,
        predicted: [f32; 4],
        branch: usize,
        at: usize,
        out: &mut Vec<(f64, usize, u32)>,
    ) {
        let Some(helix) = from.state.helix else { return };
        if helix.radius < SOFTEST * self.config.min_pt * self.conditions.mm_per_gev() {
            return;
        }
        let [mean_u, mean_v, log_u, log_v] = predicted.map(f64::from);
        let (scale_u, scale_v) = (log_u.exp(), log_v.exp());
        let window = self.config.window;
        let begun = out.len();
        for &(number, share) in &self.next[self.layers.of_hit[last as usize] as usize] {
            if from.crossed >> number & 1 == 1 {
                continue;
            }
            let layer = &self.layers.all[number];
            let crossing =
                if layer.disk { from.state.at_plane(&helix, layer.middle) } else { helix.at_radius(layer.middle) };
            let Some(crossing) = crossing else { continue };
            let (width_u, width_v) = from.state.widths(&helix, &crossing, layer.kind, layer.disk);
            let (sigma_u, sigma_v) = (width_u * scale_u, width_v * scale_v);
            // Modules lie at different depths: the window grows by how far the track moves across them.
            let lean = (crossing.arc / helix.radius).min(1.0) + (crossing.r / (2.0 * helix.radius)).min(1.0);
            let (extra_u, extra_v) = if layer.disk {
                (layer.depth / helix.slope.abs() * lean, layer.depth / helix.slope.abs())
            } else {
                (layer.depth * lean, layer.depth * helix.slope.abs() * SLANT)
            };
            let along = if layer.disk { crossing.r } else { crossing.z };
            let half_u = window * sigma_u + width_u * mean_u.abs() + extra_u;
            let half_v = window * sigma_v + width_v * mean_v.abs() + extra_v;
            if !layer.reaches(along, half_v) {
                continue;
            }
            let chance = layer.density(along);
            if share - (std::f64::consts::TAU * sigma_u * sigma_v * chance).ln() < -WORSE {
                continue;
            }
            layer.near(crossing.phi(), along, half_u / crossing.r.max(1.0), half_v, |hit| {
                let point = &self.layers.points[hit as usize];
                // Most hits of the cells lie outside of the window: that is seen faster than their residuals.
                let off = if layer.disk { point.r } else { point.xyz[2] } - along;
                let far = off.abs() > half_v || crossing.is_beyond([point.xyz[0], point.xyz[1]], half_u);
                if far || !self.free[hit as usize] {
                    return;
                }
                let Some(r) = from.state.residual(point) else { return };
                let (pull_u, pull_v) = ((r.u - mean_u) / scale_u, (r.v - mean_v) / scale_v);
                if pull_u.abs() > window || pull_v.abs() > window {
                    return;
                }
                let area = std::f64::consts::TAU * r.width_u * scale_u * r.width_v * scale_v;
                let ratio = share - (area * chance).ln() - 0.5 * (pull_u * pull_u + pull_v * pull_v);
                out.push((from.score + ratio, at, hit));
            });
        }
        out[begun..].sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.2.cmp(&b.2)));
        out.truncate(begun + branch);
    }

    /// Gives the hits to the best candidates.
    fn select(&mut self, grown: &Grown, ends: Ends, min_hits: usize, track_of: &mut [i64], tracks: &mut i64) {
        let mut hits = Vec::new();
        for node in ends.best_first(grown) {
            grown.hits(node, &mut hits);
            let taken = hits.iter().filter(|&&hit| !self.free[hit as usize]).count();
            if taken > self.config.max_shared || hits.len() - taken < min_hits {
                continue;
            }
            *tracks += 1;
            for &hit in &hits {
                if std::mem::take(&mut self.free[hit as usize]) {
                    track_of[hit as usize] = *tracks;
                }
            }
            if self.config.double_hits {
                self.absorb(&hits, *tracks, track_of);
            }
        }
    }

    /// Second hits of overlapping modules: free hits on the layers of a track that lie on its helix.
    fn absorb(&mut self, hits: &[u32], track: i64, track_of: &mut [i64]) {
        for at in 2..hits.len() {
            let window = [hits[at - 2], hits[at - 1], hits[at]];
            // All three of the first window, one more of each later one.
            for &own in if at == 2 { &window[..] } else { &window[2..] } {
                for other in self.second_hits(window, own) {
                    track_of[other as usize] = track;
                    self.free[other as usize] = false;
                }
            }
        }
    }

    /// The free hits that the track of three hits left on the layer of one of them, the best ones first.
    fn second_hits(&self, window: [u32; 3], own: u32) -> Vec<u32> {
        let points = &self.layers.points;
        let [a, b, c] = window.map(|h| points[h as usize]);
        let chord = |p: &super::state::Point, q: &super::state::Point| (q.xyz[0] - p.xyz[0]).hypot(q.xyz[1] - p.xyz[1]);
        let layer = &self.layers.all[self.layers.of_hit[own as usize] as usize];
        let own = points[own as usize];
        let slope = (c.xyz[2] - a.xyz[2]) / (chord(&a, &b) + chord(&b, &c)).max(1e-3);
        let slope = if slope.abs() < 1e-3 { 1e-3_f64.copysign(slope) } else { slope };
        let flat = |p: &super::state::Point| [p.xyz[0], p.xyz[1]];
        let helix = super::helix::Helix::new([flat(&a), flat(&b), flat(&c)], c.xyz[2], slope);
        let (sin, cos) = helix.lean(flat(&own)).sin_cos();
        let along = if layer.disk { own.r } else { own.xyz[2] };
        let reach = if layer.disk { DEPTH / slope.abs() } else { DEPTH * slope.abs() } + 2.0;
        let cuts = if layer.disk { SECOND_DISK } else { SECOND_BARREL }[layer.kind];
        let mut found: Vec<(f64, u32)> = Vec::new();
        layer.near(own.phi, along, (DEPTH + cuts[0]) / own.r, reach + cuts[1], |other| {
            let p = &points[other as usize];
            let depth = if layer.disk { p.xyz[2] - own.xyz[2] } else { p.r - own.r };
            if !self.free[other as usize] || depth.abs() < 0.2 || depth.abs() > DEPTH {
                return;
            }
            // Relative to the track's own hit there: scattering cancels.
            let (u, v) = if layer.disk {
                let way = depth / slope;
                (own.r * turn(p.phi - own.phi) - way * sin, (p.r - own.r) - way * cos)
            } else {
                let off = |q: &super::state::Point| Some(helix.at_radius(q.r)?.turn_to([q.xyz[0], q.xyz[1]], q.r));
                let (Some(here), Some(there)) = (off(&own), off(p)) else { return };
                (p.r * turn(there - here), (p.xyz[2] - own.xyz[2]) - slope * depth)
            };
            if u.abs() < cuts[0] && v.abs() < cuts[1] {
                found.push(((u / cuts[0]).powi(2) + (v / cuts[1]).powi(2), other));
            }
        });
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        found.into_iter().take(MOST_SECOND).map(|(_, hit)| hit).collect()
    }
}
