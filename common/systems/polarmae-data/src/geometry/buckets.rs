//! Farthest point sampling over the leaves of a k-d tree.
//!
//! A leaf knows its box and the largest distance among its points, and so does a branch of neighbouring leaves. A new sample
//! can only lower distances in leaves whose box lies nearer than that, and soon these are few. Rounding is monotone, so the
//! distance from a box computed with the same operations never exceeds that of a point inside: what is left out could not
//! have changed anything.

use std::ops::Range;

use super::Points;
use super::distances::lower;

/// Points of a leaf at most.
const LEAF: usize = 64;
/// Leaves of a branch.
const BRANCH: usize = 16;

/// Points sorted into leaves.
pub(super) struct Buckets {
    x: Vec<f32>,
    y: Vec<f32>,
    z: Vec<f32>,
    /// Index of each sorted point in the cloud.
    original: Vec<u32>,
    /// First sorted point of each leaf, and the end of the last.
    starts: Vec<usize>,
    leaves: Boxes,
    branches: Boxes,
}

/// Boxes around points, by axis.
struct Boxes {
    low: [Vec<f32>; 3],
    high: [Vec<f32>; 3],
}

/// A point on its way to its leaf.
#[derive(Clone, Copy)]
struct Moving {
    at: [f32; 3],
    index: u32,
}

impl Boxes {
    /// Around the points of every range; `low` and `high` hold them by axis.
    fn around(low: [&[f32]; 3], high: [&[f32]; 3], ranges: &[Range<usize>]) -> Self {
        let bound = |values: &[f32], take: fn(f32, f32) -> f32| -> Vec<f32> {
            ranges.iter().map(|range| values[range.clone()].iter().copied().reduce(take).unwrap_or(0.0)).collect()
        };
        Self { low: low.map(|axis| bound(axis, f32::min)), high: high.map(|axis| bound(axis, f32::max)) }
    }

    /// Those of `range` whose distances the sample `p` may lower, written to `near`; their number.
    fn touched(&self, range: Range<usize>, p: [f32; 3], largest: &[f32], near: &mut [u32]) -> usize {
        let [lx, ly, lz] = self.low.each_ref().map(|v| &v[range.clone()]);
        let [hx, hy, hz] = self.high.each_ref().map(|v| &v[range.clone()]);
        let largest = &largest[range.clone()];
        let n = largest.len();
        let near = &mut near[..n];
        let mut found = 0;
        for i in 0..n {
            let outside = |low: f32, high: f32, c: f32| (low - c).max(c - high).max(0.0);
            let dx = outside(lx[i], hx[i], p[0]);
            let dy = outside(ly[i], hy[i], p[1]);
            let dz = outside(lz[i], hz[i], p[2]);
            // Written always, kept only where it counts: no branch to mispredict.
            near[found] = (range.start + i) as u32;
            found += usize::from(dx * dx + dy * dy + dz * dz < largest[i]);
        }
        found
    }
}

impl Buckets {
    pub(super) fn new(points: &Points) -> Self {
        let mut moving: Vec<Moving> = (0..points.len()).map(|i| Moving { at: points.at(i), index: i as u32 }).collect();
        let mut starts = vec![];
        split(&mut moving, 0, &mut starts);
        starts.push(points.len());
        let leaves: Vec<Range<usize>> = starts.windows(2).map(|leaf| leaf[0]..leaf[1]).collect();
        // Within a leaf by index, so that the first of equal distances is the lowest index.
        for leaf in &leaves {
            moving[leaf.clone()].sort_unstable_by_key(|point| point.index);
        }
        let axis = |k: usize| moving.iter().map(|point| point.at[k]).collect::<Vec<f32>>();
        let (x, y, z) = (axis(0), axis(1), axis(2));
        let original = moving.iter().map(|point| point.index).collect();
        let axes = [x.as_slice(), &y, &z];
        let boxes = Boxes::around(axes, axes, &leaves);
        let branches: Vec<Range<usize>> =
            (0..leaves.len()).step_by(BRANCH).map(|first| first..(first + BRANCH).min(leaves.len())).collect();
        let wide =
            Boxes::around(boxes.low.each_ref().map(Vec::as_slice), boxes.high.each_ref().map(Vec::as_slice), &branches);
        Self { x, y, z, original, starts, leaves: boxes, branches: wide }
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
        let mut widest = vec![f32::INFINITY; leaves.div_ceil(BRANCH)];
        let (mut near_branches, mut near) = (vec![0; widest.len()], [0; BRANCH]);
        let first = self.original.iter().position(|&i| i == start).unwrap_or(0);
        let (mut sample, mut index) = (first, start);
        loop {
            taken.push(index);
            if taken.len() == count {
                return taken;
            }
            let p = [self.x[sample], self.y[sample], self.z[sample]];
            let touched = self.branches.touched(0..widest.len(), p, &widest, &mut near_branches);
            for &branch in &near_branches[..touched] {
                let inside = branch_leaves(branch as usize, leaves);
                let touched = self.leaves.touched(inside.clone(), p, &largest, &mut near);
                for &leaf in &near[..touched] {
                    let leaf = leaf as usize;
                    let range = self.starts[leaf]..self.starts[leaf + 1];
                    let [x, y, z] = [&self.x, &self.y, &self.z].map(|axis| &axis[range.clone()]);
                    largest[leaf] = lower(x, y, z, p, &mut nearest[range.clone()]);
                }
                widest[branch as usize] = most(&largest[inside]);
            }
            (sample, index) = self.farthest(&widest, &largest, &nearest);
        }
    }

    /// The farthest point: its sorted place and its index. Equal distances go to the lowest index.
    fn farthest(&self, widest: &[f32], largest: &[f32], nearest: &[f32]) -> (usize, u32) {
        let most = most(widest);
        let mut best = (0, u32::MAX);
        for branch in (0..widest.len()).filter(|&branch| widest[branch] == most) {
            for leaf in branch_leaves(branch, largest.len()).filter(|&leaf| largest[leaf] == most) {
                let range = self.starts[leaf]..self.starts[leaf + 1];
                let place = range.start + nearest[range].iter().position(|&d| d == most).unwrap_or(0);
                if self.original[place] < best.1 {
                    best = (place, self.original[place]);
                }
            }
        }
        best
    }
}

/// The leaves of a branch.
fn branch_leaves(branch: usize, leaves: usize) -> Range<usize> {
    branch * BRANCH..((branch + 1) * BRANCH).min(leaves)
}

/// The largest of some distances.
fn most(values: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b))
}

/// Halves along the widest axis until a leaf is small; notes where leaves begin.
fn split(points: &mut [Moving], offset: usize, starts: &mut Vec<usize>) {
    if points.len() <= LEAF {
        if !points.is_empty() || starts.is_empty() {
            starts.push(offset);
        }
        return;
    }
    let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
    for point in points.iter() {
        low = std::array::from_fn(|k| low[k].min(point.at[k]));
        high = std::array::from_fn(|k| high[k].max(point.at[k]));
    }
    let widest = (0..3).max_by(|&a, &b| (high[a] - low[a]).total_cmp(&(high[b] - low[b]))).unwrap_or(0);
    let middle = points.len() / 2;
    points.select_nth_unstable_by(middle, |a, b| a.at[widest].total_cmp(&b.at[widest]).then(a.index.cmp(&b.index)));
    let (left, right) = points.split_at_mut(middle);
    split(left, offset, starts);
    split(right, offset + middle, starts);
}
