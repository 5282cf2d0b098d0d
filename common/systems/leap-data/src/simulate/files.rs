//! Simulated mli/mlo files, in the layout of ClimSim low resolution.

use std::path::{Path, PathBuf};

use common::Result;
use common::durable::Written;
use common::store::netcdf::{NcKind, NcValues, NcWriter};

use super::climate::{FLUXES, GASES, Profile, STATES};
use super::column::SCALARS;
use super::config::Format;
use super::world::{Step, World};
use crate::columns::LEVELS;

/// Paths of a step's two files below the raw folder.
pub fn paths(step: &Step) -> [PathBuf; 2] {
    ["mli", "mlo"].map(|kind| PathBuf::from(format!("train/{}/E3SM-MMF.{kind}.{}.nc", step.month, step.name())))
}

/// Writes the two files of one step below `raw`.
pub fn write(world: &World, step: &Step, raw: &Path, format: Format) -> Result<[Written; 2]> {
    let columns = world.grid.numbers.len();
    let samples: Vec<_> = (0..columns).map(|i| world.sample(step, i)).collect();
    let profile = |of: &dyn Fn(usize) -> Profile| -> Vec<f64> {
        let all: Vec<Profile> = (0..columns).map(of).collect();
        (0..LEVELS).flat_map(|l| all.iter().map(move |p| p[l])).collect()
    };
    let mut before: Vec<(String, Vec<f64>)> = Vec::new();
    for (s, name) in STATES.iter().enumerate() {
        before.push((format!("state_{name}"), profile(&|i| samples[i].0.states[s])));
    }
    for (g, name) in GASES.iter().enumerate() {
        before.push(((*name).into(), profile(&|i| samples[i].0.gases[g])));
    }
    before.push(("state_pmid".into(), profile(&|i| samples[i].0.pressure)));
    for (s, name) in SCALARS.iter().enumerate() {
        before.push(((*name).into(), samples.iter().map(|(c, _)| c.scalars[s]).collect()));
    }
    let mut after: Vec<(String, Vec<f64>)> = Vec::new();
    for (s, name) in STATES.iter().enumerate() {
        after.push((format!("state_{name}"), profile(&|i| samples[i].1.states[s])));
    }
    for (f, name) in FLUXES.iter().enumerate() {
        after.push(((*name).into(), samples.iter().map(|(_, o)| o.fluxes[f]).collect()));
    }
    let [mli, mlo] = paths(step);
    Ok([file(step, &before, columns, &raw.join(mli), format)?, file(step, &after, columns, &raw.join(mlo), format)?])
}

fn file(step: &Step, variables: &[(String, Vec<f64>)], columns: usize, path: &Path, format: Format) -> Result<Written> {
    let ymd = [(step.month.year * 10_000 + step.month.month * 100 + step.day) as i32];
    let tod = [step.second as i32];
    let mut writer = NcWriter::new(match format {
        Format::Cdf5 => NcKind::Cdf5,
        Format::Netcdf4 => NcKind::Hdf5,
    });
    if format == Format::Netcdf4 {
        writer.deflate(1);
    }
    writer.dimension("ncol", columns)?;
    writer.dimension("lev", LEVELS)?;
    writer.variable("ymd", &[], NcValues::I32(&ymd))?;
    writer.variable("tod", &[], NcValues::I32(&tod))?;
    for (name, values) in variables {
        let dims: &[&str] = if values.len() == columns { &["ncol"] } else { &["lev", "ncol"] };
        writer.variable(name, dims, NcValues::F64(values))?;
    }
    writer.write(path)
}
