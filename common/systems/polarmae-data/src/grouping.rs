//! Events to groups of points: the first half of the tokenizer.
//!
//! Candidate centres, suppression, ball query, reduction to a fixed number of slots, local coordinates. What comes out
//! is packed: no padding, neither of groups nor of slots. Source: `PointcloudGrouping` of the published code.

use common::config::Problems;
use common::seed::rng_for;
use rand::RngExt;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::{Points, ball_query, farthest_points, nearest, suppress};

/// Values of a point: x, y, z, energy.
pub const CHANNELS: usize = 4;

/// Number of seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seeds {
    /// Every point is a candidate.
    AllPoints,
    /// So many farthest points, from a random start.
    Farthest(usize),
    /// One farthest point for every so many points, rounded up.
    FarthestShare(f64),
}

/// Which points of a crowded group are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// The farthest from one another, from the lowest index on.
    Fps,
    /// Those with the largest energy.
    Energy,
}

/// The tokenizer's geometry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupingConfig {
    /// Candidate centres. Published: all points (2.5 and 5 voxels), 256 farthest points (25 voxels).
    pub seeds: Seeds,
    /// Neighbours at most that a point counts and suppresses.
    pub suppression_neighbors: usize,
    /// Overlap of neighbouring groups: centres keep a distance of `2 * radius * overlap`. `null`: no suppression.
    pub overlap: Option<f64>,
    /// Radius of a group in normalised coordinates. `null`: the nearest points, whatever their distance.
    pub radius: Option<f64>,
    /// Points at most that are looked at for a group, the first by index.
    pub upscale_points: usize,
    /// Slots of a group.
    pub slots: usize,
    /// Which points fill the slots.
    pub reduction: Reduction,
    /// Whether the mean of a group's points is its centre.
    #[serde(default)]
    pub mean_centers: bool,
    /// Whether the energy, too, is taken relative to the centre.
    #[serde(default)]
    pub relative_features: bool,
    /// Groups of an event at most; more are cut off with a warning. `null`: no limit.
    ///
    /// Differs: upstream has a limit of 512, raises it the first time that a batch exceeds it, and cuts silently from
    /// then on. Where nothing exceeds it, results are the same.
    #[serde(default)]
    pub max_groups: Option<usize>,
}

impl GroupingConfig {
    /// The published tokenizer of 5 voxels; `scale` is the factor from voxels to normalised coordinates.
    pub fn voxels_5(scale: f64) -> Self {
        Self {
            seeds: Seeds::AllPoints,
            suppression_neighbors: 256,
            overlap: Some(0.72),
            radius: Some(5.0 * scale),
            upscale_points: 256,
            slots: 32,
            reduction: Reduction::Fps,
            mean_centers: false,
            relative_features: false,
            max_groups: None,
        }
    }

    /// The published tokenizer of 2.5 voxels.
    pub fn voxels_2p5(scale: f64) -> Self {
        Self { overlap: Some(0.73), radius: Some(2.5 * scale), upscale_points: 64, slots: 16, ..Self::voxels_5(scale) }
    }

    /// The published tokenizer of 25 voxels.
    pub fn voxels_25(scale: f64) -> Self {
        Self {
            seeds: Seeds::Farthest(256),
            radius: Some(25.0 * scale),
            upscale_points: 2048,
            slots: 128,
            mean_centers: true,
            ..Self::voxels_5(scale)
        }
    }

