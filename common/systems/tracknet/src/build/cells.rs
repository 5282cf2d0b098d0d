//! Hits near a point, exactly: a grid of cells over the unit cube, hits sorted by cell, so that a sphere touches the few
//! columns that it overlaps and in each one contiguous run of hits.

/// Cells along x and y, and along z.
const SIDE: [usize; 3] = [128, 128, 128];
/// What the grid covers, in normalised units; what lies outside is in the outermost cells.
const LOW: f32 = -0.02;
const HIGH: f32 = 1.02;

/// An index over positions.
pub struct Cells {
    starts: Vec<u32>,
    hits: Vec<u32>,
    sorted: Vec<[f32; 3]>,
}

fn cell(value: f32, side: usize) -> usize {
    // A cast saturates, and NaN becomes 0.
    (((value - LOW) / (HIGH - LOW) * side as f32) as usize).min(side - 1)
}

fn column(p: [f32; 3]) -> usize {
    cell(p[0], SIDE[0]) * SIDE[1] + cell(p[1], SIDE[1])
}

impl Cells {
    /// Sorts positions into cells.
    pub fn new(positions: &[[f32; 3]]) -> Self {
        let key = |p: [f32; 3]| column(p) * SIDE[2] + cell(p[2], SIDE[2]);
        let mut starts = vec![0_u32; SIDE[0] * SIDE[1] * SIDE[2] + 1];
        let keys: Vec<u32> = positions.iter().map(|&p| key(p) as u32).collect();
        keys.iter().for_each(|&k| starts[k as usize + 1] += 1);
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        let mut hits = vec![0; positions.len()];
        for (i, &k) in keys.iter().enumerate() {
            hits[next[k as usize] as usize] = i as u32;
            next[k as usize] += 1;
        }
        let sorted = hits.iter().map(|&i| positions[i as usize]).collect();
        Self { starts, hits, sorted }
    }

    /// Calls `take` (index, distance) for every position within `radius` of `centre`, borders included, f32 arithmetic.
    pub fn within(&self, centre: [f32; 3], radius: f32, mut take: impl FnMut(u32, f32)) {
        // A little wider than the sphere: rounding must not cut off what the exact test accepts.
        let reach = radius * 1.000_01 + 1e-6;
        let range = |i: usize| cell(centre[i] - reach, SIDE[i])..=cell(centre[i] + reach, SIDE[i]);
        let (z_low, z_high) = range(2).into_inner();
        for x in range(0) {
            for y in range(1) {
                let at = (x * SIDE[1] + y) * SIDE[2];
                let run = self.starts[at + z_low] as usize..self.starts[at + z_high + 1] as usize;
                for i in run {
                    let p = self.sorted[i];
                    let (dx, dy, dz) = (p[0] - centre[0], p[1] - centre[1], p[2] - centre[2]);
                    let d = (dx * dx + dy * dy + dz * dz).sqrt();
                    if d <= radius {
                        take(self.hits[i], d);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn cells_find_what_a_walk_over_all_positions_finds() {
        let mut rng = common::seed::rng_for(3, "cells", 0);
        let mut point = || std::array::from_fn::<f32, 3, _>(|_| rng.random::<f32>() * 1.3 - 0.15);
        let positions: Vec<[f32; 3]> = (0..2000).map(|_| point()).collect();
        let cells = Cells::new(&positions);
        for i in 0..200 {
            let (centre, radius) = (point(), 0.004 * i as f32);
            let mut found = vec![];
            cells.within(centre, radius, |hit, _| found.push(hit));
            found.sort_unstable();
            let all = (0..2000_u32).filter(|&j| {
                let p = positions[j as usize];
                let d: [f32; 3] = std::array::from_fn(|k| p[k] - centre[k]);
                (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt() <= radius
            });
            assert_eq!(found, all.collect::<Vec<_>>());
        }
    }
}
