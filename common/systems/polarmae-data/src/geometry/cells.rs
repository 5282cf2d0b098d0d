//! A cell list: points sorted by the cube that they lie in.

use super::Points;

/// Points sorted by cell. The cells that touch a point's own hold everything within one cell edge of it.
#[derive(Debug)]
pub struct Cells {
    origin: [f32; 3],
    inverse: f32,
    /// Cells along y and z, padded by one on each side; along x no bound is needed.
    sides: [i64; 2],
    /// Keys of the sorted points.
    keys: Vec<i64>,
    /// Their indices in the cloud.
    order: Vec<u32>,
    /// Sorted coordinates.
    sorted: Points,
}

/// Cells along an axis at most. With more the edge grows, and results stay the same.
const MOST: f32 = 1_000_000.0;

impl Cells {
    /// Sorts `points` into cubes with an edge of at least `radius`.
    pub fn new(points: &Points, radius: f32) -> Self {
        let bounds = [&points.x, &points.y, &points.z].map(|axis| {
            axis.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
        });
        let widest = bounds.iter().map(|(low, high)| high - low).fold(0.0_f32, f32::max);
        // A little wider than the radius: rounding must not carry a neighbour beyond the next cell.
        let edge = (radius * 1.0001).max(widest / MOST).max(f32::MIN_POSITIVE);
        let inverse = 1.0 / edge;
        let origin = bounds.map(|(low, _)| if low.is_finite() { low } else { 0.0 });
        let side = |a: usize| ((bounds[a].1 - origin[a]).max(0.0) * inverse) as i64 + 3;
        let mut cells =
            Self { origin, inverse, sides: [side(1), side(2)], keys: vec![], order: vec![], sorted: Points::default() };
        let mut keyed: Vec<(i64, u32)> =
            (0..points.len()).map(|i| (cells.key(cells.cell(points.at(i))), i as u32)).collect();
        keyed.sort_unstable();
        cells.order = keyed.iter().map(|k| k.1).collect();
        cells.keys = keyed.into_iter().map(|k| k.0).collect();
        cells.sorted = points.select(&cells.order);
        cells
    }

    fn cell(&self, p: [f32; 3]) -> [i64; 3] {
        // A query may lie far outside of the cloud: then no cell near it holds anything.
        let along = |a: usize| ((p[a] - self.origin[a]) * self.inverse).floor().clamp(-2.0, 2.0 * MOST) as i64 + 1;
        [along(0), along(1).min(self.sides[0] + 1), along(2).min(self.sides[1] + 1)]
    }

    fn key(&self, [x, y, z]: [i64; 3]) -> i64 {
        (x * (self.sides[0] + 4) + y) * (self.sides[1] + 4) + z
    }

    /// Calls `each(index, squared distance)` for all points with a squared distance below `radius2` from `p`, in no
    /// useful order. The radius is at most that of [`Cells::new`].
    #[inline]
    pub fn within(&self, p: [f32; 3], radius2: f32, mut each: impl FnMut(u32, f32)) {
        for range in self.ranges(p) {
            for i in range {
                let d = self.sorted.distance2(i, p);
                if d < radius2 {
                    each(self.order[i], d);
                }
            }
        }
    }

    /// The sorted points of the 27 cells around `p`, in nine runs along z.
    fn ranges(&self, p: [f32; 3]) -> [std::ops::Range<usize>; 9] {
        let [x, y, z] = self.cell(p);
        std::array::from_fn(|i| {
            let (dx, dy) = (i as i64 / 3 - 1, i as i64 % 3 - 1);
            let key = self.key([x + dx, y + dy, z]);
            let start = self.keys.partition_point(|&k| k < key - 1);
            let length = self.keys[start..].iter().take_while(|&&k| k <= key + 1).count();
            start..start + length
        })
    }

    /// How many points lie within the radius of each point, itself included, each count at most `most`.
    ///
    /// Runs cell by cell, so that neighbouring cells are looked up once for all points of a cell.
    pub fn counts(&self, radius2: f32, most: u32) -> Vec<u32> {
        let mut counts = vec![0; self.order.len()];
        let mut begin = 0;
        while begin < self.keys.len() {
            let end = begin + self.keys[begin..].iter().take_while(|&&k| k == self.keys[begin]).count();
            let ranges = self.ranges(self.sorted.at(begin));
            for i in begin..end {
                let p = self.sorted.at(i);
                let mut count = 0u32;
                for range in &ranges {
                    let (x, y, z) =
                        (&self.sorted.x[range.clone()], &self.sorted.y[range.clone()], &self.sorted.z[range.clone()]);
                    for ((x, y), z) in x.iter().zip(y).zip(z) {
                        count += u32::from(super::distance2([*x, *y, *z], p) < radius2);
                    }
                }
                counts[self.order[i] as usize] = count.min(most);
            }
            begin = end;
        }
        counts
    }
}
