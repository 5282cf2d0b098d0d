//! Where and when the rows of netCDF files are, and which row is the step before: what networks take as further inputs and
//! what scores are shown over, beside the arrays and never among them.

use std::path::{Path, PathBuf};

use common::store::netcdf::NcFile;
use common::store::tensors::TensorFile;
use common::{Error, Result, system};

use super::config::RawConfig;
use crate::climsim;
use crate::columns::{INPUTS, LEVELS, SCALAR_INPUTS, SCALAR_TARGETS, TARGETS};
use crate::norm::{Chain, Constants};
use crate::raw::tree::{Moment, Pair};

/// Tensor of f32 `[rows, 5]`: latitude and longitude in degrees, area of the column in steradian, day of the year from 0, second
/// of the day.
pub const PLACES: &str = "places";
/// Numbers of a place.
pub const WIDTH: usize = 5;
/// Tensor of i64 `[rows]`: the row of the step before in the same file, or `-1 - k` for row k of [`EARLIER`].
pub const PREVIOUS: &str = "previous";
/// Tensor of f32 `[rows, 720]`: states and tendencies of steps that are no rows themselves, six profiles each, normalised.
pub const EARLIER: &str = "earlier";
/// Numbers of a step before: what [`before`] gives.
pub const BEFORE: usize = TARGETS - SCALAR_TARGETS + STATES;
/// The six profiles of the state in a row of inputs.
const STATES: usize = 6 * LEVELS;

/// States and tendencies of a row, as the next step gets them.
pub fn before<'a>(inputs: &'a [f32], targets: &'a [f32]) -> [&'a [f32]; 2] {
    [&inputs[SCALAR_INPUTS..SCALAR_INPUTS + STATES], &targets[SCALAR_TARGETS..]]
}

/// Columns of a grid file.
#[derive(Debug, Clone)]
pub struct Places {
    path: Option<PathBuf>,
    /// Latitude, longitude, area of each column.
    columns: Vec<[f32; 3]>,
}

impl Places {
    /// The columns of a grid file: `lat` and `lon` in degrees, `area` (equal ones where there are none).
    ///
    /// # Errors
    /// [`Error::Input`] where it is no such file.
    pub fn read(path: &Path) -> Result<Self> {
        let file = NcFile::open(path)?;
        let (lat, lon) = (file.read_f64("lat")?, file.read_f64("lon")?);
        let area = if file.contains("area") { file.read_f64("area")? } else { vec![1.0; lat.len()] };
        if lat.len() != lon.len() || lat.len() != area.len() {
            let problem =
                format!("`lat`, `lon` and `area` have {}, {} and {} values", lat.len(), lon.len(), area.len());
            return Err(Error::input(path, problem).hint("an unstructured grid has one of each for every column"));
        }
        if let Some(at) = lat.iter().position(|lat| !(-90.0..=90.0).contains(lat)) {
            return Err(Error::input(path, format!("`lat` of column {at} is {}, expected -90 to 90 degrees", lat[at])));
        }
        let columns = lat.iter().zip(&lon).zip(&area).map(|((a, b), c)| [*a as f32, *b as f32, *c as f32]).collect();
        Ok(Self { path: Some(path.to_path_buf()), columns })
    }

    /// The grid of files of `columns` columns: the one that the config names, one beside the raw files, or the published one
    /// of 384 columns; none where nobody knows it.
    ///
    /// # Errors
    /// Where the named grid is another one.
    pub fn find(raw: &RawConfig, columns: usize) -> Result<Option<Self>> {
        if let Some(path) = &raw.grid {
            let named = Self::read(path)?;
            if named.columns.len() != columns {
                let problem = format!("has {} columns, but the mli files have {columns}", named.columns.len());
                return Err(Error::input(path, problem).hint("name the grid of these files: `raw.grid=FILE`"));
            }
            return Ok(Some(named));
        }
        let folders = raw.climsim.iter().flat_map(|folder| [Some(folder.as_path()), folder.parent()]).flatten();
        for folder in folders {
            let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().ends_with("grid-info.nc")));
            files.sort_unstable();
            for file in files {
                let found = Self::read(&file)?;
                if found.columns.len() == columns {
                    return Ok(Some(found));
                }
            }
        }
        let published = climsim::grid_columns()?;
        Ok((published.len() == columns).then_some(Self { path: None, columns: published }))
    }

    /// The file, where it is not the shipped one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Adds the columns to a hash.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        self.columns.iter().flatten().for_each(|x| _ = hasher.update(&x.to_bits().to_le_bytes()));
    }

    /// The places of one step, row by row.
    pub fn of(&self, moment: &Moment) -> Vec<f32> {
        let (day, second) = (moment.day_of_year() as f32, moment.second as f32);
        self.columns.iter().flat_map(|&[lat, lon, area]| [lat, lon, area, day, second]).collect()
    }
}

