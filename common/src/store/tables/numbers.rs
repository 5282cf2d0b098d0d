//! Columns by what their values are, whatever width they are stored in: a program that saves memory writes narrow types,
//! one that met a missing value writes floats, and both mean the same numbers.

use std::borrow::Cow;

use super::{Column, Table};
use crate::error::{Error, Result};

/// The largest whole number up to which every one is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// The same of floats of 32 bits: beyond it neighbours round to one number.
const EXACT_NARROW: f64 = 16_777_216.0;

impl Table {
    /// A column as numbers: any width of integers or floats. Missing values are NaN.
    ///
    /// # Errors
    /// [`Error::Input`] where there is no such column, or it holds no numbers.
    pub fn numbers(&self, name: &str) -> Result<Cow<'_, [f64]>> {
        Ok(match self.column(name)? {
            Column::F64(v) => Cow::Borrowed(v),
            Column::F32(v) => Cow::Owned(v.iter().map(|&v| f64::from(v)).collect()),
            Column::I64(v) => Cow::Owned(v.iter().map(|&v| v as f64).collect()),
            Column::I32(v) => Cow::Owned(v.iter().map(|&v| f64::from(v)).collect()),
            Column::I16(v) => Cow::Owned(v.iter().map(|&v| f64::from(v)).collect()),
            other => return Err(self.unlike(name, other, "numbers")),
        })
    }

    /// A column as whole numbers: any width of integers, or floats without a fraction.
    ///
    /// # Errors
    /// [`Error::Input`] where there is no such column, or with the row of the first value that is not whole.
    pub fn whole(&self, name: &str) -> Result<Cow<'_, [i64]>> {
        let floats = |values: &mut dyn Iterator<Item = f64>, most: f64| -> Result<Vec<i64>> {
            values
                .enumerate()
                .map(|(row, v)| match v.fract() == 0.0 && v.abs() <= most {
                    true => Ok(v as i64),
                    false => {
                        if v.fract() == 0.0 && v.abs() > most {
                            let problem =
                                format!("row {row}: {name} is {v}, beyond what its floats hold exactly, {most}");
                            return Err(
                                Error::input(&self.path, problem).hint("write the column as integers of 64 bits")
                            );
                        }
                        let problem = format!("row {row}: {name} is {v}, expected a whole number");
                        Err(Error::input(&self.path, problem))
                    }
                })
                .collect()
        };
        Ok(match self.column(name)? {
            Column::I64(v) => Cow::Borrowed(v),
            Column::I32(v) => Cow::Owned(v.iter().map(|&v| i64::from(v)).collect()),
            Column::I16(v) => Cow::Owned(v.iter().map(|&v| i64::from(v)).collect()),
            Column::F64(v) => Cow::Owned(floats(&mut v.iter().copied(), EXACT)?),
            Column::F32(v) => Cow::Owned(floats(&mut v.iter().map(|&v| f64::from(v)), EXACT_NARROW)?),
            other => return Err(self.unlike(name, other, "whole numbers")),
        })
    }

    /// A column as flags: bools, or numbers that are 0 or 1.
    ///
    /// # Errors
    /// [`Error::Input`] where there is no such column, or with the row of the first value that is neither.
    pub fn flags(&self, name: &str) -> Result<Cow<'_, [bool]>> {
        if let Column::Bool(v) = self.column(name)? {
            return Ok(Cow::Borrowed(v));
        }
        if let Column::Text(_) = self.column(name)? {
            return Err(self.unlike(name, self.column(name)?, "bools, or 0 and 1"));
        }
        let flag = |(row, v): (usize, &f64)| match *v {
            0.0 => Ok(false),
            1.0 => Ok(true),
            other => Err(Error::input(&self.path, format!("row {row}: {name} is {other}, expected 0 or 1"))),
        };
        Ok(Cow::Owned(self.numbers(name)?.iter().enumerate().map(flag).collect::<Result<_>>()?))
    }

    fn unlike(&self, name: &str, found: &Column, expected: &str) -> Error {
        Error::input(&self.path, format!("column `{name}` is {}, expected {expected}", found.kind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_gives_the_same_numbers() {
        let mut table = Table::new();
        let columns = [
            ("i16", Column::I16(vec![0, 1])),
            ("i32", Column::I32(vec![0, 1])),
            ("i64", Column::I64(vec![0, 1])),
            ("f32", Column::F32(vec![0.0, 1.0])),
            ("f64", Column::F64(vec![0.0, 1.0])),
        ];
        for (name, column) in columns {
            table.push(name, column).unwrap();
            assert_eq!(*table.numbers(name).unwrap(), [0.0, 1.0], "{name}");
            assert_eq!(*table.whole(name).unwrap(), [0, 1], "{name}");
            assert_eq!(*table.flags(name).unwrap(), [false, true], "{name}");
        }
    }

    #[test]
    fn what_is_lost_is_an_error_with_its_row() {
        let mut table = Table::new();
        table.push("x", Column::F64(vec![1.0, 2.5])).unwrap();
        table.push("nan", Column::F32(vec![1.0, f32::NAN])).unwrap();
        table.push("flag", Column::I16(vec![1, 2])).unwrap();
        table.push("text", Column::Text(vec!["a".into(), "b".into()])).unwrap();
        let says = |error: Error, text: &str| assert!(error.to_string().contains(text), "{error}");
        says(table.whole("x").unwrap_err(), "row 1: x is 2.5, expected a whole number");
        says(table.whole("nan").unwrap_err(), "row 1: nan is NaN");
        table.push("wide", Column::F32(vec![1.0, 20_000_000.0])).unwrap();
        says(
            table.whole("wide").unwrap_err(),
            "row 1: wide is 20000000, beyond what its floats hold exactly, 16777216",
        );
        says(table.flags("flag").unwrap_err(), "row 1: flag is 2, expected 0 or 1");
        says(table.numbers("text").unwrap_err(), "column `text` is text, expected numbers");
        says(table.flags("text").unwrap_err(), "expected bools, or 0 and 1");
    }
}
