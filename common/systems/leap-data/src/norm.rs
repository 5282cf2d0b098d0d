//! Normalisation: `x_norm = (x - mean) / std`, `y_norm = (y * weight - mean) / std`, rounded to f32.
//!
//! There are two sets of constants, and arrays or checkpoints of one cannot be used with the other: *chain A* (ADAM's
//! networks, floor of std 1e-10) and *chain B* (everybody else's, floor 1e-8). The weights are the 1/std scaling of the
//! competition's first sample submission; they scale targets and are no loss weights.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use common::store::tables::{ColumnKind, CsvReader, CsvText};
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::columns::{self, GROUP_NAMES, GROUPS, INPUTS, TARGETS, train_inputs, train_targets};

/// Which set of constants, and whose arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chain {
    /// ADAM's networks: 195, 197, 200.
    A,
    /// All other networks: mean and std of the inputs are rounded to f32 before use.
    B,
}

impl Chain {
    /// Lower-case name, as in folder names.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// Smallest std that the published constants hold.
    pub fn floor(self) -> f64 {
        match self {
            Self::A => 1e-10,
            Self::B => 1e-8,
        }
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Mean and std of inputs and weighted targets, and the weights; all in training order.
#[derive(Debug, Clone, PartialEq)]
pub struct Constants {
    /// Whose arithmetic applies.
    pub chain: Chain,
    /// 556 means, as used (chain B: rounded to f32).
    pub input_mean: Vec<f64>,
    /// 556 standard deviations, as used (chain B: rounded to f32).
    pub input_std: Vec<f64>,
    /// 368 means of the weighted targets.
    pub target_mean: Vec<f64>,
    /// 368 standard deviations of the weighted targets.
    pub target_std: Vec<f64>,
    /// 368 weights; 0 for 63 targets.
    pub weight: Vec<f64>,
}

static PUBLISHED: LazyLock<[Result<Constants, String>; 2]> = LazyLock::new(|| {
    let weights = include_bytes!("../resources/old_sample_weight.csv");
    let a = (include_str!("../resources/mean_a.json"), include_str!("../resources/std_a.json"));
    let b = (include_str!("../resources/mean_b.json"), include_str!("../resources/std_b.json"));
    [(Chain::A, a), (Chain::B, b)].map(|(chain, (mean, std))| {
        let shipped = |name: &str| Path::new("resources").join(name);
        let (mean_path, std_path) = (shipped("mean.json"), shipped("std.json"));
        let weights_path = shipped("old_sample_weight.csv");
        CsvText::of_bytes(&weights_path, weights.to_vec())
            .and_then(|weights| Constants::parse(chain, (&mean_path, mean), (&std_path, std), weights))
            .map_err(|e| e.to_string())
    })
});

impl Constants {
    /// The published constants, which ship with the program.
    pub fn published(chain: Chain) -> Result<&'static Self> {
        let [a, b] = &*PUBLISHED;
        let constants = if chain == Chain::A { a } else { b };
        constants.as_ref().map_err(|e| Error::failed(format!("the shipped constants of chain {chain}: {e}")))
    }

    /// Reads constants of the user: two JSON objects with 556 + 368 keys, and the weights as csv with a header of
    /// target names (other columns, such as `sample_id`, and rows after the first are ignored).
    pub fn read(chain: Chain, mean: &Path, std: &Path, weights: &Path) -> Result<Self> {
        let text = common::store::foreign::read_text;
        Self::parse(chain, (mean, &text(mean)?), (std, &text(std)?), CsvText::open(weights)?)
    }

    fn parse(chain: Chain, mean: (&Path, &str), std: (&Path, &str), weights: CsvText) -> Result<Self> {
        let (mean, std) = (Statistics::parse(mean.0, mean.1)?, Statistics::parse(std.0, std.1)?);
        std.all_positive()?;
        let weight = parse_weights(weights)?;
        // As published: chain B rounds the constants of the inputs to f32 and computes in f64 with them.
        let round = |values: Vec<f64>| match chain {
            Chain::A => values,
            Chain::B => values.into_iter().map(|v| f64::from(v as f32)).collect(),
        };
        Ok(Self {
            chain,
            input_mean: round(mean.of(train_inputs())?),
            input_std: round(std.of(train_inputs())?),
            target_mean: mean.of(train_targets())?,
            target_std: std.of(train_targets())?,
            weight,
        })
    }

    /// One normalised input.
    pub fn input(&self, column: usize, raw: f64) -> f32 {
        ((raw - self.input_mean[column]) / self.input_std[column]) as f32
    }

    /// One normalised target.
    pub fn target(&self, column: usize, raw: f64) -> f32 {
        ((raw * self.weight[column] - self.target_mean[column]) / self.target_std[column]) as f32
    }

    /// A predicted target in its own unit; 0 where the weight is 0.
    pub fn physical_target(&self, column: usize, normalised: f64) -> f64 {
        if self.weight[column] == 0.0 {
            return 0.0;
        }
        (normalised * self.target_std[column] + self.target_mean[column]) / self.weight[column]
    }

    /// What "predict 0" is in normalised units: `-mean / std`, rounded to f32.
    pub fn normalised_zero(&self, column: usize) -> f32 {
        (-self.target_mean[column] / self.target_std[column]) as f32
    }

    /// Normalises rows of inputs in training order.
    pub fn inputs(&self, raw: &[f64], out: &mut [f32]) {
        for (raw, out) in raw.chunks_exact(INPUTS).zip(out.chunks_exact_mut(INPUTS)) {
            for column in 0..INPUTS {
                out[column] = self.input(column, raw[column]);
            }
        }
    }

    /// Normalises rows of targets in training order.
    pub fn targets(&self, raw: &[f64], out: &mut [f32]) {
        for (raw, out) in raw.chunks_exact(TARGETS).zip(out.chunks_exact_mut(TARGETS)) {
            for column in 0..TARGETS {
                out[column] = self.target(column, raw[column]);
            }
        }
    }
}

/// A JSON object of numbers by column name.
struct Statistics<'a> {
    path: &'a Path,
    values: BTreeMap<String, f64>,
}

