//! Months of the ClimSim calendar: `0001-02` in folder and file names, `01_02` in the names of arrays.

use std::fmt;

use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One month of the simulation: years 1 to 9999, months 1 to 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Model year; the published data spans 1 to 9.
    pub year: u32,
    /// 1 = January.
    pub month: u32,
}

impl Month {
    /// Reads `0001-02` (folders) or `01_02` (arrays).
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-').or_else(|| text.split_once('_'))?;
        let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<u32>().ok()).flatten();
        let this = Self { year: number(year)?, month: number(month)? };
        ((1..=9999).contains(&this.year) && (1..=12).contains(&this.month)).then_some(this)
    }

    /// Months since year 0: orders months and numbers their random streams.
    pub fn index(self) -> u32 {
        self.year * 12 + self.month - 1
    }

    /// The month with this [`Month::index`].
    pub fn from_index(index: u32) -> Self {
        Self { year: index / 12, month: index % 12 + 1 }
    }

    /// Name inside array files: `01_02`.
    pub fn short(self) -> String {
        format!("{:02}_{:02}", self.year, self.month)
    }

    /// Days of this month; the calendar has no leap days.
    pub fn days(self) -> u32 {
        match self.month {
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

impl fmt::Display for Month {
    /// Name of the raw folder: `0001-02`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// A choice of months: single ones (`0001-02`) and ranges with both ends (`0001-02..0008-06`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Months(pub Vec<String>);

impl Months {
    /// From literals.
    pub fn of(parts: &[&str]) -> Self {
        Self(parts.iter().map(|p| (*p).to_string()).collect())
    }

    /// All months chosen, ascending, each once. The error is the part that cannot be read.
    pub fn list(&self) -> Result<Vec<Month>, String> {
        let mut all = Vec::new();
        for part in &self.0 {
            let (first, last) = part.split_once("..").unwrap_or((part, part));
            match (Month::parse(first), Month::parse(last)) {
                (Some(a), Some(b)) if a <= b => all.extend((a.index()..=b.index()).map(Month::from_index)),
                (Some(a), Some(b)) => return Err(format!("`{part}` runs backwards: {a} is after {b}")),
                _ => {
                    return Err(format!(
                        "`{part}` is neither a month like `0001-02` nor a range like `0001-02..0008-06`"
                    ));
                }
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// [`Months::list`] with the mistake as a usage error of config key `key`.
    pub fn resolve(&self, key: &str) -> Result<Vec<Month>> {
        self.list().map_err(|problem| Error::usage(format!("`{key}`: {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_both_ends_and_cross_years() {
        let months = Months::of(&["0008-11..0009-01", "0008-12", "0001-02"]).list().unwrap();
        let names: Vec<_> = months.iter().map(|m| m.short()).collect();
        assert_eq!(names, ["01_02", "08_11", "08_12", "09_01"]);
        assert_eq!(months[0].to_string(), "0001-02");
    }

    #[test]
    fn wrong_months_are_named() {
        assert!(Months::of(&["0001-13"]).list().unwrap_err().contains("0001-13"));
        assert!(Months::of(&["0002-01..0001-01"]).list().unwrap_err().contains("backwards"));
        assert!(Month::parse("+001-02").is_none());
        assert!(Month::parse("0001-02-03").is_none());
    }
}
