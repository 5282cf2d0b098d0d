//! What `prepare-data leap` does, as a config.

use std::path::PathBuf;

use common::config::{Config, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::norm::Chain;
use crate::raw::month::Months;

/// Everything the arrays depend on, beside the raw files.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrepareConfig {
    /// Always `leap`.
    pub system: String,
    /// Seed of the drawn training sample; published: 1103.
    pub seed: u64,
    /// Which preprocessing chains to write: `a` (ADAM's networks) and `b` (everybody else's).
    pub chains: Vec<Chain>,
    /// Where the raw data is. `--raw DIR` sets both, as `DIR` with `train/` and `kaggle-data/` below it.
    pub raw: RawConfig,
    /// What a NaN, Inf or fill value in a netCDF file means.
    pub non_finite: NonFinite,
    /// What an mli file without its mlo file (or the reverse) means.
    pub unpaired: Unpaired,
    /// What a step of a date that the calendar lacks means (0001-02-29), or one beyond the end of a day.
    pub impossible_steps: ImpossibleSteps,
    /// Whether arrays from netCDF files know the step before each row (`features.previous_states` of networks). Steps without
    /// one are left out and named. Published: false.
    #[serde(skip_serializing_if = "is_false")]
    pub previous: bool,
    /// Means and standard deviations.
    pub normalisation: Normalisation,
    /// Training arrays; `null`: none.
    pub train: Option<TrainSource>,
    /// Validation arrays; `null`: none.
    pub valid: Option<ValidSource>,
    /// The sampling index of ADAM's third data version (`v3`); `null`: none.
    pub index: Option<IndexSource>,
    /// Arrays of Kaggle's `test.csv`; `null`: none.
    pub test: Option<TestSource>,
}

/// Folders of raw data; paths count from where the command runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// Folder of the month folders, or the one above (`ClimSim_low-res`).
    pub climsim: Option<PathBuf>,
    /// Folder of `test.csv` and `train.csv` (`kaggle-data`).
    pub kaggle: Option<PathBuf>,
    /// Grid file: `lat`, `lon` and `area` of the columns. `null`: one beside the raw files (`*grid-info.nc`) of as many columns, or
    /// the published low-resolution one for 384 of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<PathBuf>,
}

/// What to do with a file that holds values which are not numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NonFinite {
    /// Stop and name the file, the variable and the place.
    Error,
    /// Leave the time step out and report it.
    SkipFile,
}

/// What to do with a file without a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unpaired {
    /// Stop and name the missing file.
    Error,
    /// Leave the time step out and report it.
    Skip,
}

/// What to do with a step that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImpossibleSteps {
    /// Stop and name the file.
    Error,
    /// Leave the step out and report it.
    Skip,
}

/// Where means and standard deviations come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalisation {
    /// The published constants, which ship with the program.
    Given,
    /// `mean_a.json`, `std_a.json`, `mean_b.json`, `std_b.json` of this folder (for the chains asked for).
    Files(PathBuf),
    /// The benchmark's netCDF files, by variable and level: inputs `(x - mean) / (max - min)`, targets `y * scale`. Written
    /// to `norm/` in the form of the other constants.
    Netcdf(NetcdfFiles),
    /// One pass over the training source: f64, floors 1e-10 (chain A) and 1e-8 (chain B). Written to `norm/`.
    Fit {
        /// Only the first so many rows; published for chain B: 9375000 rows of `train.csv`. `null`: all.
        #[serde(default)]
        rows: Option<u64>,
    },
}

/// The benchmark's constants: `input_mean.nc`, `input_max.nc`, `input_min.nc`, `output_scale.nc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetcdfFiles {
    /// Means of the inputs.
    pub mean: PathBuf,
    /// Largest values of the inputs.
    pub max: PathBuf,
    /// Smallest values of the inputs.
    pub min: PathBuf,
    /// Factors of the targets.
    pub scale: PathBuf,
}

/// Source of the training arrays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TrainSource {
    /// mli/mlo files; one file `train_YY_MM` a month. Months without files are left out.
    Netcdf {
        /// Months and ranges of months; published: `[0001-02..0009-01]`.
        months: Months,
        /// Every so many-th step of a month, beginning with its first; published: 1.
        #[serde(default = "one")]
        stride: usize,
    },
    /// Months that other runs of `prepare-data` prepared, for example one job a month: their files get a second name here
    /// (hard links, or copies on another disk), and are not read again.
    Prepared {
        /// Holds a folder of a finished run a month, or of several months.
        folder: PathBuf,
    },
    /// Kaggle's `train.csv`; files `train_csv_0000`, ...
    Csv {
        /// Rows left out at the beginning.
        #[serde(default)]
        skip: u64,
        /// Rows used after that; `null`: all.
        #[serde(default)]
        rows: Option<u64>,
        /// Rows a file; published chunk: 625000.
        #[serde(default = "chunk")]
        rows_per_file: u64,
    },
}

/// Source of the validation arrays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ValidSource {
    /// mli/mlo files.
    Netcdf {
        /// Published: `[0008-07..0009-01]`.
        months: Months,
        /// Every so many-th step over all these months, beginning with the first; published: 7.
        #[serde(default = "seven")]
        stride: usize,
        /// Also write the table before normalisation and weighting, f64, as `valid_table.parquet`.
        #[serde(default)]
        table: bool,
    },
    /// Rows of Kaggle's `train.csv`.
    Csv {
        /// Rows left out at the beginning.
        skip: u64,
        /// Rows used after that; `null`: all.
        #[serde(default)]
        rows: Option<u64>,
        /// Also write the table before normalisation and weighting, f64, as `valid_table.parquet`.
        #[serde(default)]
        table: bool,
    },
}

