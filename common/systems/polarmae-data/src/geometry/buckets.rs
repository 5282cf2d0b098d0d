//! Farthest point sampling over the leaves of a k-d tree.
//!
//! A leaf knows its box and the largest distance among its points. A new sample can only lower distances in leaves
//! whose box lies nearer than that, and soon these are few. Rounding is monotone, so the distance from a box computed
//! with the same operations never exceeds that of a point inside: what is left out could not have changed anything.

use super::Points;
use super::fps::update;

/// Points of a leaf at most.
const LEAF: usize = 64;

/// Points sorted into leaves.
pub(super) struct Buckets {
    x: Vec<f32>,
    y: Vec<f32>,
    z: Vec<f32>,
    /// Index of each sorted point in the cloud.
    original: Vec<u32>,
    /// First sorted point of each leaf, and the end of the last.
    starts: Vec<usize>,
    low: [Vec<f32>; 3],
    high: [Vec<f32>; 3],
}

impl Buckets {
    pub(super) fn new(points: &Points) -> Self {
        let mut original: Vec<u32> = (0..points.len() as u32).collect();
        let mut starts = vec![];
        split(points, &mut original, 0, &mut starts);
        starts.push(points.len());
        // Within a leaf by index, so that the first of equal distances is the lowest index.
        for leaf in starts.windows(2) {
            original[leaf[0]..leaf[1]].sort_unstable();
        }
        let Points { x, y, z } = points.select(&original);
        let bound = |values: &[f32], take: fn(f32, f32) -> f32| -> Vec<f32> {
            starts.windows(2).map(|leaf| values[leaf[0]..leaf[1]].iter().copied().reduce(take).unwrap_or(0.0)).collect()
        };
        let low = [bound(&x, f32::min), bound(&y, f32::min), bound(&z, f32::min)];
        let high = [bound(&x, f32::max), bound(&y, f32::max), bound(&z, f32::max)];
        Self { x, y, z, original, starts, low, high }
    }

    pub(super) fn sample(&self, count: usize, start: u32) -> Vec<u32> {
        let count = count.min(self.original.len());
        let mut taken = Vec::with_capacity(count);
        if count == 0 {
            return taken;
        }
        let leaves = self.starts.len() - 1;
        let mut nearest = vec![f32::INFINITY; self.original.len()];
        let mut largest = vec![f32::INFINITY; leaves];
        let mut place = vec![0usize; leaves];
        let mut near = vec![0u32; leaves];
        let first = self.original.iter().position(|&i| i == start).unwrap_or(0);
        let (mut sample, mut index) = (first, start);
        loop {
            taken.push(index);
            if taken.len() == count {
                return taken;
            }
            let p = [self.x[sample], self.y[sample], self.z[sample]];
            let touched = self.touched(p, &largest, &mut near);
            for &leaf in &near[..touched] {
                let leaf = leaf as usize;
                let range = self.starts[leaf]..self.starts[leaf + 1];
                let (value, at) = update(
                    &self.x[range.clone()],
                    &self.y[range.clone()],
                    &self.z[range.clone()],
                    p,
                    &mut nearest[range.clone()],
                );
                largest[leaf] = value;
                place[leaf] = range.start + at;
            }
            (sample, index) = self.farthest(&largest, &place);
        }
    }

    /// Leaves whose distances the sample `p` may lower, written to `near`; their number.
    fn touched(&self, p: [f32; 3], largest: &[f32], near: &mut [u32]) -> usize {
        let n = largest.len();
        let [lx, ly, lz] = self.low.each_ref().map(|v| &v[..n]);
        let [hx, hy, hz] = self.high.each_ref().map(|v| &v[..n]);
        let near = &mut near[..n];
        let mut found = 0;
        for leaf in 0..n {
            let outside = |low: f32, high: f32, c: f32| (low - c).max(c - high).max(0.0);
            let dx = outside(lx[leaf], hx[leaf], p[0]);
            let dy = outside(ly[leaf], hy[leaf], p[1]);
            let dz = outside(lz[leaf], hz[leaf], p[2]);
            // Written always, kept only where it counts: no branch to mispredict.
            near[found] = leaf as u32;
            found += usize::from(dx * dx + dy * dy + dz * dz < largest[leaf]);
        }
        found
    }

    /// The farthest point: its sorted place and its index. Equal distances go to the lowest index.
    fn farthest(&self, largest: &[f32], place: &[usize]) -> (usize, u32) {
        const LANES: usize = 8;
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let chunks = largest.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane = if value > *lane { value } else { *lane };
            }
        }
        let most = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let mut best = (0, u32::MAX);
        for (leaf, &value) in largest.iter().enumerate() {
            if value == most && self.original[place[leaf]] < best.1 {
                best = (place[leaf], self.original[place[leaf]]);
            }
        }
        best
    }
}

/// Halves along the widest axis until a leaf is small; notes where leaves begin.
fn split(points: &Points, indices: &mut [u32], offset: usize, starts: &mut Vec<usize>) {
    if indices.len() <= LEAF {
        if !indices.is_empty() || starts.is_empty() {
            starts.push(offset);
        }
        return;
    }
    let axes = [&points.x, &points.y, &points.z];
    let width = |axis: &[f32]| {
        let (low, high) = indices.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &i| {
            (low.min(axis[i as usize]), high.max(axis[i as usize]))
        });
        high - low
    };
    let widths = axes.map(|axis| width(axis));
    let widest = (0..3).max_by(|&a, &b| widths[a].total_cmp(&widths[b])).unwrap_or(0);
    let middle = indices.len() / 2;
    let axis = axes[widest];
    indices.select_nth_unstable_by(middle, |&a, &b| axis[a as usize].total_cmp(&axis[b as usize]).then(a.cmp(&b)));
    let (left, right) = indices.split_at_mut(middle);
    split(points, left, offset, starts);
    split(points, right, offset + middle, starts);
}
