//! Names of rows: whole numbers stay whole numbers, numbers with a point what they are, everything else is text.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::store::tables::{Column, ColumnKind};

/// The ids of a table, in file order.
#[derive(Debug, Clone, PartialEq)]
pub enum Ids {
    /// Whole numbers.
    Integers(Vec<i64>),
    /// Texts.
    Texts(Vec<String>),
    /// Numbers with a point, matched as their shortest texts.
    Numbers(Vec<f64>),
}

impl From<Vec<String>> for Ids {
    fn from(ids: Vec<String>) -> Self {
        Self::Texts(ids)
    }
}

impl From<Vec<i64>> for Ids {
    fn from(ids: Vec<i64>) -> Self {
        Self::Integers(ids)
    }
}

impl Ids {
    /// Number of ids.
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(ids) => ids.len(),
            Self::Texts(ids) => ids.len(),
            Self::Numbers(ids) => ids.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them as text.
    pub fn shown(&self, row: usize) -> String {
        match self {
            Self::Integers(ids) => ids[row].to_string(),
            Self::Texts(ids) => ids[row].clone(),
            Self::Numbers(ids) => ids[row].to_string(),
        }
    }

    /// Type of their column.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::Integers(_) => ColumnKind::I64,
            Self::Texts(_) => ColumnKind::Text,
            Self::Numbers(_) => ColumnKind::F64,
        }
    }

    /// Some of them as a column.
    pub fn column(&self, rows: Range<usize>) -> Column {
        match self {
            Self::Integers(ids) => Column::I64(ids[rows].to_vec()),
            Self::Texts(ids) => Column::Text(ids[rows].to_vec()),
            Self::Numbers(ids) => Column::F64(ids[rows].to_vec()),
        }
    }

    /// The ids of some rows, in the order given.
    #[must_use]
    pub fn of_rows(&self, rows: &[usize]) -> Self {
        match self {
            Self::Integers(ids) => Self::Integers(rows.iter().map(|&row| ids[row]).collect()),
            Self::Texts(ids) => Self::Texts(rows.iter().map(|&row| ids[row].clone()).collect()),
            Self::Numbers(ids) => Self::Numbers(rows.iter().map(|&row| ids[row]).collect()),
        }
    }

    /// Takes a column of numbers or texts for ids; numbers with a point are whole ones where all of them are whole.
    ///
    /// # Errors
    /// [`Error::Input`] where an id is missing, or the column holds truths.
    pub fn of_column(column: Column, name: &str, path: &Path) -> Result<Self> {
        let missing = |row: usize, what: &str| {
            Error::input(path, format!("row {row}, column `{name}`: {what}"))
                .hint("every row needs an id; name the column of the ids with `--id COLUMN`")
        };
        let numbers = |values: Vec<f64>| -> Result<Self> {
            if let Some(row) = values.iter().position(|v| !v.is_finite()) {
                return Err(missing(row, &format!("{} is no id", values[row])));
            }
            if values.iter().all(|v| v.fract() == 0.0 && v.abs() < 9e15) {
                return Ok(Self::Integers(values.into_iter().map(|v| v as i64).collect()));
            }
            Ok(Self::Numbers(values))
        };
        match column {
            Column::I64(ids) => Ok(Self::Integers(ids)),
            Column::I32(ids) => Ok(Self::Integers(ids.into_iter().map(i64::from).collect())),
            Column::I16(ids) => Ok(Self::Integers(ids.into_iter().map(i64::from).collect())),
            Column::Text(ids) => match ids.iter().position(String::is_empty) {
                None => Ok(Self::Texts(ids)),
                Some(row) => Err(missing(row, "the id is missing")),
            },
            Column::F64(values) => numbers(values),
            Column::F32(values) => numbers(values.into_iter().map(f64::from).collect()),
            Column::Bool(_) => Err(Error::input(path, format!("column `{name}` holds truths, expected ids"))
                .hint("name the column of the ids with `--id COLUMN`")),
        }
    }

    /// Bytes of this list in memory.
    pub fn bytes(&self) -> u64 {
        match self {
            // A text is a pointer and two lengths here, and a block of the allocator elsewhere.
            Self::Texts(ids) => ids.iter().map(|id| 24 + (id.capacity() as u64 + 24).next_multiple_of(16)).sum(),
            numbers => 8 * numbers.len() as u64,
        }
    }

    /// Bytes that [`Ids::places`] takes beside both lists, at most.
    pub fn places_bytes(&self, found: &Self) -> u64 {
        // A table of id and row is a power of two of buckets, of which at most seven in eight are filled.
        let table = |rows: usize| 17 * (rows as u64 * 8 / 7 + 1).next_power_of_two();
        let as_texts = |ids: &Self| if matches!(ids, Self::Texts(_)) { 0 } else { 72 * ids.len() as u64 };
        let texts = match (self, found) {
            (Self::Integers(_), Self::Integers(_)) => 0,
            (a, b) => as_texts(a) + as_texts(b),
        };
        table(self.len()) + table(found.len()) + 16 * self.len() as u64 + texts
    }

    /// Ids of different types, and numbers with a point, are compared as texts.
    fn texts(&self) -> Vec<String> {
        (0..self.len()).map(|row| self.shown(row)).collect()
    }

    /// For every id of this list its row in `found`, none where it is not there, and the first rows of `found` that
    /// this list has not, up to `surplus` of them, with their number.
    ///
    /// # Errors
    /// The first id that appears twice in either list.
    pub fn places(&self, against: &Path, found: &Self, path: &Path) -> Result<(Vec<Option<usize>>, usize)> {
        match (self, found) {
            (Self::Integers(a), Self::Integers(b)) => places(a, against, b, path),
            (Self::Texts(a), Self::Texts(b)) => places(a, against, b, path),
            (a, b) => places(&a.texts(), against, &b.texts(), path),
        }
    }
}

