//! Starts of tracks that do not come from the beam spot: three hits on one helix, of the hits that are left. Two hits have a
//! direction and no curvature, so the third is looked for along the line of the first two in z, which strips still measure to
//! a millimetre, and across within what the softest momentum bends.

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::helix::{circle, turn};
use super::super::state::Point;
use super::{ALONG_MARGIN, Key, Search, Start, TURN, TURN_MARGIN};

/// How tracks are started that come from elsewhere than the beam spot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DisplacedConfig {
    /// Layers (volume, layer) whose hits start such tracks; empty: none.
    pub layers: Vec<Key>,
    /// Farthest from the axis that a start may pass, mm, > 0.
    pub max_d0: f64,
    /// Farthest from the middle of the beam spot that a start may point, mm, > 0.
    pub max_z0: f64,
    /// Pairs that a first hit may have by chance in a layer, > 0: where hits are denser, starts have to point nearer to the beam
    /// spot.
    pub max_pairs: f64,
    /// Starts kept of a first hit, >= 1.
    pub starts: usize,
    /// Fewest hits of a track, >= 4.
    pub min_hits: usize,
    /// Smallest log-likelihood ratio of a track, that of its start included.
    pub min_score: f64,
}

impl Default for DisplacedConfig {
    fn default() -> Self {
        let barrel = [(8, 2), (8, 4), (8, 6), (8, 8), (13, 2), (13, 4), (13, 6)];
        let disks = [(7, 14), (7, 12), (7, 10), (7, 8), (7, 6), (9, 2), (9, 4), (9, 6), (9, 8), (9, 10)];
        let strips = [(12, 12), (12, 10), (12, 8), (14, 2), (14, 4), (14, 6)];
        let layers = barrel.into_iter().chain(disks).chain(strips).collect();
        Self { layers, max_d0: 200.0, max_z0: 1000.0, max_pairs: 40.0, starts: 8, min_hits: 4, min_score: 2.0 }
    }
}

impl DisplacedConfig {
    /// Checks ranges.
    pub fn validate(&self, at: &str, problems: &mut Problems) {
        for (key, value) in [("max_d0", self.max_d0), ("max_z0", self.max_z0), ("max_pairs", self.max_pairs)] {
            problems.demand(value > 0.0 && value.is_finite(), &format!("{at}.{key}"), || {
                format!("is {value}, expected > 0")
            });
        }
        problems.demand(self.starts >= 1, &format!("{at}.starts"), || "is 0, expected at least 1".into());
        problems.demand(self.min_hits >= 4, &format!("{at}.min_hits"), || {
            format!("is {}, expected at least 4: three hits make a start", self.min_hits)
        });
        problems.demand(self.min_score.is_finite(), &format!("{at}.min_score"), || "is not finite".into());
    }
}

/// Steepest start along the beam: pz over pT.
const STEEPEST: f64 = 8.0;
/// Shortest distance of two hits of a start across the beam, mm: nearer ones say no direction.
const SHORTEST: f64 = 4.0;
/// Flattest crossing of a cylinder: cosine of the angle to its normal.
const FLATTEST: f64 = 0.3;
/// Widths that the third hit may lie off the line of the first two.
const WIDTHS: f64 = 3.5;
/// Share of a start's first distance from the axis that it may pass the axis at.
const ASIDE: f64 = 0.85;
/// How much longer than its chord the way to the third hit may be: the share that the softest helix adds.
const LONGER: f64 = 0.03;

/// Two hits of a start.
struct Pair {
    points: [Point; 2],
    /// Direction across the beam from the first to the second.
    ahead: [f64; 2],
    length: f64,
    slope: f64,
    /// Logarithm of how much likelier the second hit is than by chance.
    score: f64,
}

