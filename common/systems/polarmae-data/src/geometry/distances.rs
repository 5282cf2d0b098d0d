//! Distances of many points from one.

/// Lowers `nearest` to the squared distances from `p` where these are smaller; gives the largest that is left, which is
/// negative infinity of no points.
///
/// Free of branches, so that it runs on vectors.
pub(super) fn lower(x: &[f32], y: &[f32], z: &[f32], p: [f32; 3], nearest: &mut [f32]) -> f32 {
    const LANES: usize = 16;
    let n = nearest.len();
    let (x, y, z) = (&x[..n], &y[..n], &z[..n]);
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let whole = n - n % LANES;
    for i in (0..whole).step_by(LANES) {
        for (lane, best) in lanes.iter_mut().enumerate() {
            let j = i + lane;
            let (dx, dy, dz) = (x[j] - p[0], y[j] - p[1], z[j] - p[2]);
            let d = dx * dx + dy * dy + dz * dz;
            let low = if d < nearest[j] { d } else { nearest[j] };
            nearest[j] = low;
            *best = if low > *best { low } else { *best };
        }
    }
    let mut largest = lanes.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    for j in whole..n {
        let (dx, dy, dz) = (x[j] - p[0], y[j] - p[1], z[j] - p[2]);
        let d = dx * dx + dy * dy + dz * dz;
        nearest[j] = if d < nearest[j] { d } else { nearest[j] };
        largest = largest.max(nearest[j]);
    }
    largest
}
