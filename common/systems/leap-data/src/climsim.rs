//! What ships of the published data: the statistics of every raw variable on every level, and the grid's levels.

use std::collections::HashMap;
use std::sync::LazyLock;

use common::{Error, Result};

use crate::columns::LEVELS;

/// Facts about the real values of one variable on one level, in physical units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub std: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

/// Text of the statistics: `variable,mean,deviation,minimum,maximum`, names as `mli_state_t_0`.
static STATISTICS: &str = include_str!("../resources/climsim_statistics.csv");

/// `hyam,hybm,hyai,hybi` of the grid file: 60 levels, 61 interfaces.
static GRID_LEVELS: &str = include_str!("../resources/climsim_levels.csv");

/// `lat,lon,area` of the 384 columns of the low-resolution grid.
static GRID_COLUMNS: &str = include_str!("../resources/climsim_columns.csv");

static FIGURES: LazyLock<HashMap<&'static str, Figures>> = LazyLock::new(|| parse(STATISTICS));

/// Lines that are none of numbers are left out: whoever asks for such a variable is told that it is missing.
fn parse(text: &str) -> HashMap<&str, Figures> {
    let line = |line| -> Option<(_, Figures)> {
        let (name, numbers) = str::split_once(line, ',')?;
        let numbers: Vec<f64> = numbers.split(',').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        let [mean, std, min, max] = numbers[..] else { return None };
        Some((name, Figures { mean, std, min, max }))
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// Facts about a variable of the raw files: `mli` or `mlo`, and its name with the level behind: `state_t_0`.
pub fn figures(file: &str, name: &str) -> Result<Figures> {
    let missing = || Error::failed(format!("no line `{file}_{name}` among the shipped statistics"));
    FIGURES.get(format!("{file}_{name}").as_str()).copied().ok_or_else(missing)
}

/// Hybrid coefficients of the level midpoints: `p = hyam * p0 + hybm * ps`.
#[derive(Debug, Clone)]
pub struct GridLevels {
    /// `[60]`.
    pub hyam: Vec<f64>,
    /// `[60]`.
    pub hybm: Vec<f64>,
    /// Reference pressure in Pa.
    pub p0: f64,
}

/// The coefficients of the published grids, which all have the same levels.
pub fn grid_levels() -> Result<GridLevels> {
    let (hyam, hybm) = pairs([0, 1], LEVELS)?.into_iter().unzip();
    Ok(GridLevels { hyam, hybm, p0: 1e5 })
}

/// `hyai` and `hybi` of the 61 interfaces between the levels, uppermost first.
pub fn grid_interfaces() -> Result<Vec<(f64, f64)>> {
    pairs([2, 3], LEVELS + 1)
}

/// Latitude and longitude in degrees and area in steradian of the 384 columns of the low-resolution grid.
pub fn grid_columns() -> Result<Vec<[f32; 3]>> {
    let line = |line: &str| -> Option<[f32; 3]> {
        let numbers: Vec<f32> = line.split(',').map(|x| x.parse().ok()).collect::<Option<_>>()?;
        numbers.try_into().ok()
    };
    let all: Option<Vec<[f32; 3]>> = GRID_COLUMNS.lines().skip(1).map(line).collect();
    all.ok_or_else(|| Error::failed("the shipped columns are damaged"))
}

/// The first `n` lines of two columns of the grid's levels.
fn pairs(places: [usize; 2], n: usize) -> Result<Vec<(f64, f64)>> {
    let line = |line: &str| -> Option<(f64, f64)> {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |place: usize| cells.get(place)?.parse().ok();
        Some((number(places[0])?, number(places[1])?))
    };
    let lines: Option<Vec<(f64, f64)>> = GRID_LEVELS.lines().skip(1).take(n).map(line).collect();
    lines.filter(|lines| lines.len() == n).ok_or_else(|| Error::failed("the shipped levels are damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_order_and_unknown_variables_are_named() {
        assert!(FIGURES.len() > 500);
        for (name, figures) in FIGURES.iter() {
            assert!(figures.min <= figures.max && figures.std >= 0.0, "{name} {figures:?}");
        }
        let warm = figures("mli", "state_t_59").unwrap();
        assert!(warm.mean > 280.0 && warm.max < 330.0, "{warm:?}");
        assert!(figures("mli", "state_t_60").unwrap_err().to_string().contains("mli_state_t_60"));
        assert_eq!(grid_interfaces().unwrap().len(), LEVELS + 1);
    }
}