impl Search<'_> {
    /// Starts of three free hits each, by their first hit.
    pub(super) fn triplets(&self) -> Vec<Start> {
        let mut all = Vec::new();
        let mut of_one: Vec<Start> = Vec::new();
        let keep = self.config.displaced.starts;
        for first in self.config.displaced.layers.iter().filter_map(|key| self.layers.number(*key)) {
            for a in 0..self.layers.points.len() {
                if self.layers.of_hit[a] as usize != first || !self.free[a] {
                    continue;
                }
                of_one.clear();
                self.seconds(a as u32, first, &mut of_one);
                of_one.sort_by(|x, y| y.score.total_cmp(&x.score).then_with(|| x.hits.cmp(&y.hits)));
                all.extend(of_one.iter().take(keep).copied());
            }
        }
        all.sort_by_key(|start| start.hits);
        all
    }

    /// The starts that a first hit has.
    fn seconds(&self, a: u32, first: usize, out: &mut Vec<Start>) {
        let limits = &self.config.displaced;
        let point = self.layers.points[a as usize];
        let softest = self.config.min_pt * self.conditions.mm_per_gev();
        let beam = self.conditions.beam_z;
        let aside = limits.max_d0.min(ASIDE * point.r);
        for &(to, share) in &self.next[first] {
            let layer = &self.layers.all[to];
            let (low, high, far) = if layer.disk {
                // Radii of lines from both ends of where tracks may come from.
                let at = |z0: f64| point.r * (layer.middle - beam - z0) / (point.xyz[2] - beam - z0);
                let (p, q) = (at(-limits.max_z0), at(limits.max_z0));
                let same = (point.xyz[2] - beam).abs() > limits.max_z0;
                if !same || p <= 0.0 || q <= 0.0 {
                    (0.0, 3.0 * point.r, 3.0 * point.r)
                } else {
                    (p.min(q), p.max(q), p.max(q))
                }
            } else {
                let at = |z0: f64| beam + z0 + (point.xyz[2] - beam - z0) * layer.middle / point.r;
                let (p, q) = (at(-limits.max_z0), at(limits.max_z0));
                let step = STEEPEST * (layer.middle - point.r).abs();
                (p.min(q).max(point.xyz[2] - step), p.max(q).min(point.xyz[2] + step), layer.middle)
            };
            if low > high {
                continue;
            }
            let lean = (aside / point.r).asin() - (aside / far.max(point.r)).asin();
            let half_phi = lean + TURN * (far - point.r).abs() / softest + TURN_MARGIN;
            let (middle, half) = (0.5 * (low + high), 0.5 * (high - low) + ALONG_MARGIN + layer.depth);
            let area = 4.0 * half_phi * (if layer.disk { middle } else { layer.middle }) * half;
            let expected = layer.density(middle) * area;
            let narrower = (limits.max_pairs / expected).sqrt().min(1.0);
            let (half_phi, half) = (half_phi * narrower, half * narrower);
            let chance = expected.min(limits.max_pairs).max(1.0).ln();
            layer.near(point.phi, middle, half_phi, half, |b| {
                let other = self.layers.points[b as usize];
                if !self.free[b as usize] || other.r + other.xyz[2].abs() <= point.r + point.xyz[2].abs() {
                    return;
                }
                let (dx, dy) = (other.xyz[0] - point.xyz[0], other.xyz[1] - point.xyz[1]);
                let length = (dx * dx + dy * dy).sqrt();
                let slope = (other.xyz[2] - point.xyz[2]) / length.max(1e-9);
                if length < SHORTEST || slope.abs() > STEEPEST || turn(other.phi - point.phi).abs() > half_phi {
                    return;
                }
                let ahead = [dx / length, dy / length];
                // The way back to where the line is nearest to the axis.
                let back = point.xyz[0] * ahead[0] + point.xyz[1] * ahead[1];
                if back < 0.0 || (point.xyz[2] - slope * back - beam).abs() > limits.max_z0 {
                    return;
                }
                let pair = Pair { points: [point, other], ahead, length, slope, score: share - chance };
                self.thirds([a, b], to, &pair, out);
            });
        }
    }

    /// The third hits of a pair.
    fn thirds(&self, [a, b]: [u32; 2], second: usize, pair: &Pair, out: &mut Vec<Start>) {
        let limits = &self.config.displaced;
        let conditions = self.conditions;
        let softest = self.config.min_pt * conditions.mm_per_gev();
        let [first, last] = pair.points;
        let flat = |p: &Point| [p.xyz[0], p.xyz[1]];
        for &(to, share) in &self.next[second] {
            let layer = &self.layers.all[to];
            let [bx, by] = flat(&last);
            let along = bx * pair.ahead[0] + by * pair.ahead[1];
            let way = if layer.disk {
                (layer.middle - last.xyz[2]) / pair.slope
            } else {
                let root = along * along - last.r * last.r + layer.middle * layer.middle;
                if root < 0.0 { -1.0 } else { root.sqrt() - along }
            };
            if !(way > 0.5 && way < 2000.0) {
                continue;
            }
            let (x, y) = (bx + way * pair.ahead[0], by + way * pair.ahead[1]);
            let r = (x * x + y * y).sqrt().max(1.0);
            let cosine = ((x * pair.ahead[0] + y * pair.ahead[1]) / r).clamp(-1.0, 1.0);
            if !layer.disk && cosine < FLATTEST {
                continue;
            }
            let sine = (1.0 - cosine * cosine).sqrt();
            // What the softest helix bends beyond the line.
            let bend = way * (way + pair.length) / (2.0 * softest);
            let aslant = (pair.slope * pair.slope + 1.0).sqrt();
            let ratio = way / pair.length;
            let height = |p: &Point| {
                let [_, sigma] = conditions.resolution_of(p.kind, p.disk);
                if p.disk { sigma * pair.slope.abs() } else { sigma }
            };
            let [_, own] = conditions.resolution_of(layer.kind, layer.disk);
            let own = if layer.disk { own * pair.slope.abs() } else { own };
            let sigma = |ratio: f64, way: f64, pt: f64| {
                let kick = conditions.scattering / pt * way * aslant;
                ((height(&first) * ratio).powi(2) + (height(&last) * (1.0 + ratio)).powi(2) + own * own + kick * kick)
                    .sqrt()
            };
            let widest = sigma(ratio, way, self.config.min_pt);
            let (half_u, half_v) = if layer.disk {
                let depth = layer.depth / pair.slope.abs().max(0.05);
                (
                    bend + depth + 1.0,
                    WIDTHS * widest / pair.slope.abs().max(0.05) + bend * sine + depth + LONGER * way + 1.0,
                )
            } else {
                let longer = bend * sine / cosine + LONGER * way + layer.depth / cosine;
                (bend / cosine + layer.depth * sine / cosine + 1.0, WIDTHS * widest + pair.slope.abs() * longer + 1.0)
            };
            let (phi, at) = (y.atan2(x), if layer.disk { r } else { last.xyz[2] + pair.slope * way });
            let density = layer.density(at);
            let room = 2.0 * bend / if layer.disk { 1.0 } else { cosine };
            layer.near(phi, at, half_u / r, half_v, |c| {
                if !self.free[c as usize] || c == a || c == b {
                    return;
                }
                let third = &self.layers.points[c as usize];
                let (dx, dy) = (third.xyz[0] - bx, third.xyz[1] - by);
                let chord = (dx * dx + dy * dy).sqrt();
                // Roughly first: chords are up to a few percent shorter than their arcs.
                let off = third.xyz[2] - last.xyz[2] - pair.slope * chord;
                if dx * pair.ahead[0] + dy * pair.ahead[1] < 0.5
                    || off.abs()
                        > WIDTHS * sigma(chord / pair.length, chord, self.config.min_pt)
                            + LONGER * (pair.slope * chord).abs()
                {
                    return;
                }
                let (centre, radius, _) = circle(flat(&first), flat(&last), flat(third));
                if radius < softest
                    || ((centre[0] * centre[0] + centre[1] * centre[1]).sqrt() - radius).abs() > limits.max_d0
                {
                    return;
                }
                let arc = |chord: f64| 2.0 * radius * (chord / (2.0 * radius)).min(1.0).asin();
                let ways = [arc(pair.length), arc(chord)];
                let ratio = ways[1] / ways[0];
                let off = third.xyz[2] - last.xyz[2] - (last.xyz[2] - first.xyz[2]) * ratio;
                let width = sigma(ratio, ways[1], (radius / conditions.mm_per_gev()).min(50.0));
                let pull = off / width;
                if pull.abs() > WIDTHS {
                    return;
                }
                let width = if layer.disk { width / pair.slope.abs().max(0.05) } else { width };
                let area = room * std::f64::consts::TAU.sqrt() * width;
                let score = pair.score + share - (density * area).ln() - 0.5 * pull * pull;
                out.push(Start { hits: [a, b, c], score });
            });
        }
    }
}