    /// Reports values that cannot work; `key` is the dotted path of the section.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let counts = [
            ("suppression_neighbors", self.suppression_neighbors),
            ("upscale_points", self.upscale_points),
            ("slots", self.slots),
            ("max_groups", self.max_groups.unwrap_or(1)),
        ];
        for (name, value) in counts {
            problems.demand(value >= 1, &format!("{key}.{name}"), || "is 0, expected at least 1".into());
        }
        for (name, value) in [("radius", self.radius), ("overlap", self.overlap)] {
            let good = value.is_none_or(|v| v > 0.0 && v.is_finite());
            problems.demand(good, &format!("{key}.{name}"), || format!("is {value:?}, expected a number above 0"));
        }
        let seeds = match self.seeds {
            Seeds::AllPoints => true,
            Seeds::Farthest(count) => count >= 1,
            Seeds::FarthestShare(share) => share >= 1.0 && share.is_finite(),
        };
        problems.demand(seeds, &format!("{key}.seeds"), || "expects a number of at least 1".into());
        let suppression = self.overlap.is_none() || self.radius.is_some();
        problems.demand(suppression, &format!("{key}.overlap"), || "needs a `radius`".into());
    }
}

/// The groups of one event, packed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Groups {
    /// Centres, `[groups, center_width]`.
    pub centers: Vec<f32>,
    /// 3, or 4 where centres are means of all channels.
    pub center_width: usize,
    /// Points in each group, 1 to `slots`.
    pub counts: Vec<u32>,
    /// Index in the event of every point of every group, in the order of slots: `[sum of counts]`.
    pub members: Vec<u32>,
    /// Their local coordinates and energies, `[sum of counts, 4]`.
    pub features: Vec<f32>,
    /// Groups that were cut off because of `max_groups`.
    pub cut: usize,
}

impl Groups {
    /// Number of groups.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are none: the event has no points.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Centres without their energy, as points.
    pub fn center_points(&self) -> Points {
        Points::from_rows(&self.centers, self.center_width.max(1))
    }
}

/// Start of the farthest-point seeds of an event, from a uniform draw.
pub fn random_start(points: usize, seed: u64, step: u64, event: u64) -> u32 {
    let u: f32 = rng_for(seed, &format!("seeds of event {event}"), step).random();
    ((f64::from(u) * points as f64) as usize).min(points.saturating_sub(1)) as u32
}

/// Groups the points of one event, rows of x, y, z, energy in normalised coordinates. `start` is the first of
/// farthest-point seeds.
pub fn group(config: &GroupingConfig, rows: &[f32], start: u32) -> Groups {
    let points = Points::from_rows(rows, CHANNELS);
    let seeds: Option<Vec<u32>> = match config.seeds {
        Seeds::AllPoints => None,
        Seeds::Farthest(count) => Some(farthest_points(&points, count, start)),
        Seeds::FarthestShare(share) => {
            Some(farthest_points(&points, (points.len() as f64 / share).ceil() as usize, start))
        }
    };
    let candidates = seeds.as_ref().map_or_else(|| points.clone(), |seeds| points.select(seeds));
    let mut centers = match (config.overlap, config.radius) {
        (Some(overlap), Some(radius)) => {
            let kept = suppress(&candidates, radius, overlap, config.suppression_neighbors).retained;
            candidates.select(&kept)
        }
        _ => candidates,
    };
    let found = centers.len();
    let most = config.max_groups.unwrap_or(found).min(found);
    for axis in [&mut centers.x, &mut centers.y, &mut centers.z] {
        axis.truncate(most);
    }
    let lists = match config.radius {
        Some(radius) => ball_query(&centers, &points, config.upscale_points, radius as f32),
        None => {
            let near = nearest(&centers, &points, config.upscale_points);
            near.indices.chunks(near.k.max(1)).map(<[u32]>::to_vec).collect()
        }
    };
    let mut groups =
        Groups { center_width: if config.mean_centers { CHANNELS } else { 3 }, cut: found - most, ..Groups::default() };
    for (g, list) in lists.iter().enumerate() {
        let members = reduce(config, &points, rows, list);
        if members.is_empty() {
            continue;
        }
        push(&mut groups, config, rows, centers.at(g), &members);
    }
    groups
}

