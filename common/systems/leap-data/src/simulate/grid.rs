//! Where the simulated columns stand: the real low-resolution grid, which ships with the program.

use std::path::Path;

use common::durable::{self, Written};
use common::store::netcdf::NcFile;
use common::{Error, Result};

use crate::columns::LEVELS;

/// Name of the grid file in the raw folder, as users of ClimSim know it.
pub const FILE: &str = "ClimSim_low-res_grid-info.nc";
static CONTENT: &[u8] = include_bytes!("../../resources/ClimSim_low-res_grid-info.nc");

/// Chosen columns of the grid.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Number of each column in the full grid of 384.
    pub numbers: Vec<usize>,
    /// Latitude in radians.
    pub lat: Vec<f64>,
    /// Longitude in radians.
    pub lon: Vec<f64>,
    /// Hybrid coefficients at level midpoints: p = a * P0 + b * ps.
    pub hyam: Vec<f64>,
    /// See `hyam`.
    pub hybm: Vec<f64>,
    /// Reference pressure in Pa.
    pub p0: f64,
}

impl Grid {
    /// Writes the grid file into `folder` and reads `columns` evenly spread columns of it.
    pub fn publish(folder: &Path, columns: usize) -> Result<(Self, Written)> {
        let written = durable::write(folder.join(FILE), CONTENT)?;
        Ok((Self::read(&written.path, columns)?, written))
    }

    /// Reads `columns` evenly spread columns of a grid file.
    pub fn read(path: &Path, columns: usize) -> Result<Self> {
        let file = NcFile::open(path)?;
        let (lat, lon) = (file.read_f64("lat")?, file.read_f64("lon")?);
        let full = lat.len();
        if columns == 0 || columns > full {
            return Err(Error::usage(format!("`columns` is {columns}, the grid has {full}")));
        }
        let (hyam, hybm) = (file.read_f64("hyam")?, file.read_f64("hybm")?);
        if hyam.len() != LEVELS || hybm.len() != LEVELS {
            return Err(Error::input(path, format!("has {} levels, expected {LEVELS}", hyam.len())));
        }
        let p0 = file.read_f64("P0")?.first().copied().unwrap_or(1e5);
        let numbers: Vec<usize> = (0..columns).map(|i| i * full / columns).collect();
        let pick = |all: &[f64]| numbers.iter().map(|&n| all[n].to_radians()).collect();
        Ok(Self { lat: pick(&lat), lon: pick(&lon), hyam, hybm, p0, numbers })
    }
}
