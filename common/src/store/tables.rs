//! Tables: named columns of equal length, in parquet between stages and in csv where a competition asks for it.
//!
//! Whole tables go through [`read_parquet`], [`write_parquet`], [`read_csv`] and [`write_csv`]; tables that do not fit
//! into memory through [`ParquetFile`], [`ParquetWriter`], [`CsvReader`] and [`CsvWriter`], which hold a few blocks of
//! rows at a time. Nothing guesses types: a reader of csv is told its columns, and missing values are errors (in float
//! columns of parquet they are NaN, which is what pandas means by them).

mod arrays;
mod csv_reader;
mod csv_text;
mod csv_writer;
mod dates;
mod numbers;
mod parquet;

use std::path::{Path, PathBuf};

pub use arrays::{Cells, Lists};
pub use csv_reader::{CsvReader, kinds_of_csv, read_csv};
pub use csv_text::{CsvText, Fields};
pub use csv_writer::{CsvWriter, write_csv};
pub use parquet::{Counter, ParquetFile, ParquetWriter, read_parquet, write_parquet};

use crate::error::{Error, Result};

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ColumnKind {
    F64,
    F32,
    I64,
    I32,
    I16,
    Bool,
    Text,
}

impl std::fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::Bool => "bool",
            Self::Text => "text",
        })
    }
}

/// Values of a column.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Column {
    F64(Vec<f64>),
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    I16(Vec<i16>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

impl Column {
    /// An empty column.
    pub fn empty(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::F64 => Self::F64(Vec::new()),
            ColumnKind::F32 => Self::F32(Vec::new()),
            ColumnKind::I64 => Self::I64(Vec::new()),
            ColumnKind::I32 => Self::I32(Vec::new()),
            ColumnKind::I16 => Self::I16(Vec::new()),
            ColumnKind::Bool => Self::Bool(Vec::new()),
            ColumnKind::Text => Self::Text(Vec::new()),
        }
    }

    /// Its type.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::F64(_) => ColumnKind::F64,
            Self::F32(_) => ColumnKind::F32,
            Self::I64(_) => ColumnKind::I64,
            Self::I32(_) => ColumnKind::I32,
            Self::I16(_) => ColumnKind::I16,
            Self::Bool(_) => ColumnKind::Bool,
            Self::Text(_) => ColumnKind::Text,
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::Text(v) => v.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Moves the values of `other`, a column of the same kind, behind those of this one.
    pub(crate) fn append(&mut self, other: Self) {
        match (self, other) {
            (Self::F64(a), Self::F64(mut b)) => a.append(&mut b),
            (Self::F32(a), Self::F32(mut b)) => a.append(&mut b),
            (Self::I64(a), Self::I64(mut b)) => a.append(&mut b),
            (Self::I32(a), Self::I32(mut b)) => a.append(&mut b),
            (Self::I16(a), Self::I16(mut b)) => a.append(&mut b),
            (Self::Bool(a), Self::Bool(mut b)) => a.append(&mut b),
            (Self::Text(a), Self::Text(mut b)) => a.append(&mut b),
            // Both come from one schema.
            (a, b) => debug_assert_eq!(a.kind(), b.kind()),
        }
    }
}

/// Named columns of equal length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Where it was read from, for messages; empty for a table made in memory.
    path: PathBuf,
    names: Vec<String>,
    columns: Vec<Column>,
}

impl Table {
    /// A table without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// A table of one text column and a row-major `[rows, names.len()]` matrix: the form of most submissions.
    pub fn of_matrix(id: &str, ids: Vec<String>, names: &[impl AsRef<str>], values: &[f64]) -> Result<Self> {
        let mut table = Self::new();
        let (rows, width) = (ids.len(), names.len());
        if values.len() != rows * width {
            return Err(Error::failed(format!("{} values for a table of {rows} x {width}", values.len())));
        }
        table.push(id, Column::Text(ids))?;
        for (place, name) in names.iter().enumerate() {
            let column = values.iter().skip(place).step_by(width).copied().collect();
            table.push(name.as_ref(), Column::F64(column))?;
        }
        Ok(table)
    }

