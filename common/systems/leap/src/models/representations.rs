//! Profiles in three representations side by side, as the benchmark of LEAP's networks feeds them (arXiv 2511.20963): normalised
//! level by level, by one mean and deviation for the whole column, and as a logarithm of the distance from the smallest value. The
//! constants are the benchmark's own files (`per_lev_*.nc`, `per_col_*.nc`).

use std::path::{Path as FilePath, PathBuf};

use common::store::netcdf::NcFile;
use common::{Error, Result};
use neural::Params;
use neural::params::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::columns::LEVELS;

/// The profiles, under the names of the benchmark's files: relative humidity in place of vapour, all condensate in place of liquid
/// and ice, and the share of liquid in it.
const PROFILES: [&str; 9] =
    ["state_t", "state_rh", "state_qn", "liq_partition", "state_u", "state_v", "pbuf_ozone", "pbuf_CH4", "pbuf_N2O"];
/// The share of liquid lies between 0 and 1 and has one representation.
const LIQUID: i64 = 3;
/// 9 by level, 8 by column, 8 as a logarithm.
pub const CHANNELS: usize = 3 * PROFILES.len() - 2;

/// The benchmark's files of constants. Paths count from where the command runs; the network keeps what they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepresentationFiles {
    /// What is subtracted level by level: `per_lev_sub.nc`.
    pub level_sub: PathBuf,
    /// What the rest is divided by: `per_lev_div.nc`.
    pub level_div: PathBuf,
    /// Smallest values in these units: `per_lev_min_norm.nc`.
    pub level_min: PathBuf,
    /// What is subtracted on all levels: `per_col_sub.nc`.
    pub column_sub: PathBuf,
    /// What the rest is divided by: `per_col_div.nc`.
    pub column_div: PathBuf,
}

