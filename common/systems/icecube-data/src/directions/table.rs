//! Tables of predicted directions, as they are written.

use std::path::Path;

use common::Result;
use common::durable::Written;
use common::store::tables::{Column, Table, write_parquet};

use super::calibration::Calibration;
use crate::angles;

/// Columns of what heads say beside the direction: energy in GeV, vertex in metres, probability of a track.
pub const EXTRA: [&str; 5] = ["energy", "vertex_x", "vertex_y", "vertex_z", "track"];

/// Writes predictions as parquet: `event_id`, `azimuth`, `zenith`, the unit vector `x`, `y`, `z` of that direction, the
/// length `kappa` of the given vector, and the angles around the direction that hold 50 % and 90 % of its von Mises-Fisher
/// distribution, in radians.
pub fn write(path: &Path, ids: &[i64], vectors: &[[f32; 3]]) -> Result<Written> {
    write_calibrated(path, ids, vectors, &Calibration::default(), None)
}

/// [`write`] with kappa and regions under a calibration, beside which the vectors' own lengths stand as `length`, and the
/// columns [`EXTRA`] of heads that are there.
pub fn write_calibrated(
    path: &Path,
    ids: &[i64],
    vectors: &[[f32; 3]],
    calibration: &Calibration,
    extra: Option<&[[f32; 5]]>,
) -> Result<Written> {
    let found: Vec<[f32; 2]> = vectors.iter().map(|&v| angles::angles(v)).collect();
    let lengths: Vec<f32> = vectors.iter().map(|v| angles::length(v.map(f64::from)) as f32).collect();
    let calibrated = *calibration != Calibration::default();
    let within = |region| lengths.iter().map(|&k| calibration.region(f64::from(k), region) as f32).collect::<Vec<_>>();
    let (half, most) = (within(0), within(1));
    let kappa: Vec<f32> = lengths.iter().map(|&k| calibration.kappa(f64::from(k)) as f32).collect();
    let unit: Vec<[f32; 3]> = vectors.iter().zip(&found).map(|(&v, &angles)| outer(v, angles)).collect();
    let mut table = Table::new();
    table.push("event_id", Column::I64(ids.to_vec()))?;
    table.push("azimuth", Column::F32(found.iter().map(|a| a[0]).collect()))?;
    table.push("zenith", Column::F32(found.iter().map(|a| a[1]).collect()))?;
    for (place, name) in ["x", "y", "z"].into_iter().enumerate() {
        table.push(name, Column::F32(unit.iter().map(|v| v[place]).collect()))?;
    }
    table.push("kappa", Column::F32(kappa))?;
    table.push("angle50", Column::F32(half))?;
    table.push("angle90", Column::F32(most))?;
    if calibrated {
        table.push("length", Column::F32(lengths))?;
    }
    for (k, name) in EXTRA.iter().enumerate() {
        let column: Vec<f32> = extra.into_iter().flatten().map(|extra| extra[k]).collect();
        // A head that is not there gives no column.
        if column.iter().any(|value| !value.is_nan()) {
            table.push(*name, Column::F32(column))?;
        }
    }
    write_parquet(path, &table)
}

/// The unit vector of a direction as the usual convention has it, `(cos a sin z, sin a sin z, cos z)`, of a vector inside.
/// A vector without direction has that of its angles.
fn outer(vector: [f32; 3], [azimuth, zenith]: [f32; 2]) -> [f32; 3] {
    let vector = vector.map(f64::from);
    let length = angles::length(vector);
    let [x, y, z] = if length > 0.0 && length.is_finite() {
        vector.map(|c| c / length)
    } else {
        angles::vector(f64::from(azimuth), f64::from(zenith))
    };
    [y, x, z].map(|c| c as f32)
}
