//! What `simulate-data leap` makes, as a config.

use common::config::{Config, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::raw::month::Months;

/// Steps of a day in the published data.
pub const STEPS_A_DAY: u32 = 72;

/// Everything that the simulated files depend on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimulateConfig {
    /// Always `leap`.
    pub system: String,
    /// Seed of weather and noise.
    pub seed: u64,
    /// Grid columns, spread evenly over the real grid; 1 to 384, published: 384.
    pub columns: usize,
    /// Months of mli/mlo files: single ones (`0001-02`) and ranges (`0001-02..0008-06`).
    pub months: Vec<MonthPlan>,
    /// Kind of netCDF file.
    pub format: Format,
    /// Standard deviation of the noise in the targets, in standard deviations of a target; 0 to 1.
    pub noise: f64,
    /// Kaggle's csv files; `null`: none.
    pub kaggle: Option<KaggleConfig>,
}

/// Months that are sampled alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonthPlan {
    /// Months and ranges of months.
    pub months: Months,
    /// Days of each month, spread evenly over it; `null`: all.
    #[serde(default)]
    pub days: Option<u32>,
    /// Every so many-th of the 72 steps of a day; published: 1.
    #[serde(default = "one")]
    pub step_stride: u32,
}

/// Kind of netCDF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// CDF-5, the kind of the real grid file.
    Cdf5,
    /// netCDF-4 (HDF5), compressed.
    Netcdf4,
}

/// Kaggle's csv files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KaggleConfig {
    /// Months of the test rows; they should not be among the training months.
    pub test_months: Months,
    /// Rows of `test.csv`; published: 625000.
    pub test_rows: u64,
    /// Rows of `train.csv`, drawn from the months of the mli/mlo files; 0: no such file. Published: 10091520.
    pub train_rows: u64,
}

fn one() -> u32 {
    1
}

impl Default for KaggleConfig {
    fn default() -> Self {
        Self { test_months: Months::of(&["0009-02..0010-01"]), test_rows: 2000, train_rows: 0 }
    }
}

impl Default for SimulateConfig {
    fn default() -> Self {
        let train = MonthPlan { months: Months::of(&["0001-02..0001-04"]), days: Some(1), step_stride: 6 };
        let valid = MonthPlan { months: Months::of(&["0008-07..0009-01"]), days: Some(1), step_stride: 6 };
        Self {
            system: "leap".into(),
            seed: 2024,
            columns: 16,
            months: vec![train, valid],
            format: Format::Cdf5,
            noise: super::physics::DEFAULT_NOISE,
            kaggle: Some(KaggleConfig::default()),
        }
    }
}

impl Config for SimulateConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.demand(self.system == "leap", "system", || format!("is `{}`, expected `leap`", self.system));
        problems
            .demand((1..=384).contains(&self.columns), "columns", || format!("is {}, expected 1 to 384", self.columns));
        problems.demand((0.0..=1.0).contains(&self.noise), "noise", || format!("is {}, expected 0 to 1", self.noise));
        problems.demand(!self.months.is_empty(), "months", || "is empty, expected at least one entry".into());
        for (i, plan) in self.months.iter().enumerate() {
            match plan.months.list() {
                Err(problem) => problems.push(format!("months.{i}.months"), problem),
                Ok(list) => problems.demand(!list.is_empty(), &format!("months.{i}.months"), || "is empty".into()),
            }
            problems.demand(plan.days != Some(0), &format!("months.{i}.days"), || {
                "is 0, expected at least 1 or null".into()
            });
            let stride = plan.step_stride;
            problems.demand((1..=STEPS_A_DAY).contains(&stride), &format!("months.{i}.step_stride"), || {
                format!("is {stride}, expected 1 to 72")
            });
        }
        if let Some(kaggle) = &self.kaggle {
            match kaggle.test_months.list() {
                Err(problem) => problems.push("kaggle.test_months", problem),
                Ok(list) => problems.demand(!list.is_empty(), "kaggle.test_months", || "is empty".into()),
            }
            problems.demand(kaggle.test_rows > 0, "kaggle.test_rows", || "is 0, expected at least 1".into());
        }
    }
}