impl<'a> Statistics<'a> {
    fn parse(path: &'a Path, text: &str) -> Result<Self> {
        let values: BTreeMap<String, f64> = serde_json::from_str(text)
            .map_err(|e| Error::input(path, format!("{e}; expected an object of numbers by column name")))?;
        if let Some((name, value)) = values.iter().find(|(_, v)| !v.is_finite()) {
            return Err(Error::input(path, format!("`{name}` is {value}, expected a finite number")));
        }
        Ok(Self { path, values })
    }

    fn all_positive(&self) -> Result<()> {
        match self.values.iter().find(|(_, v)| **v <= 0.0) {
            Some((name, v)) => Err(Error::input(self.path, format!("`{name}` is {v}, expected a number above 0"))),
            None => Ok(()),
        }
    }

    fn of(&self, columns: &[&str]) -> Result<Vec<f64>> {
        let missing = |name: &str| Error::input(self.path, format!("no key `{name}`, expected all inputs and targets"));
        columns.iter().map(|name| self.values.get(*name).copied().ok_or_else(|| missing(name))).collect()
    }
}

/// The weights of the first row.
fn parse_weights(text: CsvText) -> Result<Vec<f64>> {
    let targets = train_targets();
    let schema: Vec<(&str, ColumnKind)> = targets.iter().map(|name| (*name, ColumnKind::F64)).collect();
    let text = Arc::new(text);
    let (path, line) = (text.path(), text.first_line());
    let table = CsvReader::over(text.clone(), &schema)?.next_batch()?.unwrap_or_default();
    let read = |name: &&str| match table.f64(name)?.first() {
        Some(value) if value.is_finite() => Ok(*value),
        found => {
            let found = found.map_or("nothing".to_string(), f64::to_string);
            Err(Error::input(path, format!("line {line}: column `{name}` is {found}, expected a finite number")))
        }
    };
    targets.iter().map(read).collect()
}

