//! Neighbours and samples of point clouds, exactly as the published kernels define them: squared distances in f32,
//! accumulated as ((dx dx) + dy dy) + dz dz; strict radii; ties go to the lowest index.
//!
//! Results never depend on the number of threads. Source: `pytorch3d.ops` 0.7.8 (`ball_query`, `knn_points`,
//! `sample_farthest_points`) and the suppression kernel of the PoLAr-MAE repository.

mod ball;
mod buckets;
mod cells;
mod distances;
mod fps;
mod knn;
mod suppress;

pub use ball::{ball_query, ball_query_plain};
pub use cells::Cells;
pub use fps::{farthest_points, farthest_points_plain};
pub use knn::{Nearest, nearest};
pub use suppress::{Suppressed, suppress, suppress_plain};

/// Coordinates of points, one vector an axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points {
    /// First coordinate.
    pub x: Vec<f32>,
    /// Second coordinate.
    pub y: Vec<f32>,
    /// Third coordinate.
    pub z: Vec<f32>,
}

impl Points {
    /// From rows of `width` values, of which the first three are coordinates.
    pub fn from_rows(rows: &[f32], width: usize) -> Self {
        let axis = |a: usize| rows.chunks_exact(width).map(|row| row[a]).collect();
        Self { x: axis(0), y: axis(1), z: axis(2) }
    }

    /// The points with these indices, in that order.
    pub fn select(&self, indices: &[u32]) -> Self {
        let axis = |values: &[f32]| indices.iter().map(|&i| values[i as usize]).collect();
        Self { x: axis(&self.x), y: axis(&self.y), z: axis(&self.z) }
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.x.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.x.is_empty()
    }

    /// One point.
    pub fn at(&self, i: usize) -> [f32; 3] {
        [self.x[i], self.y[i], self.z[i]]
    }

    /// Squared distance of point `i` from `p`.
    #[inline]
    pub fn distance2(&self, i: usize, p: [f32; 3]) -> f32 {
        distance2(self.at(i), p)
    }
}

/// Squared distance in f32.
#[inline]
pub fn distance2(a: [f32; 3], b: [f32; 3]) -> f32 {
    let (dx, dy, dz) = (a[0] - b[0], a[1] - b[1], a[2] - b[2]);
    dx * dx + dy * dy + dz * dz
}
