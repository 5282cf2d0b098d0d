//! Where the simulated columns stand: the real low-resolution grid, which ships with the program.

use std::path::Path;

use common::durable::{self, Written};
use common::store::netcdf::{NcFile, NcKind, NcValues, NcWriter};
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
    /// Chooses `columns` evenly spread columns and writes their grid file into `folder`: the published one for all of
    /// them, one of the same form for fewer.
    pub fn publish(folder: &Path, columns: usize) -> Result<(Self, Written)> {
        let path = folder.join(FILE);
        let written = durable::write(&path, CONTENT)?;
        let grid = Self::read(&path, columns)?;
        let full = NcFile::open(&path)?;
        if grid.numbers.len() == full.dimension("ncol")? {
            return Ok((grid, written));
        }
        let columns_of = |name: &str| -> Result<Vec<f64>> {
            let all = full.read_f64(name)?;
            Ok(grid.numbers.iter().map(|&n| all[n]).collect())
        };
        let places = ["lat", "lon", "area"];
        let chosen = places.map(columns_of).into_iter().collect::<Result<Vec<_>>>()?;
        let levels = [("hyam", "lev"), ("hybm", "lev"), ("hyai", "ilev"), ("hybi", "ilev")];
        let held = levels.map(|(name, _)| full.read_f64(name)).into_iter().collect::<Result<Vec<_>>>()?;
        drop(full);
        let p0 = [grid.p0];
        let mut writer = NcWriter::new(NcKind::Cdf5);
        writer.dimension("ncol", columns)?;
        writer.dimension("lev", LEVELS)?;
        writer.dimension("ilev", LEVELS + 1)?;
        for (name, values) in places.iter().zip(&chosen) {
            writer.variable(name, &["ncol"], NcValues::F64(values))?;
        }
        for ((name, dims), values) in levels.iter().zip(&held) {
            writer.variable(name, &[dims], NcValues::F64(values))?;
        }
        writer.variable("P0", &[], NcValues::F64(&p0))?;
        let written = writer.write(&path)?;
        Ok((grid, written))
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