/// Where the metadata of arrays and weights say which constants they were made with. Nothing there: the published ones of the
/// chain.
pub const NORMALISATION: &str = "normalisation";

/// What goes with an array of targets or predictions: column names, groups, the columns whose score is fixed at 1, and
/// the chain whose constants normalised it.
pub fn target_metadata(chain: Chain) -> Value {
    let groups: serde_json::Map<String, Value> = (0..GROUPS)
        .map(|g| {
            let range = columns::group(g);
            (GROUP_NAMES[g].to_string(), json!([range.start, range.end]))
        })
        .collect();
    let mut fixed: Vec<usize> = columns::always_zero().iter().copied().chain(columns::linear()).collect();
    fixed.sort_unstable();
    json!({
        "system": "leap",
        "chain": chain.name(),
        "columns": columns::train_targets(),
        "groups": groups,
        "fixed": fixed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_constants_have_the_published_floors() {
        for (chain, inputs, targets) in [(Chain::A, 101, 72), (Chain::B, 113, 72)] {
            let constants = Constants::published(chain).unwrap();
            let floor = chain.floor() * (1.0 + 1e-6);
            assert_eq!(constants.input_std.iter().filter(|&&v| v <= floor).count(), inputs, "chain {chain}");
            assert_eq!(constants.target_std.iter().filter(|&&v| v <= floor).count(), targets, "chain {chain}");
            assert_eq!(constants.weight.iter().filter(|&&v| v == 0.0).count(), 63);
            assert_eq!(constants.weight.iter().copied().fold(0.0, f64::max), 1e15);
        }
    }

    #[test]
    fn normalising_and_back_gives_the_value() {
        let constants = Constants::published(Chain::B).unwrap();
        let raw = 3.5e-5;
        let back = constants.physical_target(20, f64::from(constants.target(20, raw)));
        assert!((back / raw - 1.0).abs() < 1e-5, "{back}");
        assert_eq!(constants.physical_target(crate::columns::always_zero()[0], 2.0), 0.0);
    }

    #[test]
    fn bad_constants_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            common::durable::write(&path, text.as_bytes()).unwrap();
            path
        };
        let mean = file("mean.json", include_str!("../resources/mean_a.json"));
        let std = include_str!("../resources/std_a.json");
        let shipped = include_str!("../resources/old_sample_weight.csv");
        let weights = file("w.csv", shipped);
        let read = |std: &str, weights: &Path| {
            Constants::read(Chain::A, &mean, &file("std.json", std), weights).unwrap_err().to_string()
        };
        assert!(read(&std.replace("\"state_t_7\"", "\"state_x_7\""), &weights).contains("no key `state_t_7`"));
        assert!(read("[1, 2]", &weights).contains("expected an object of numbers"));
        assert!(read("{\"state_t_0\": 0.0}", &weights).contains("`state_t_0` is 0, expected a number above 0"));
        assert!(read(std, &file("bad.csv", "ptend_t_0\n1,2\n")).contains("has no column `cam_out_NETSW`"));
        let (all, last) = shipped.trim_end().rsplit_once(',').unwrap();
        let name = shipped.lines().next().unwrap().rsplit(',').next().unwrap();
        let expected = format!("line 2: column `{name}` is NaN, expected a finite number");
        assert!(read(std, &file("nan.csv", &format!("{all},nan\n"))).contains(&expected), "{expected}");
        let surplus = format!("{all},{last},7\n");
        assert!(read(std, &file("more.csv", &surplus)).contains("line 2: has more fields than the "));
        let bars = shipped.replace(',', ";");
        Constants::read(Chain::A, &mean, &file("std.json", std), &file("bars.csv", &format!("\u{feff}{bars}")))
            .unwrap();
        assert!(read(std, &folder.path().join("none.csv")).contains("no such file"));
    }
}