/// Where the rows of an array of true values are, and what leads to the units of its targets; none where it does not say.
///
/// # Errors
/// Where the file is no sound array of this system.
pub fn of_truth(path: &Path) -> Result<Option<system::Places>> {
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return Ok(None);
    }
    let file = TensorFile::open(path)?;
    if !file.contains(PLACES) || !file.contains("target_std") {
        return Ok(None);
    }
    let places = file.elements_of_shape::<f32>(PLACES, &[None, Some(WIDTH)])?;
    let column = |at: usize| places.iter().skip(at).step_by(WIDTH).map(|x| f64::from(*x)).collect();
    let of = |name: &str| file.elements_of_shape::<f64>(name, &[Some(TARGETS)]);
    let chain = match file.metadata().and_then(|about| about["chain"].as_str()) {
        Some("a") => Chain::A,
        _ => Chain::B,
    };
    let weight = match file.contains("target_weight") {
        true => of("target_weight")?.to_vec(),
        false => Constants::published(chain)?.weight.clone(),
    };
    let physical = |values: &[f64]| {
        let both = values.iter().zip(&weight);
        both.map(|(value, weight)| if *weight == 0.0 { 0.0 } else { value / weight }).collect()
    };
    let (latitude, area) = (column(0), column(2));
    let (scale, shift) = (physical(of("target_std")?), physical(of("target_mean")?));
    Ok(Some(system::Places { latitude, area, scale, shift }))
}

/// Where the step before a step is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// It is the one before in the same set.
    Row,
    /// In files of its own.
    Files(Pair),
}

/// For every step of a set where the one before it is.
pub fn steps_before(pairs: &[Pair]) -> Result<Vec<Before>> {
    let of = |(i, pair): (usize, &Pair)| {
        let before =
            pair.before().ok_or_else(|| Error::input(&pair.mli, "is of no time, so that nothing is before it"))?;
        Ok(if i > 0 && pairs[i - 1] == before { Before::Row } else { Before::Files(before) })
    };
    pairs.iter().enumerate().map(of).collect()
}

/// The numbers of [`PREVIOUS`] of the rows of a step: `first` is its first row, `earlier` the steps in files before it.
pub fn previous_rows(before: &Before, first: usize, columns: usize, earlier: usize) -> Vec<i64> {
    let of = |column: usize| match before {
        Before::Row => (first - columns + column) as i64,
        Before::Files(_) => -1 - (earlier * columns + column) as i64,
    };
    (0..columns).map(of).collect()
}

/// The states and tendencies of all rows of a block, as [`EARLIER`] holds them.
pub fn earlier(inputs: &[f32], targets: &[f32]) -> Vec<f32> {
    let rows = inputs.chunks_exact(INPUTS).zip(targets.chunks_exact(TARGETS));
    rows.flat_map(|(inputs, targets)| before(inputs, targets).concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(step: &str) -> Pair {
        let file = |kind: &str| PathBuf::from(format!("raw/train/{}/E3SM-MMF.{kind}.{step}.nc", &step[..7]));
        Pair { mli: file("mli"), mlo: file("mlo") }
    }

    #[test]
    fn the_step_before_is_a_row_or_lies_in_files_of_its_own() {
        let pairs = [pair("0001-03-01-00000"), pair("0001-03-01-01200"), pair("0001-03-01-03600")];
        let expected = [Before::Files(pair("0001-02-28-85200")), Before::Row, Before::Files(pair("0001-03-01-02400"))];
        let found = steps_before(&pairs).unwrap();
        assert_eq!(found, expected);
        assert_eq!(previous_rows(&found[0], 0, 2, 0), [-1, -2]);
        assert_eq!(previous_rows(&found[1], 2, 2, 1), [0, 1]);
        assert_eq!(previous_rows(&found[2], 4, 2, 1), [-3, -4]);
        // Years have no leap days, and nothing is before the first.
        assert_eq!(pair("0002-01-01-00000").before(), Some(pair("0001-12-31-85200")));
        assert_eq!(pair("0001-01-01-00000").before(), None);
    }

    #[test]
    fn the_shipped_grid_serves_its_number_of_columns_and_no_other() {
        let places = Places::find(&RawConfig::default(), 384).unwrap().unwrap();
        let of = places.of(&Moment::of_step("0001-03-02-01200").unwrap());
        assert_eq!(of.len(), 384 * WIDTH);
        assert!((of[0] + 32.585_03).abs() < 1e-4 && (of[1] - 320.2709).abs() < 1e-3, "{:?}", &of[..5]);
        assert_eq!(of[3..5], [60.0, 1200.0]);
        let area: f32 = of.iter().skip(2).step_by(WIDTH).sum();
        assert!((area - 4.0 * std::f32::consts::PI).abs() < 1e-3, "{area}");
        assert!(Places::find(&RawConfig::default(), 48).unwrap().is_none());
    }

    #[test]
    fn a_grid_of_other_columns_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("high-res_grid-info.nc");
        let mut writer = common::store::netcdf::NcWriter::new(common::store::netcdf::NcKind::Cdf5);
        writer.dimension("ncol", 3).unwrap();
        for name in ["lat", "lon"] {
            writer.variable(name, &["ncol"], common::store::netcdf::NcValues::F64(&[1.0, 2.0, 3.0])).unwrap();
        }
        writer.write(&path).unwrap();
        let named = RawConfig { grid: Some(path), ..RawConfig::default() };
        assert!(Places::find(&named, 3).unwrap().is_some());
        let error = Places::find(&named, 384).unwrap_err().to_string();
        assert!(
            error.contains("high-res_grid-info.nc") && error.contains("3 columns") && error.contains("384"),
            "{error}"
        );
        let beside = RawConfig { climsim: Some(folder.path().to_path_buf()), ..RawConfig::default() };
        assert!(Places::find(&beside, 3).unwrap().is_some());
    }
}
