//! The TrackML score and hit weights (`LAL/trackml-library`, `trackml/score.py`, `trackml/weights.py`).

use std::collections::HashMap;
use std::path::Path;

use common::{Error, Result};

use crate::event::{Particles, Places, Truth};
use crate::submission::Submission;

/// One track of a submission and what it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackRow {
    /// Number of the track; -1 for a hit that the submission lacks.
    pub track_id: i64,
    /// Its hits.
    pub nhits: u64,
    /// The particle with most of its hits, smallest id on ties.
    pub major_particle_id: i64,
    /// Hits of that particle in the event.
    pub major_particle_nhits: u64,
    /// Hits of that particle in the track.
    pub major_nhits: u64,
    /// Their share of the event's weight.
    pub major_weight: f64,
}

impl TrackRow {
    /// Whether more than half of the track is the particle, and more than half of the particle is the track.
    pub fn good(&self) -> bool {
        2 * self.major_nhits > self.nhits && 2 * self.major_nhits > self.major_particle_nhits
    }
}

/// The score of a submission and the table behind it, sorted by track.
pub fn score(truth: &Truth, submission: &Submission) -> Result<(f64, Vec<TrackRow>)> {
    let places = Places::of(&submission.hit_id, Path::new("submission"))?;
    // As published: the weights are summed in f32, pairwise as numpy does.
    let total = f64::from(pairwise(&truth.weight));
    let mut sizes: HashMap<i64, u64> = HashMap::new();
    truth.particle_id.iter().for_each(|p| *sizes.entry(*p).or_default() += 1);
    let mut rows: Vec<(i64, i64, f64)> = Vec::with_capacity(truth.hit_id.len());
    for i in 0..truth.hit_id.len() {
        let track = places.get(truth.hit_id[i]).map_or(-1, |row| submission.track_id[row]);
        rows.push((track, truth.particle_id[i], f64::from(truth.weight[i])));
    }
    // Stable: hits of equal track and particle keep the order of the truth.
    rows.sort_by_key(|&(track, particle, _)| (track, particle));
    let mut tracks = Vec::new();
    let mut at = 0;
    while at < rows.len() {
        let track = rows[at].0;
        // A hit that the submission lacks is a track of its own.
        let end = if track < 0 { at + 1 } else { at + rows[at..].partition_point(|row| row.0 <= track) };
        let mut best = (0, 0, 0.0);
        let mut from = at;
        while from < end {
            let particle = rows[from].1;
            let to = from + rows[from..end].iter().take_while(|row| row.1 == particle).count();
            if to - from > best.0 {
                best = (to - from, particle, rows[from..to].iter().map(|row| row.2).sum::<f64>());
            }
            from = to;
        }
        tracks.push(TrackRow {
            track_id: track,
            nhits: (end - at) as u64,
            major_particle_id: best.1,
            major_particle_nhits: sizes[&best.1],
            major_nhits: best.0 as u64,
            major_weight: best.2 / total,
        });
        at = end;
    }
    // No good track is 0; the sum of nothing would be -0.
    let score = tracks.iter().filter(|t| t.good()).fold(0.0, |sum, t| sum + t.major_weight);
    // Without weights there is no score, which is not a bad one.
    Ok((if total > 0.0 { score } else { f64::NAN }, tracks))
}

/// Sum in f32 by halves.
fn pairwise(values: &[f32]) -> f32 {
    if values.len() <= 128 {
        return values.iter().sum();
    }
    let (a, b) = values.split_at(values.len() / 2);
    pairwise(a) + pairwise(b)
}

/// Which rule weights follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The accuracy phase.
    One,
    /// The throughput phase: only particles produced in the collision count.
    Two,
}

/// Longest track that the weights distinguish.
const LONGEST: usize = 20;
/// Fewest hits of a particle that counts.
const SHORTEST: usize = 4;
/// Importance along a track, first hits first.
const PROFILE: [f64; 9] = [10.0, 8.0, 6.0, 5.0, 3.0, 3.0, 3.0, 5.0, 6.0];

/// Weights of all hits, in the order of the truth, summing to one.
pub fn weights(truth: &Truth, particles: &Particles, phase: Phase, path: &Path) -> Result<Vec<f64>> {
    let row_of: HashMap<i64, usize> = particles.particle_id.iter().enumerate().map(|(row, &id)| (id, row)).collect();
    let mut groups: HashMap<i64, Vec<usize>> = HashMap::new();
    for (i, particle) in truth.particle_id.iter().enumerate().filter(|(_, p)| **p != 0) {
        groups.entry(*particle).or_default().push(i);
    }
    let mut weights = vec![0.0; truth.hit_id.len()];
    for (particle, rows) in groups {
        let Some(&at) = row_of.get(&particle) else { continue };
        let nhits = if particles.nhits[at] < 0 { rows.len() } else { particles.nhits[at] as usize };
        let generation = (particle as u64 >> 24) & 0xfff;
        if nhits < SHORTEST || (phase == Phase::Two && generation != 0) {
            continue;
        }
        let [px, py, _] = particles.momentum[at];
        let by_pt = weight_of_pt(f64::from(px).hypot(f64::from(py)));
        let distance = |i: usize| (f64::from(truth.position[i][2]) - f64::from(particles.vertex[at][2])).abs();
        let by_order = weights_of_order(nhits.min(LONGEST));
        for &i in &rows {
            // Average rank, counted from 0 and cut to a whole number.
            let d = distance(i);
            let below = rows.iter().filter(|&&j| distance(j) < d).count();
            let same = rows.iter().filter(|&&j| distance(j) == d).count();
            let rank = below + (same - 1) / 2;
            if rank >= nhits.min(LONGEST) && rank < LONGEST {
                let problem = format!("particle {particle} has {} hits, but `nhits` is {nhits}", rows.len());
                return Err(Error::input(path, problem));
            }
            weights[i] = by_pt * by_order.get(rank).copied().unwrap_or(0.0);
        }
    }
    let total: f64 = weights.iter().sum();
    if total > 0.0 {
        weights.iter_mut().for_each(|w| *w /= total);
    }
    Ok(weights)
}

/// Straight lines between (0.05, 0.2), (0.5, 0.2), (3, 1); 0 below, 1 above.
fn weight_of_pt(pt: f64) -> f64 {
    match pt {
        pt if pt < 0.05 => 0.0,
        pt if pt < 0.5 => 0.2,
        pt if pt < 3.0 => 0.2 + 0.8 * (pt - 0.5) / 2.5,
        _ => 1.0,
    }
}

fn weights_of_order(n: usize) -> Vec<f64> {
    let spacing = (n - 1) as f64 / 8.0;
    let raw: Vec<f64> = (0..n)
        .map(|i| {
            let place = i as f64 / spacing;
            let low = (place.floor() as usize).min(7);
            PROFILE[low] + (PROFILE[low + 1] - PROFILE[low]) * (place - low as f64)
        })
        .collect();
    let total: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w / total).collect()
}