fn places<T: Eq + Hash + std::fmt::Display>(
    expected: &[T],
    against: &Path,
    found: &[T],
    path: &Path,
) -> Result<(Vec<Option<usize>>, usize)> {
    let place = positions(found, path)?;
    if expected == found {
        return Ok(((0..found.len()).map(Some).collect(), 0));
    }
    positions(expected, against)?;
    let rows: Vec<Option<usize>> = expected.iter().map(|id| place.get(id).copied()).collect();
    let surplus = found.len() - rows.iter().flatten().count();
    Ok((rows, surplus))
}

/// How the rows of one file lie in another with the same ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// In the same order.
    Same,
    /// For every row of the first file, the row of the second.
    Moved(Vec<usize>),
}

impl Rows {
    /// Puts the values of the second file into the order of the first.
    pub fn align(&self, values: Vec<f64>) -> Vec<f64> {
        match self {
            Self::Same => values,
            Self::Moved(rows) => rows.iter().map(|&row| values[row]).collect(),
        }
    }
}

/// Matches the ids of `path` (`found`) with those of `against` (`expected`).
///
/// # Errors
/// The first id that appears twice, is missing or is surplus, with its row (counted from 0).
pub fn match_ids(expected: &Ids, against: &Path, found: &Ids, path: &Path) -> Result<Rows> {
    match (expected, found) {
        (Ids::Integers(a), Ids::Integers(b)) => matched(a, against, b, path),
        (Ids::Texts(a), Ids::Texts(b)) => matched(a, against, b, path),
        (a, b) => matched(&a.texts(), against, &b.texts(), path),
    }
}

fn matched<T: Eq + Hash + std::fmt::Display>(expected: &[T], against: &Path, found: &[T], path: &Path) -> Result<Rows> {
    if expected == found {
        // Equal lists may still hold an id twice.
        positions(found, path)?;
        return Ok(Rows::Same);
    }
    let place = positions(found, path)?;
    let known = positions(expected, against)?;
    let mut rows = Vec::with_capacity(expected.len());
    for (row, id) in expected.iter().enumerate() {
        match place.get(id) {
            Some(&at) => rows.push(at),
            None => {
                let problem = format!("lacks the id `{id}`, row {row} of `{}`", against.display());
                return Err(Error::input(path, problem).hint(counts(expected.len(), found.len())));
            }
        }
    }
    if let Some((row, id)) = found.iter().enumerate().find(|(_, id)| !known.contains_key(id)) {
        let problem = format!("row {row}: the id `{id}` is not in `{}`", against.display());
        return Err(Error::input(path, problem).hint(counts(expected.len(), found.len())));
    }
    Ok(Rows::Moved(rows))
}

