//! A block of samples as they are before normalisation: rows of 556 inputs and 368 targets, f64, in the column
//! order of the Kaggle csv files and of the validation table (spec section 2.2).

use std::path::Path;
use std::sync::LazyLock;

use common::store::netcdf::NcFile;
use common::{Error, Result};

use super::tree::Pair;
use crate::columns::{self, INPUTS, LEVELS, STEP_SECONDS, TARGETS};

/// Width of a row.
pub const WIDTH: usize = INPUTS + TARGETS;

/// The first value that netCDF libraries write where nothing was written (`NC_FILL_DOUBLE`); nothing in the data
/// comes near.
const FILL: f64 = 9.0e36;

/// Samples before normalisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Number of samples.
    pub rows: usize,
    /// `[rows, 924]`: inputs, then un-weighted targets.
    pub values: Vec<f64>,
}

/// A variable of the raw files and where its values go in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Name in the netCDF file.
    pub name: String,
    /// First column of the row.
    pub column: usize,
    /// 60 or 1.
    pub levels: usize,
}

/// Which variables each of the two files holds, derived from the column lists.
#[derive(Debug)]
pub struct Variables {
    /// Inputs, from mli.
    pub inputs: Vec<Variable>,
    /// Targets: mlo's name; for tendencies the state's name, its mli column is in `tendency_of`.
    pub targets: Vec<Variable>,
    /// For each of `targets`: the input column it is a tendency of, or none for the `cam_out` scalars.
    pub tendency_of: Vec<Option<usize>>,
}

/// The raw variables in csv order.
pub static VARIABLES: LazyLock<Variables> = LazyLock::new(|| {
    let inputs = group(columns::csv_inputs(), 0);
    let mut targets = group(columns::submission(), INPUTS);
    let mut tendency_of = Vec::with_capacity(targets.len());
    for target in &mut targets {
        let state = target.name.strip_prefix("ptend_").map(|x| format!("state_{x}"));
        tendency_of.push(state.as_ref().and_then(|s| inputs.iter().find(|v| v.name == *s)).map(|v| v.column));
        if let Some(state) = state {
            target.name = state;
        }
    }
    Variables { inputs, targets, tendency_of }
});

/// Consecutive columns `x_0 ..` are the levels of the profile `x`; every other column is a scalar.
fn group(names: &[&str], first: usize) -> Vec<Variable> {
    let mut variables: Vec<Variable> = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let (variable, levels) = split(name);
        match variables.last_mut() {
            Some(last) if levels.is_some_and(|l| l > 0) && last.name == variable => last.levels += 1,
            _ => variables.push(Variable { name: variable.to_string(), column: first + i, levels: 1 }),
        }
    }
    variables
}

/// `state_q0001_17` -> (`state_q0001`, 17); `pbuf_SOLIN` -> (`pbuf_SOLIN`, none).
fn split(name: &str) -> (&str, Option<usize>) {
    match name.rsplit_once('_').map(|(v, l)| (v, l.parse())) {
        Some((variable, Ok(level))) => (variable, Some(level)),
        _ => (name, None),
    }
}

impl Block {
    /// Reads one time step; each of the two files is opened once and its unknown variables are ignored.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file: missing variable, wrong dimension, different grids, NaN, Inf or fill value.
    pub fn read(pair: &Pair) -> Result<Self> {
        let before = NcFile::open(&pair.mli)?;
        let rows = columns_of(&before, &pair.mli)?;
        let mut block = Self { rows, values: vec![0.0; rows * WIDTH] };
        for variable in &VARIABLES.inputs {
            block.read_variable(&before, &pair.mli, variable)?;
        }
        drop(before);
        let after = NcFile::open(&pair.mlo)?;
        let found = columns_of(&after, &pair.mlo)?;
        if found != rows {
            return Err(Error::input(
                &pair.mlo,
                format!("dimension `ncol` is {found}, expected {rows} as in the mli file beside it"),
            ));
        }
        for (variable, of) in VARIABLES.targets.iter().zip(&VARIABLES.tendency_of) {
            block.read_variable(&after, &pair.mlo, variable)?;
            if let &Some(state) = of {
                for row in block.values.chunks_exact_mut(WIDTH) {
                    for level in 0..variable.levels {
                        let target = variable.column + level;
                        row[target] = (row[target] - row[state + level]) / STEP_SECONDS;
                    }
                }
            }
        }
        Ok(block)
    }

