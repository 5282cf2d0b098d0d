//! A column of lists of numbers, one list an event: a data set of an HDF5 file, or a column of a parquet file.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use common::store::hdf5;
use common::store::tables::{Cells, Column, ParquetFile};
use common::{Error, Result};

/// Rows of a parquet file that are decoded at a time: its row groups are read whole, whatever is asked of them.
const ROWS: usize = 512;

/// Lists of numbers.
#[derive(Debug)]
pub(super) enum ListColumn {
    Hdf5(hdf5::Lists),
    Parquet(ParquetColumn),
}

/// A column of a parquet file whose cells are lists.
#[derive(Debug)]
pub(super) struct ParquetColumn {
    path: PathBuf,
    name: String,
    file: Arc<ParquetFile>,
    /// The rows that were decoded last: where they begin, where each of them begins, and their numbers.
    decoded: Mutex<Option<(usize, Vec<usize>, Column)>>,
}

impl ParquetColumn {
    /// # Errors
    /// A column whose cells are no lists of numbers.
    pub(super) fn new(path: PathBuf, file: &Arc<ParquetFile>, name: &str) -> Result<Self> {
        let column = Self { path, name: name.to_owned(), file: Arc::clone(file), decoded: Mutex::new(None) };
        column.decode(0..1.min(file.rows()))?;
        Ok(column)
    }

    fn decode(&self, rows: Range<usize>) -> Result<(Vec<usize>, Column)> {
        match self.file.cells(&[&self.name], rows)?.pop() {
            Some(Cells::Lists(lists)) if !matches!(lists.values, Column::Text(_) | Column::Bool(_)) => {
                Ok((lists.offsets, lists.values))
            }
            _ => Err(Error::input(&self.path, format!("column `{}` holds no lists of numbers", self.name))),
        }
    }

    /// Gives the lists of a range of rows to `each`, converted by `convert`.
    fn each<T>(
        &self,
        range: Range<usize>,
        convert: impl Fn(&Column, Range<usize>) -> Result<Vec<T>, String>,
        mut each: impl FnMut(usize, &[T]) -> Result<(), String>,
    ) -> Result<()> {
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        for row in range {
            let begin = row / ROWS * ROWS;
            if decoded.as_ref().is_none_or(|(held, ..)| *held != begin) {
                let (offsets, values) = self.decode(begin..(begin + ROWS).min(self.file.rows()))?;
                *decoded = Some((begin, offsets, values));
            }
            let told = |problem| Error::input(&self.path, format!("column `{}`, row {row}: {problem}", self.name));
            let Some((_, offsets, values)) = decoded.as_ref() else { return Err(told("is not there".into())) };
            let Some([from, to]) = offsets.get(row - begin..row - begin + 2) else {
                return Err(told("is not there".into()));
            };
            let list = convert(values, *from..*to).map_err(told)?;
            each(row, &list).map_err(told)?;
        }
        Ok(())
    }
}

fn floats(values: &Column, range: Range<usize>) -> Result<Vec<f32>, String> {
    match values {
        Column::F32(values) => Ok(values[range].to_vec()),
        Column::F64(values) => Ok(values[range].iter().map(|&v| v as f32).collect()),
        _ => Err("holds integers, expected floats".into()),
    }
}

/// Whole numbers; tables of the third release hold them as floats.
fn integers(values: &Column, range: Range<usize>) -> Result<Vec<i64>, String> {
    let whole = |v: f64| match v == v.trunc() && v.abs() < 9e15 {
        true => Ok(v as i64),
        false => Err(format!("holds {v}, expected whole numbers")),
    };
    match values {
        Column::I64(values) => Ok(values[range].to_vec()),
        Column::I32(values) => Ok(values[range].iter().map(|&v| v.into()).collect()),
        Column::I16(values) => Ok(values[range].iter().map(|&v| v.into()).collect()),
        Column::F32(values) => values[range].iter().map(|&v| whole(v.into())).collect(),
        Column::F64(values) => values[range].iter().map(|&v| whole(v)).collect(),
        Column::Bool(_) | Column::Text(_) => Err("holds no numbers".into()),
    }
}

impl ListColumn {
    /// The files that it lies in.
    pub(super) fn files(&self) -> &[PathBuf] {
        match self {
            Self::Hdf5(lists) => lists.files(),
            Self::Parquet(column) => std::slice::from_ref(&column.path),
        }
    }

    /// Number of lists.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Hdf5(lists) => lists.len(),
            Self::Parquet(column) => column.file.rows(),
        }
    }

    /// Gives the lists of a range of events to `each`, in order, as f32.
    pub(super) fn floats(
        &self,
        range: Range<usize>,
        each: impl FnMut(usize, &[f32]) -> Result<(), String>,
    ) -> Result<()> {
        match self {
            Self::Hdf5(lists) => lists.floats(range, each),
            Self::Parquet(column) => column.each(range, floats, each),
        }
    }

    /// The same of whole numbers.
    pub(super) fn integers(
        &self,
        range: Range<usize>,
        each: impl FnMut(usize, &[i64]) -> Result<(), String>,
    ) -> Result<()> {
        match self {
            Self::Hdf5(lists) => lists.integers(range, each),
            Self::Parquet(column) => column.each(range, integers, each),
        }
    }
}
