//! Farthest point sampling.

use super::Points;
use super::buckets::Buckets;
use super::distances::lower;

/// From this many distance evaluations on, buckets pay for being built.
const BUCKETS_FROM: usize = 1 << 20;

/// Begins with `start`, then takes again and again the point that lies farthest from all taken ones; ties go to the
/// lowest index. Gives `min(count, points)` indices; of no points, none.
pub fn farthest_points(points: &Points, count: usize, start: u32) -> Vec<u32> {
    if points.len().saturating_mul(count) >= BUCKETS_FROM && count > 1 {
        Buckets::new(points).sample(count, start)
    } else {
        farthest_points_plain(points, count, start)
    }
}

/// The same by looking at every point for every sample.
pub fn farthest_points_plain(points: &Points, count: usize, start: u32) -> Vec<u32> {
    let count = count.min(points.len());
    let mut taken = Vec::with_capacity(count);
    if count == 0 {
        return taken;
    }
    taken.push(start);
    let mut nearest = vec![f32::INFINITY; points.len()];
    while taken.len() < count {
        let last = points.at(taken[taken.len() - 1] as usize);
        let largest = lower(&points.x, &points.y, &points.z, last, &mut nearest);
        taken.push(nearest.iter().position(|&d| d == largest).unwrap_or(0) as u32);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::seed::rng_for;
    use rand::RngExt;

    fn cloud(n: usize, grid: bool) -> Points {
        let mut rng = rng_for(3, "cloud", n as u64);
        let mut draw = || {
            let u: f32 = rng.random();
            if grid { (u * 12.0).floor() } else { u }
        };
        let rows: Vec<f32> = (0..3 * n).map(|_| draw()).collect();
        Points::from_rows(&rows, 3)
    }

    #[test]
    fn buckets_and_the_plain_form_take_the_same_points_also_with_many_ties() {
        for grid in [false, true] {
            for n in [1, 2, 31, 700, 3000] {
                let points = cloud(n, grid);
                for start in [0, n as u32 - 1] {
                    let plain = farthest_points_plain(&points, 600, start);
                    assert_eq!(plain, Buckets::new(&points).sample(600, start), "{n} points, grid {grid}");
                }
            }
        }
    }

    #[test]
    fn no_points_give_no_samples_and_equal_points_the_first() {
        assert!(farthest_points(&Points::default(), 4, 0).is_empty());
        let same = Points::from_rows(&[0.5; 15], 3);
        assert_eq!(farthest_points(&same, 3, 2), [2, 0, 0]);
    }
}