    /// Adds a column.
    ///
    /// # Errors
    /// [`Error::Failed`] where the name is taken or the length differs.
    pub fn push(&mut self, name: impl Into<String>, column: Column) -> Result<()> {
        let name = name.into();
        if self.names.contains(&name) {
            return Err(Error::failed(format!("the table has two columns `{name}`")));
        }
        if self.columns.first().is_some_and(|first| first.len() != column.len()) {
            let problem = format!("the column `{name}` has {} rows, expected {}", column.len(), self.rows());
            return Err(Error::failed(problem));
        }
        self.names.push(name);
        self.columns.push(column);
        Ok(())
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    /// Names of the columns in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Names and types in order.
    pub fn schema(&self) -> Vec<(String, ColumnKind)> {
        self.names.iter().cloned().zip(self.columns.iter().map(Column::kind)).collect()
    }

    /// A column by name.
    ///
    /// # Errors
    /// [`Error::Input`] with the nearest name where there is none.
    pub fn column(&self, name: &str) -> Result<&Column> {
        match self.names.iter().position(|n| n == name) {
            Some(index) => Ok(&self.columns[index]),
            None => Err(missing(&self.path, name, self.names.iter().map(String::as_str))),
        }
    }

    /// Takes a column out by name.
    pub fn take(&mut self, name: &str) -> Result<Column> {
        self.column(name)?;
        let index = self.names.iter().position(|n| n == name).unwrap_or_default();
        self.names.remove(index);
        Ok(self.columns.remove(index))
    }

    /// Values of an f64 column.
    pub fn f64(&self, name: &str) -> Result<&[f64]> {
        if let Column::F64(v) = self.column(name)? { Ok(v) } else { Err(self.not(name, ColumnKind::F64)) }
    }

    /// Values of an f32 column.
    pub fn f32(&self, name: &str) -> Result<&[f32]> {
        if let Column::F32(v) = self.column(name)? { Ok(v) } else { Err(self.not(name, ColumnKind::F32)) }
    }

    /// Values of an i64 column.
    pub fn i64(&self, name: &str) -> Result<&[i64]> {
        if let Column::I64(v) = self.column(name)? { Ok(v) } else { Err(self.not(name, ColumnKind::I64)) }
    }

    /// Values of a text column.
    pub fn texts(&self, name: &str) -> Result<&[String]> {
        if let Column::Text(v) = self.column(name)? { Ok(v) } else { Err(self.not(name, ColumnKind::Text)) }
    }

    fn not(&self, name: &str, expected: ColumnKind) -> Error {
        let found = self.column(name).map_or(expected, Column::kind);
        Error::input(&self.path, format!("column `{name}` is {found}, expected {expected}"))
    }

    /// Moves the rows of `other`, a table of the same schema, behind those of this one.
    fn append(&mut self, other: Self) {
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            column.append(more);
        }
    }
}

pub(crate) fn missing<'a>(path: &Path, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    let mut shown = known.iter().take(8).copied().collect::<Vec<_>>().join("`, `");
    if known.len() > 8 {
        shown.push_str("`, `..");
    }
    let error = Error::input(path, format!("has no column `{name}`")).hint(format!("its columns are `{shown}`"));
    error.did_you_mean(name, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_unique_names_and_one_length() {
        let mut table = Table::new();
        table.push("a", Column::F64(vec![1.0, 2.0])).unwrap();
        assert!(table.push("a", Column::F64(vec![1.0, 2.0])).is_err());
        assert!(table.push("b", Column::F64(vec![1.0])).unwrap_err().to_string().contains("has 1 rows, expected 2"));
        assert!(table.i64("a").unwrap_err().to_string().ends_with("column `a` is f64, expected i64"));
        assert!(table.column("x").is_err());
    }

    #[test]
    fn a_matrix_becomes_columns() {
        let ids = vec!["r0".to_owned(), "r1".to_owned()];
        let table = Table::of_matrix("id", ids, &["a", "b", "c"], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        assert_eq!(table.f64("b").unwrap(), [2.0, 5.0]);
        assert_eq!(table.texts("id").unwrap(), ["r0", "r1"]);
        assert!(Table::of_matrix("id", vec![], &["a"], &[1.0]).is_err());
    }
}
