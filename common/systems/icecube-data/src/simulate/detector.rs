//! The real detector and its ice, in metres: what light needs to travel in.

use common::store::tables::{ColumnKind, read_csv};
use common::{Error, Result};
use std::path::Path;

/// The published sensor table.
pub const GEOMETRY: &[u8] = include_bytes!("../../assets/sensor_geometry.csv");
/// The published ice table.
pub const ICE: &[u8] = include_bytes!("../../assets/ice_transparency.txt");

/// Sensors and ice.
pub struct Detector {
    /// Positions in metres; z points up from the centre of the detector.
    pub sensors: Vec<[f64; 3]>,
    /// Depths of the ice table in metres, ascending, with scattering and absorption length.
    ice: Vec<[f64; 3]>,
    /// Centre and half size of the box around the sensors.
    pub centre: [f64; 3],
    /// Half the lengths of the box.
    pub half: [f64; 3],
}

/// Sensors of a string.
pub const STRING: usize = 60;

impl Detector {
    /// Reads the tables that lie in a simulated data folder.
    pub fn read(geometry: &Path, ice: &Path) -> Result<Self> {
        let columns = [("x", ColumnKind::F64), ("y", ColumnKind::F64), ("z", ColumnKind::F64)];
        let table = read_csv(geometry, &columns)?;
        let (x, y, z) = (table.f64("x")?, table.f64("y")?, table.f64("z")?);
        let sensors: Vec<[f64; 3]> = (0..table.rows()).map(|i| [x[i], y[i], z[i]]).collect();
        let text = common::store::foreign::read_text(ice)?;
        let rows: Option<Vec<[f64; 3]>> = text
            .lines()
            .skip(1)
            .map(|line| {
                let numbers: Vec<f64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
                <[f64; 3]>::try_from(numbers).ok()
            })
            .collect();
        let ice = rows.ok_or_else(|| Error::input(ice, "has a line that does not hold three numbers"))?;
        let edge = |pick: fn(f64, f64) -> f64, start: f64| -> [f64; 3] {
            std::array::from_fn(|k| sensors.iter().map(|p| p[k]).fold(start, pick))
        };
        let (low, high) = (edge(f64::min, f64::INFINITY), edge(f64::max, f64::NEG_INFINITY));
        Ok(Self {
            centre: std::array::from_fn(|k| f64::midpoint(low[k], high[k])),
            half: std::array::from_fn(|k| (high[k] - low[k]) / 2.0),
            sensors,
            ice,
        })
    }

    /// Scattering and absorption length in metres at a height: the table counts depth downwards.
    pub fn ice_at(&self, z: f64) -> [f64; 2] {
        let depth = crate::sensors::CENTRE_DEPTH_M - z;
        let upper = self.ice.partition_point(|row| row[0] < depth).clamp(1, self.ice.len() - 1);
        let (a, b) = (self.ice[upper - 1], self.ice[upper]);
        let part = ((depth - a[0]) / (b[0] - a[0])).clamp(0.0, 1.0);
        [a[1] + (b[1] - a[1]) * part, a[2] + (b[2] - a[2]) * part]
    }
}
