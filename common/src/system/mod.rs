//! What a system is to the stages: its name, and what it has of each stage that needs no tensor library.
//!
//! The registry of systems is the crate `registry`, which lists one [`System`] of each system's data crate. Stages with
//! networks are listed in the same way by the crate `networks`.

mod blend;
mod density;
mod score;

use std::path::Path;

use crate::Result;
use crate::driver::{Entry, NoFlags, PrepareFlags};

pub use blend::{Blend, BlendRequest, SearchRequest};
pub use density::{Density, DensityRequest};
pub use score::{Score, ScoreRequest, write_summary};

/// A system, as its data crate describes it. What a system does not have is none.
pub struct System {
    /// Its name in configs, manifests and command lines.
    pub name: &'static str,
    /// What it is, in one line: its data.
    pub line: &'static str,
    /// Outputs of its stages that hold true values, the first that exists.
    pub truth: &'static [&'static str],
    /// `simulate-data`.
    pub simulate: Option<Entry<NoFlags>>,
    /// `prepare-data`.
    pub prepare: Option<Entry<PrepareFlags>>,
    /// `score`, where predictions are no plain values.
    pub score: Option<Score>,
    /// `hill-climb`, where a blend is no sum of plain values.
    pub blend: Option<Blend>,
    /// `hit-density`.
    pub density: Option<Density>,
    /// What the columns of a group are along, where they are levels of a profile.
    pub levels: Option<fn(&str) -> Option<Levels>>,
    /// W/m2 for one unit of a target, where targets are fluxes of energy.
    pub watts: Option<fn(&str) -> Option<f64>>,
    /// Where on the globe the rows of a file of true values are, where it says so.
    pub places: Option<PlacesOf>,
}

/// Reads where the rows of a file are; none where it does not say so.
pub type PlacesOf = fn(&Path) -> Result<Option<Places>>;

/// Where on the globe rows are, for zonal means.
#[derive(Debug, Clone, PartialEq)]
pub struct Places {
    /// Degrees, -90 to 90, of each row.
    pub latitude: Vec<f64>,
    /// Area that each row stands for, in any unit.
    pub area: Vec<f64>,
    /// What leads from the values of each column to its own unit: `value * scale + shift`.
    pub scale: Vec<f64>,
    /// See `scale`.
    pub shift: Vec<f64>,
}

/// The levels of a group of columns, for charts.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// What the group is: `temperature tendency`.
    pub title: &'static str,
    /// The unit of its values.
    pub unit: &'static str,
    /// What the levels are, with their unit: `pressure (hPa)`.
    pub axis: &'static str,
    /// Whether they are shown on a logarithmic axis.
    pub log: bool,
    /// The value of each level, in the order of the columns.
    pub values: Vec<f64>,
}

/// Names as a choice: `` `a`, `b` or `c` ``.
pub fn names<'a>(names: impl Iterator<Item = &'a str>, before: &str, after: &str) -> String {
    let names: Vec<String> = names.map(|name| format!("{before}{name}{after}")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