/// Demands the same ids in the same order.
///
/// # Errors
/// As [`match_ids`], and the first row whose ids differ, with both.
pub fn same_ids(expected: &Ids, against: &Path, found: &Ids, path: &Path) -> Result<()> {
    if let Rows::Moved(_) = match_ids(expected, against, found, path)? {
        let row = (0..expected.len()).find(|&row| expected.shown(row) != found.shown(row)).unwrap_or(0);
        let problem = format!(
            "row {row}: the id is `{}`, in `{}` it is `{}`",
            found.shown(row),
            against.display(),
            expected.shown(row)
        );
        return Err(Error::input(path, problem).hint("both hold the same ids; sort one like the other"));
    }
    Ok(())
}

fn positions<'a, T: Eq + Hash + std::fmt::Display>(ids: &'a [T], path: &Path) -> Result<HashMap<&'a T, usize>> {
    let mut place = HashMap::with_capacity(ids.len());
    for (row, id) in ids.iter().enumerate() {
        if let Some(first) = place.insert(id, row) {
            return Err(Error::input(path, format!("row {row}: the id `{id}` appeared in row {first} already"))
                .hint("every row needs an id of its own; `--id COLUMN` names another column of ids"));
        }
    }
    Ok(place)
}

fn counts(expected: usize, found: usize) -> String {
    format!("expected {expected} rows, found {found}; make the file from the same test set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_match_the_same_numbers_written_as_text() {
        let numbers = Ids::from(vec![7, 12, 9]);
        let texts = Ids::from(vec!["9".to_string(), "7".to_string(), "12".to_string()]);
        let rows = match_ids(&numbers, Path::new("a"), &texts, Path::new("b")).unwrap();
        assert_eq!(rows, Rows::Moved(vec![1, 2, 0]));
        let floats = Ids::of_column(Column::F64(vec![7.0, 12.0, 9.0]), "id", Path::new("c")).unwrap();
        assert_eq!(floats, numbers);
        let parts = Ids::of_column(Column::F64(vec![7.0, 0.5]), "id", Path::new("c")).unwrap();
        assert_eq!((parts.kind(), parts.shown(1).as_str()), (ColumnKind::F64, "0.5"));
        let texts = Ids::from(vec!["0.5".to_string(), "7".to_string()]);
        let rows = match_ids(&parts, Path::new("a"), &texts, Path::new("b")).unwrap();
        assert_eq!(rows, Rows::Moved(vec![1, 0]));
        assert!(match_ids(&parts, Path::new("a"), &parts, Path::new("b")).unwrap() == Rows::Same);
        let error = Ids::of_column(Column::F64(vec![7.0, f64::NAN]), "id", Path::new("c")).unwrap_err().to_string();
        assert_eq!(error, "`c`: row 1, column `id`: NaN is no id");
        let error = Ids::of_column(Column::Text(vec![String::new()]), "id", Path::new("c")).unwrap_err().to_string();
        assert_eq!(error, "`c`: row 0, column `id`: the id is missing");
    }

    #[test]
    fn absent_and_surplus_ids_are_counted() {
        let (a, b) = (Ids::from(vec![1, 2, 3]), Ids::from(vec![3, 1, 8, 9]));
        let (rows, surplus) = a.places(Path::new("a"), &b, Path::new("b")).unwrap();
        assert_eq!((rows, surplus), (vec![Some(1), None, Some(0)], 2));
        assert!(a.places(Path::new("a"), &Ids::from(vec![1, 1]), Path::new("b")).is_err());
    }
}