/// Groups several events, in parallel; `starts` are the first ones of their farthest-point seeds.
pub fn group_all(config: &GroupingConfig, events: &[&[f32]], starts: &[u32]) -> Vec<Groups> {
    events.par_iter().zip(starts).map(|(rows, start)| group(config, rows, *start)).collect()
}

/// At most `slots` of the points in `list`.
fn reduce(config: &GroupingConfig, points: &Points, rows: &[f32], list: &[u32]) -> Vec<u32> {
    match config.reduction {
        Reduction::Fps => {
            let near = points.select(list);
            farthest_points(&near, config.slots, 0).into_iter().map(|i| list[i as usize]).collect()
        }
        Reduction::Energy => {
            let energy = |i: u32| rows[i as usize * CHANNELS + 3];
            let mut members = list.to_vec();
            members.sort_by(|&a, &b| energy(b).total_cmp(&energy(a)));
            members.truncate(config.slots);
            members
        }
    }
}

fn push(groups: &mut Groups, config: &GroupingConfig, rows: &[f32], center: [f32; 3], members: &[u32]) {
    let row = |i: u32| &rows[i as usize * CHANNELS..(i as usize + 1) * CHANNELS];
    let mut middle = [center[0], center[1], center[2], 0.0];
    if config.mean_centers {
        // In f32 and in chunks of 16, as libtorch adds up a dimension: groups are normalised by their small radius,
        // which makes the last bit of a centre visible.
        let sum = |c: usize| {
            let chunk = |list: &[u32]| list.iter().map(|&i| row(i)[c]).fold(0.0, |a: f32, v| a + v);
            let whole = members.chunks_exact(16);
            let rest = chunk(whole.remainder());
            rest + whole.map(chunk).fold(0.0, |a: f32, v| a + v)
        };
        middle = std::array::from_fn(|c| sum(c) / members.len() as f32);
    }
    let relative = if config.relative_features { CHANNELS } else { 3 };
    let radius = config.radius.map(|r| r as f32);
    for &i in members {
        for (c, &value) in row(i).iter().enumerate() {
            let mut local = if c < relative { value - middle[c] } else { value };
            if let (Some(radius), true) = (radius, c < 3) {
                local /= radius;
            }
            groups.features.push(local);
        }
    }
    groups.centers.extend_from_slice(&middle[..groups.center_width]);
    groups.counts.push(members.len() as u32);
    groups.members.extend_from_slice(members);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> GroupingConfig {
        GroupingConfig { slots: 4, ..GroupingConfig::voxels_5(1.0) }
    }

    #[test]
    fn degenerate_events_have_defined_groups() {
        assert!(group(&config(), &[], 0).is_empty());
        let one = group(&config(), &[1.0, 2.0, 3.0, 0.5], 0);
        assert_eq!((one.counts, one.members, one.features), (vec![1], vec![0], vec![0.0, 0.0, 0.0, 0.5]));
        let same = group(&config(), &[1.0, 1.0, 1.0, 0.1].repeat(50), 0);
        assert_eq!((same.len(), same.counts.as_slice()), (1, [4].as_slice()));
        let seeds = GroupingConfig { seeds: Seeds::Farthest(8), overlap: None, mean_centers: true, ..config() };
        assert!(group(&seeds, &[], 0).is_empty());
        assert_eq!(group(&seeds, &[1.0, 2.0, 3.0, 0.5], 0).centers, [1.0, 2.0, 3.0, 0.5]);
    }

    #[test]
    fn a_limit_cuts_groups_and_says_how_many() {
        let rows: Vec<f32> = (0..100).flat_map(|i| [i as f32 * 4.0, 0.0, 0.0, 0.0]).collect();
        let all = group(&config(), &rows, 0);
        let cut = group(&GroupingConfig { max_groups: Some(3), ..config() }, &rows, 0);
        assert_eq!((cut.len(), cut.cut), (3, all.len() - 3));
        assert_eq!(cut.members[..], all.members[..cut.members.len()]);
    }
}