impl RepresentationFiles {
    /// The files by their keys.
    pub fn named(&self) -> [(&'static str, &FilePath); 5] {
        [
            ("level_sub", &self.level_sub),
            ("level_div", &self.level_div),
            ("level_min", &self.level_min),
            ("column_sub", &self.column_sub),
            ("column_div", &self.column_div),
        ]
    }

    /// Gives a network the constants of the files.
    ///
    /// # Errors
    /// [`Error::Input`] where a file lacks a profile or has other levels.
    pub fn give(&self, params: &Params) -> Result<()> {
        let all: Vec<&str> = PROFILES.to_vec();
        let some: Vec<&str> =
            PROFILES.iter().enumerate().filter(|(k, _)| *k as i64 != LIQUID).map(|(_, n)| *n).collect();
        // What is divided by nothing, or by something that is no number, is 0, as published.
        let factors = |values: Vec<f32>| {
            values.into_iter().map(|v| 1.0 / v).map(|f| if f.is_finite() { f } else { 0.0 }).collect()
        };
        let values: [(&str, Vec<f32>); 5] = [
            ("level_sub", read(&self.level_sub, &all)?),
            ("level_factor", factors(read(&self.level_div, &all)?)),
            ("level_min", read(&self.level_min, &some)?),
            ("column_sub", read(&self.column_sub, &some)?),
            ("column_factor", factors(read(&self.column_div, &some)?)),
        ];
        for (name, values) in values {
            let buffer = params.get(&format!("features.representations.{name}"));
            let mut buffer = buffer.ok_or_else(|| Error::failed("the network has no representations"))?;
            let values = Tensor::from_slice(&values).view_as(&buffer);
            tch::no_grad(|| buffer.copy_(&values));
        }
        Ok(())
    }
}

/// `[60, profiles]`, row-major.
fn read(path: &FilePath, profiles: &[&str]) -> Result<Vec<f32>> {
    let file = NcFile::open(path)?;
    let columns = profiles.iter().map(|name| {
        let values = file.read_f64(name)?;
        match values.len() {
            LEVELS => Ok(values),
            found => Err(Error::input(path, format!("variable `{name}` has {found} levels, expected {LEVELS}"))
                .hint("give the benchmark's files of the low resolution")),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok((0..LEVELS).flat_map(|l| columns.iter().map(move |column| column[l] as f32)).collect())
}

/// The constants, `[60, 9]` by level, `[60, 8]` by column and of the smallest values.
#[derive(Debug)]
pub struct Representations {
    level_sub: Tensor,
    level_factor: Tensor,
    level_min: Tensor,
    column_sub: Tensor,
    column_factor: Tensor,
}

impl Representations {
    /// Buffers below `representations`, which hold nothing until [`RepresentationFiles::give`] or a checkpoint fills them.
    pub fn new(p: &Path) -> Result<Self> {
        let p = p.sub("representations");
        let buffer = |name: &str, wide: usize| {
            p.buffer(name, Tensor::zeros([LEVELS as i64, wide as i64], (tch::Kind::Float, Device::Cpu)))
        };
        let (all, some) = (PROFILES.len(), PROFILES.len() - 1);
        Ok(Self {
            level_sub: buffer("level_sub", all)?,
            level_factor: buffer("level_factor", all)?,
            level_min: buffer("level_min", some)?,
            column_sub: buffer("column_sub", some)?,
            column_factor: buffer("column_factor", some)?,
        })
    }

    /// `[B, 60, 25]` from the nine profiles of the competition in physical units `[B, 60, 9]` and relative humidity `[B, 60]`.
    pub fn forward(&self, physical: &Tensor, humidity: &Tensor) -> Tensor {
        let of = |k: i64| physical.narrow(2, k, 1); // temperature, vapour, liquid, ice, wind, trace gases
        let liquid = ((of(0) - 253.16) / 20.0).clamp(0.0, 1.0);
        let profiles = Tensor::cat(&[of(0), humidity.unsqueeze(2), of(2) + of(3), liquid, physical.narrow(2, 4, 5)], 2);
        let by_level = (&profiles - &self.level_sub) * &self.level_factor;
        let by_column = (without_liquid(&profiles) - &self.column_sub) * &self.column_factor;
        let above = logarithm(&(without_liquid(&by_level) - &self.level_min));
        Tensor::cat(&[by_level, by_column, above], 2)
    }
}

/// `ln(d + 1)` above the smallest value that was known, and its mirror image below.
pub fn logarithm(above: &Tensor) -> Tensor {
    above.abs().log1p() * above.sign()
}

fn without_liquid(profiles: &Tensor) -> Tensor {
    let behind = LIQUID + 1;
    Tensor::cat(&[profiles.narrow(2, 0, LIQUID), profiles.narrow(2, behind, PROFILES.len() as i64 - behind)], 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::store::netcdf::{NcKind, NcValues, NcWriter};

    /// A file of constants, `of` profile and level.
    fn written(path: &FilePath, profiles: &[&str], of: impl Fn(usize, usize) -> f64) {
        let mut writer = NcWriter::new(NcKind::Hdf5);
        let columns: Vec<Vec<f64>> = (0..profiles.len()).map(|k| (0..LEVELS).map(|l| of(k, l)).collect()).collect();
        for (name, values) in profiles.iter().zip(&columns) {
            // As in the benchmark's files every profile has a dimension of its own.
            writer.dimension(name, LEVELS).unwrap();
            writer.variable(name, &[name], NcValues::F64(values)).unwrap();
        }
        writer.write(path).unwrap();
    }

    /// The benchmark's names of the files.
    fn files(folder: &FilePath) -> RepresentationFiles {
        let at = |name: &str| folder.join(name);
        RepresentationFiles {
            level_sub: at("per_lev_sub.nc"),
            level_div: at("per_lev_div.nc"),
            level_min: at("per_lev_min_norm.nc"),
            column_sub: at("per_col_sub.nc"),
            column_div: at("per_col_div.nc"),
        }
    }

    fn made_up(folder: &FilePath) -> RepresentationFiles {
        let files = files(folder);
        let some: Vec<&str> = PROFILES.into_iter().filter(|name| *name != "liq_partition").collect();
        written(&files.level_sub, &PROFILES, |k, l| (k + l) as f64);
        written(&files.level_div, &PROFILES, |k, l| if (k, l) == (4, 7) { 0.0 } else { 1.0 + k as f64 });
        written(&files.level_min, &some, |k, l| k as f64 - 5.0 + 0.01 * l as f64);
        written(&files.column_sub, &some, |k, _| 2.0 * k as f64);
        written(&files.column_div, &some, |k, _| 4.0 + k as f64);
        files
    }

    #[test]
    fn channels_are_those_of_the_benchmark() {
        let folder = tempfile::tempdir().unwrap();
        let files = made_up(folder.path());
        let params = Params::new(Device::Cpu, 1);
        let layer = Representations::new(&params.root().sub("features")).unwrap();
        files.give(&params).unwrap();
        let number = |k: usize, l: usize| if k == 0 { 240.0 + 0.5 * l as f64 } else { (k * l) as f64 * 0.1 - 3.0 };
        let humid = |l: usize| 0.01 * l as f64;
        let profiles: Vec<f32> = (0..LEVELS).flat_map(|l| (0..9).map(move |k| number(k, l) as f32)).collect();
        let humidity: Vec<f32> = (0..LEVELS).map(|l| humid(l) as f32).collect();
        let physical = Tensor::from_slice(&profiles).view([1, LEVELS as i64, 9]);
        let y = layer.forward(&physical, &Tensor::from_slice(&humidity).view([1, LEVELS as i64]));
        assert_eq!(y.size(), [1, LEVELS as i64, CHANNELS as i64]);
        for l in 0..LEVELS {
            let t = number(0, l);
            let raw = [
                t,
                humid(l),
                number(2, l) + number(3, l),
                ((t - 253.16) / 20.0).clamp(0.0, 1.0),
                number(4, l),
                number(5, l),
                number(6, l),
                number(7, l),
                number(8, l),
            ];
            let by_level: Vec<f64> = (0..9)
                .map(|k| if (k, l) == (4, 7) { 0.0 } else { (raw[k] - (k + l) as f64) / (1.0 + k as f64) })
                .collect();
            let some: Vec<usize> = (0..9).filter(|k| *k != 3).collect();
            let by_column = some.iter().enumerate().map(|(i, k)| (raw[*k] - 2.0 * i as f64) / (4.0 + i as f64));
            let above = some.iter().enumerate().map(|(i, k)| {
                let above = by_level[*k] - (i as f64 - 5.0 + 0.01 * l as f64);
                if above >= 0.0 { (above + 1.0).ln() } else { -(1.0 - above).ln() }
            });
            for (c, want) in by_level.iter().copied().chain(by_column).chain(above).enumerate() {
                let got = y.double_value(&[0, l as i64, c as i64]);
                assert!((got - want).abs() < 2e-4 * want.abs().max(1.0), "level {l}, channel {c}: {got} {want}");
            }
        }
    }

    #[test]
    fn a_file_that_lacks_a_profile_or_levels_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = made_up(folder.path());
        let params = Params::new(Device::Cpu, 1);
        Representations::new(&params.root().sub("features")).unwrap();
        written(&files.column_div, &PROFILES[..3], |_, _| 1.0);
        let error = files.give(&params).unwrap_err().to_string();
        assert!(error.contains("per_col_div.nc") && error.contains("state_u"), "{error}");
    }

    /// The benchmark's own files, where they are: real temperatures come out near 0 in all three.
    #[test]
    #[allow(clippy::print_stderr, reason = "a test that is skipped says why")]
    fn the_benchmarks_files_are_read() {
        let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/data/climsim/kaggle_edition");
        if !folder.is_dir() {
            eprintln!("skipped: there is no {}", folder.display());
            return;
        }
        let files = files(&folder);
        let params = Params::new(Device::Cpu, 1);
        let layer = Representations::new(&params.root().sub("features")).unwrap();
        files.give(&params).unwrap();
        // A column of the means: 0 by level, and above the smallest value.
        let means = &layer.level_sub;
        let part = |k: i64| means.narrow(1, k, 1);
        let none = part(2).zeros_like();
        let physical =
            Tensor::cat(&[part(0), none.shallow_clone(), part(2), none, means.narrow(1, 4, 5)], 1).unsqueeze(0);
        let y = layer.forward(&physical, &part(1).squeeze_dim(1).unsqueeze(0));
        assert!(y.isfinite().all().int64_value(&[]) == 1);
        for k in [0, 1, 2, 4, 5, 6, 7, 8] {
            assert!(y.select(2, k).abs().max().double_value(&[]) < 1e-3, "{}", PROFILES[k as usize]);
        }
        let expected = (means.select(1, 0) - 247.144_344).divide(&Tensor::from(30.328_645_f64));
        assert!((y.select(2, 9).squeeze_dim(0) - expected).abs().max().double_value(&[]) < 1e-4);
        let expected = params.get("features.representations.level_min").unwrap().neg().log1p();
        assert!((y.narrow(2, 17, 8).squeeze_dim(0) - expected).abs().max().double_value(&[]) < 1e-3);
    }
}