/// Source of the sampling index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum IndexSource {
    /// An index file: `.pt` (a pickled dict of NumPy arrays, as published) or `.safetensors`, one entry `YY_MM` a month.
    File(PathBuf),
    /// Drawn: per month a seeded shuffle of all rows, of which the first part is kept.
    Draw {
        /// Months to draw from, as far as they are prepared; published: `[0001-02..0008-06]`.
        months: Months,
        /// Part of each month's rows; published: 0.65.
        #[serde(default = "part")]
        fraction: f64,
    },
}

/// Source of the test arrays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TestSource {
    /// A csv file with `sample_id` and the 556 inputs; relative names count from `raw.kaggle`.
    Csv(PathBuf),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(x: &bool) -> bool {
    !*x
}

fn one() -> usize {
    1
}

fn seven() -> usize {
    7
}

fn chunk() -> u64 {
    625_000
}

fn part() -> f64 {
    0.65
}

impl Default for PrepareConfig {
    fn default() -> Self {
        Self {
            system: "leap".into(),
            seed: 1103,
            chains: vec![Chain::A, Chain::B],
            raw: RawConfig::default(),
            non_finite: NonFinite::Error,
            unpaired: Unpaired::Error,
            impossible_steps: ImpossibleSteps::Error,
            previous: false,
            normalisation: Normalisation::Given,
            train: Some(TrainSource::Netcdf { months: Months::of(&["0001-02..0009-01"]), stride: 1 }),
            valid: Some(ValidSource::Netcdf { months: Months::of(&["0008-07..0009-01"]), stride: 7, table: false }),
            index: None,
            test: Some(TestSource::Csv("test.csv".into())),
        }
    }
}

impl PrepareConfig {
    /// Whether any set comes from netCDF files.
    pub fn needs_netcdf(&self) -> bool {
        matches!(self.train, Some(TrainSource::Netcdf { .. })) || matches!(self.valid, Some(ValidSource::Netcdf { .. }))
    }

    /// Whether any set comes from csv files.
    pub fn needs_csv(&self) -> bool {
        self.test.is_some()
            || matches!(self.train, Some(TrainSource::Csv { .. }))
            || matches!(self.valid, Some(ValidSource::Csv { .. }))
    }
}

impl Config for PrepareConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.system != "leap" {
            problems.push("system", format!("is `{}`, expected `leap`", self.system));
        }
        if self.chains.is_empty() || self.chains.iter().enumerate().any(|(i, c)| self.chains[..i].contains(c)) {
            problems.push("chains", "must name `a`, `b` or both, each once");
        }
        let mut check = |key: &str, months: &Months| match months.list() {
            Err(problem) => problems.push(key, problem),
            Ok(list) if list.is_empty() => problems.push(key, "is empty, expected months like `0001-02..0008-06`"),
            Ok(_) => {}
        };
        if let Some(TrainSource::Netcdf { months, .. }) = &self.train {
            check("train.netcdf.months", months);
        }
        if let Some(ValidSource::Netcdf { months, .. }) = &self.valid {
            check("valid.netcdf.months", months);
        }
        if let Some(IndexSource::Draw { months, .. }) = &self.index {
            check("index.draw.months", months);
        }
        if let Some(TrainSource::Netcdf { stride: 0, .. }) = self.train {
            problems.push("train.netcdf.stride", "is 0, expected at least 1");
        }
        if let Some(ValidSource::Netcdf { stride: 0, .. }) = self.valid {
            problems.push("valid.netcdf.stride", "is 0, expected at least 1");
        }
        if let Some(TrainSource::Csv { rows_per_file: 0, .. }) = self.train {
            problems.push("train.csv.rows_per_file", "is 0, expected at least 1");
        }
        if let Some(IndexSource::Draw { fraction, .. }) = self.index
            && !(fraction > 0.0 && fraction <= 1.0)
        {
            problems.push("index.draw.fraction", format!("is {fraction}, expected more than 0 and at most 1"));
        }
        let of_months = matches!(self.train, Some(TrainSource::Netcdf { .. } | TrainSource::Prepared { .. }));
        if self.index.is_some() && !of_months {
            problems
                .push("index", "needs training arrays from netCDF files (`train.netcdf`): it counts rows of months");
        }
        if matches!(self.normalisation, Normalisation::Fit { .. }) && self.train.is_none() {
            problems.push("normalisation", "is `fit`, which needs a training source (`train`)");
        }
        let prepared = matches!(self.train, Some(TrainSource::Prepared { .. }));
        if self.previous && !self.needs_netcdf() && !prepared {
            problems
                .push("previous", "is set, but no set comes from netCDF files: rows of csv files have no step before");
        }
        if matches!(self.normalisation, Normalisation::Fit { .. }) && prepared {
            problems.push("normalisation", "is `fit`, but prepared months have their constants already");
        }
        if self.train.is_none() && self.valid.is_none() && self.test.is_none() {
            problems.push("train", "is null like `valid` and `test`: nothing would be prepared");
        }
    }
}
