//! Training sequences of the tracker: features after each hit and the residual of the next one, along true tracks with
//! random gaps and, now and then, a wrong hit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::seed::rng_for;
use common::{Error, Result};
use neural::loader::{Field, Source};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use super::known::Known;
use super::state::{CLIP, FEATURES, Point, State};
use crate::prepare;
use crate::tracks::Tracks;

/// Longest sequence.
pub const LONGEST: usize = 20;

/// Volume and layer.
pub type Key = (i32, i32);

/// How often a track of some layer goes on in which layer, or ends: (volume, layer) to shares that sum to one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Transitions {
    /// (from, to, share); `to` is (0, 0) for the end of the track.
    pub shares: Vec<(Key, Key, f64)>,
}

/// Rarer transitions are not followed.
const RAREST: f64 = 2e-3;

impl Transitions {
    /// Counts consecutive layers of tracks; `gaps` more of each hit are taken as lost.
    fn count(tracks: &[Tracks]) -> Self {
        let mut counts: BTreeMap<(Key, Key), u64> = BTreeMap::new();
        let mut totals: BTreeMap<Key, u64> = BTreeMap::new();
        for part in tracks {
            for i in 0..part.len() {
                let keys: Vec<(i32, i32)> = part.hits(i).map(|h| (part.volume[h], part.layer[h])).collect();
                for (at, &from) in keys.iter().enumerate() {
                    let to = keys.get(at + 1).copied().unwrap_or((0, 0));
                    *counts.entry((from, to)).or_default() += 1;
                    *totals.entry(from).or_default() += 1;
                }
            }
        }
        let share = |((from, to), n): ((Key, Key), u64)| {
            let share = n as f64 / totals[&from] as f64;
            (share >= RAREST || to == (0, 0)).then_some((from, to, share))
        };
        Self { shares: counts.into_iter().filter_map(share).collect() }
    }
}

/// True tracks as training sequences.
pub struct TrackerSource {
    parts: Vec<Tracks>,
    firsts: Vec<u64>,
    rows: u64,
    gaps: f64,
    noise: f64,
    seed: u64,
    conditions: Conditions,
    known: Known,
}

impl TrackerSource {
    /// Reads prepared tracks: positions in mm, one hit a layer.
    pub fn open(paths: &[PathBuf], gaps: f64, noise: f64, seed: u64) -> Result<Self> {
        let parts = paths.iter().map(|path| prepare::read(path)).collect::<Result<Vec<_>>>()?;
        let known = paths.iter().map(|path| prepare::known(path)).collect::<Result<Vec<_>>>()?;
        let mut firsts = Vec::with_capacity(parts.len());
        let mut rows = 0;
        for (part, path) in parts.iter().zip(paths) {
            if part.xyz.iter().any(|p| p.iter().all(|v| v.abs() <= 2.0)) {
                return Err(Error::input(path, "holds normalised positions, the tracker needs mm").hint(
                    "prepare with `transforms=[drop_repeated_layers]`: `configs/tracknet/tracker/prepare.yaml`",
                ));
            }
            firsts.push(rows);
            rows += part.len() as u64;
        }
        if rows == 0 {
            return Err(Error::usage("the data set has no tracks").hint("prepare it with looser filters"));
        }
        let known = Known::of_all(&known);
        Ok(Self { parts, firsts, rows, gaps, noise, seed, conditions: Conditions::default(), known })
    }

    /// The same tracks under other conditions.
    #[must_use]
    pub fn under(self, conditions: Conditions) -> Self {
        Self { conditions, ..self }
    }

    /// Conditions as these tracks and the truth of their events say them, the rest from `known`; none for too few tracks.
    pub fn conditions(&self, known: &Conditions) -> Option<Conditions> {
        known.told(&self.known).estimated(&self.parts)
    }

    /// The conditions that features are made under.
    pub fn known(&self) -> Conditions {
        self.conditions
    }

    /// How tracks go on from layer to layer.
    pub fn transitions(&self) -> Transitions {
        Transitions::count(&self.parts)
    }
}

impl Source for TrackerSource {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn fields(&self) -> Vec<Field> {
        let field = |name: &str, width: usize| Field { name: name.into(), shape: vec![LONGEST as i64, width as i64] };
        vec![field("features", FEATURES), field("targets", 2), Field::vector("mask", LONGEST)]
    }

    fn gather(&self, rows: &[u64], buffers: &mut [Vec<f32>]) -> Result<()> {
        let [features, targets, mask] = buffers else {
            return Err(Error::failed(format!("gathering tracks: {} buffers, expected three", buffers.len())));
        };
        for &row in rows {
            let at = self.firsts.partition_point(|first| *first <= row) - 1;
            let part = &self.parts[at];
            let mut rng = rng_for(self.seed, "tracker-gaps", row);
            let all: Vec<usize> = part.hits((row - self.firsts[at]) as usize).collect();
            let mut hits: Vec<Point> = all.iter().map(|&h| Point::new(part.xyz[h], part.volume[h])).collect();
            let mut i = 0;
            hits.retain(|_| {
                i += 1;
                i == 1 || rng.random::<f64>() >= self.gaps
            });
            let begun = mask.len();
            let first = hits.first().copied().unwrap_or(Point::new([0.0; 3], 8));
            let track = &part.xyz[part.hits((row - self.firsts[at]) as usize)];
            let mut state = match self.conditions.points_elsewhere(track) {
                false => State::start(first, &self.conditions),
                true => State::free(first, &self.conditions),
            };
            for at in 0..LONGEST {
                let next = hits.get(at + 1);
                let residual = next.and_then(|next| state.residual(next));
                // A wild residual is a kink that no window would follow.
                let residual = residual.filter(|r| r.u.abs() < 2.0 * CLIP && r.v.abs() < 2.0 * CLIP);
                features.extend_from_slice(&state.features());
                targets.extend(residual.map_or([0.0; 2], |r| [r.u as f32, r.v as f32]));
                mask.push(f32::from(u8::from(residual.is_some())));
                let Some(&next) = next else { continue };
                // A wrong hit near the right one: the network learns to doubt after a bad residual.
                let wrong = rng.random::<f64>() < self.noise;
                let shift = |p: Point, by: f32| {
                    let (sin, cos) = p.phi.sin_cos();
                    let [x, y, z] = p.xyz.map(|v| v as f32);
                    let volume = [8, 13, 17][p.kind];
                    let moved = [x - by * sin as f32, y + by * cos as f32, z + by];
                    Point { disk: p.disk, ..Point::new(moved, volume) }
                };
                let size = residual.map_or(0.0, |r| r.width_u as f32) * 4.0 * (rng.random::<f32>() - 0.5);
                state = state.with(if wrong { shift(next, size) } else { next });
            }
            debug_assert_eq!(mask.len(), begun + LONGEST);
        }
        Ok(())
    }
}