    fn read_variable(&mut self, file: &NcFile, path: &Path, variable: &Variable) -> Result<()> {
        let name = variable.name.as_str();
        let found = file.variable(name)?;
        let order = layout(&found.dims, variable.levels > 1).ok_or_else(|| {
            let expected = if variable.levels > 1 { "(lev, ncol)" } else { "(ncol)" };
            Error::input(
                path,
                format!("variable `{name}` has the dimensions ({}), expected {expected}", found.dims.join(", ")),
            )
        })?;
        let data = file.read_f64(name)?;
        if data.len() != self.rows * variable.levels {
            let problem = format!(
                "variable `{name}` has {} values, expected {} levels x {} columns",
                data.len(),
                variable.levels,
                self.rows
            );
            return Err(Error::input(path, problem));
        }
        if let Some(at) = data.iter().position(|v| v.is_nan() || v.abs() >= FILL) {
            let (level, column) = match order {
                Order::LevelFirst => (at / self.rows, at % self.rows),
                Order::ColumnFirst => (at % variable.levels, at / variable.levels),
            };
            let value = if data[at].is_finite() { "the fill value".to_string() } else { format!("`{}`", data[at]) };
            let place = if variable.levels > 1 {
                format!("level {level}, column {column}")
            } else {
                format!("column {column}")
            };
            return Err(Error::input(
                path,
                format!("variable `{name}` holds {value} at {place}, expected finite numbers"),
            )
            .hint(NON_FINITE));
        }
        let rows = self.rows;
        for (c, row) in self.values.chunks_exact_mut(WIDTH).enumerate() {
            let slots = row[variable.column..variable.column + variable.levels].iter_mut().enumerate();
            match order {
                Order::LevelFirst => slots.for_each(|(l, slot)| *slot = data[l * rows + c]),
                Order::ColumnFirst => slots.for_each(|(l, slot)| *slot = data[c * variable.levels + l]),
            }
        }
        Ok(())
    }
}

const NON_FINITE: &str = "fetch the file again, or leave such steps out with `non_finite=skip_file`";

/// Whether an error says that a file holds values that are not numbers (the one kind that may be skipped).
pub fn is_non_finite(error: &Error) -> bool {
    error.hint_text().as_deref() == Some(NON_FINITE)
}

/// Grid columns of a file.
pub fn columns_of(file: &NcFile, path: &Path) -> Result<usize> {
    let levels = file.dimension("lev")?;
    if levels != LEVELS {
        return Err(Error::input(path, format!("dimension `lev` is {levels}, expected {LEVELS}")));
    }
    match file.dimension("ncol")? {
        0 => Err(Error::input(path, "dimension `ncol` is 0, expected at least one grid column")),
        n => Ok(n),
    }
}

#[derive(Clone, Copy)]
enum Order {
    LevelFirst,
    ColumnFirst,
}

/// Dimension order as the file has it; a leading time dimension of length one is accepted by the length check.
fn layout(dims: &[String], profile: bool) -> Option<Order> {
    let names: Vec<&str> = dims.iter().map(String::as_str).filter(|d| *d != "time").collect();
    match (names.as_slice(), profile) {
        (["lev", "ncol"], true) => Some(Order::LevelFirst),
        (["ncol", "lev"], true) => Some(Order::ColumnFirst),
        (["ncol"], false) => Some(Order::LevelFirst),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_variables_follow_from_the_column_lists() {
        let v = &*VARIABLES;
        assert_eq!(v.inputs.len(), 9 + 16);
        assert_eq!(v.inputs[0], Variable { name: "state_t".into(), column: 0, levels: 60 });
        assert_eq!(v.inputs.last().unwrap().name, "pbuf_N2O");
        assert_eq!(v.targets.len(), 6 + 8);
        assert_eq!(v.targets[1], Variable { name: "state_q0001".into(), column: INPUTS + 60, levels: 60 });
        assert_eq!(v.tendency_of[..6], [Some(0), Some(60), Some(120), Some(180), Some(240), Some(300)]);
        assert!(v.tendency_of[6..].iter().all(Option::is_none));
        let width: usize = v.inputs.iter().chain(&v.targets).map(|v| v.levels).sum();
        assert_eq!(width, WIDTH);
    }
}
