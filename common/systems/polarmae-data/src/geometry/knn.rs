//! The K nearest points, ascending by distance, then index.

use super::Points;

/// Neighbours of every query, `k` a row; rows are shorter where there are fewer points.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Nearest {
    /// Neighbours of a row: `min(k, points)`.
    pub k: usize,
    /// Indices of points, `[queries, k]`.
    pub indices: Vec<u32>,
    /// Squared distances, `[queries, k]`.
    pub distances2: Vec<f32>,
}

/// Looks for the `k` nearest points of every query.
///
/// Differs: upstream fills missing neighbours with index 0 at distance 0, which then dominate every weighted mean.
/// Here there are only real ones; [`Nearest::filled`] gives the published form.
pub fn nearest(queries: &Points, points: &Points, k: usize) -> Nearest {
    let k = k.min(points.len());
    let mut found = Nearest {
        k,
        indices: Vec::with_capacity(queries.len() * k),
        distances2: Vec::with_capacity(queries.len() * k),
    };
    if k == 0 {
        return found;
    }
    let mut distances = vec![0.0; points.len()];
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(k + 1);
    for i in 0..queries.len() {
        let p = queries.at(i);
        for (((d, x), y), z) in distances.iter_mut().zip(&points.x).zip(&points.y).zip(&points.z) {
            *d = super::distance2([*x, *y, *z], p);
        }
        best.clear();
        let mut limit = f32::INFINITY;
        for (j, &d) in distances.iter().enumerate() {
            if best.len() == k && d >= limit {
                continue;
            }
            let place = best.partition_point(|(other, _)| *other <= d);
            best.insert(place, (d, j as u32));
            best.truncate(k);
            if best.len() == k {
                limit = best[k - 1].0;
            }
        }
        found.indices.extend(best.iter().map(|b| b.1));
        found.distances2.extend(best.iter().map(|b| b.0));
    }
    found
}

impl Nearest {
    /// With rows of exactly `k`: missing neighbours are index 0 at distance 0, as published.
    #[must_use]
    pub fn filled(self, k: usize) -> Self {
        if self.k >= k || self.k == 0 {
            return self;
        }
        let rows = self.indices.len() / self.k;
        let mut filled = Self { k, indices: Vec::with_capacity(rows * k), distances2: Vec::with_capacity(rows * k) };
        for row in 0..rows {
            let range = row * self.k..(row + 1) * self.k;
            filled.indices.extend_from_slice(&self.indices[range.clone()]);
            filled.indices.resize((row + 1) * k, 0);
            filled.distances2.extend_from_slice(&self.distances2[range]);
            filled.distances2.resize((row + 1) * k, 0.0);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lowest_index_and_missing_neighbours_are_left_out() {
        let points = Points::from_rows(&[1., 0., 0., -1., 0., 0., 0., 1., 0., 0., 0., 3.], 3);
        let query = Points::from_rows(&[0., 0., 0.], 3);
        let found = nearest(&query, &points, 2);
        assert_eq!((found.indices, found.distances2), (vec![0, 1], vec![1.0, 1.0]));
        let all = nearest(&query, &points, 6);
        assert_eq!((all.k, all.indices.as_slice()), (4, [0, 1, 2, 3].as_slice()));
        let filled = all.filled(6);
        assert_eq!(filled.indices, [0, 1, 2, 3, 0, 0]);
        assert_eq!(filled.distances2, [1.0, 1.0, 1.0, 9.0, 0.0, 0.0]);
        assert_eq!(nearest(&query, &Points::default(), 5).k, 0);
    }
}
