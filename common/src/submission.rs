//! Submissions: one column of ids, then columns of numbers, in parquet or csv.
//!
//! A file is read by column, so that sixteen of them can be blended in memory that does not grow with their number;
//! ids are compared before anything is computed, and every value is checked before it is written.

mod spool;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use spool::{Spool, SpoolWriter};

use crate::durable::Written;
use crate::error::{Error, Result};
use crate::store::tables::{Column, ColumnKind, CsvReader, CsvWriter, ParquetFile, ParquetWriter, Table};

/// A submission file, opened and with its ids read.
pub struct SubmissionFile {
    path: PathBuf,
    source: Source,
    id: String,
    columns: Vec<String>,
    ids: Vec<String>,
    rows: usize,
}

enum Source {
    Parquet(ParquetFile),
    /// Text is read once, into columns on disk, when the first number is asked for.
    Csv {
        scratch: PathBuf,
        spool: OnceLock<Spool>,
    },
}

impl SubmissionFile {
    /// Opens a parquet or csv file (told by the ending) and reads its ids: the first column. `scratch` is a folder for
    /// temporaries.
    pub fn open(path: impl AsRef<Path>, scratch: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let is_csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        let (source, mut names, texts) = if is_csv {
            let header = CsvReader::open(&path, &[])?.header().to_vec();
            (Source::Csv { scratch: scratch.as_ref().into(), spool: OnceLock::new() }, header, None)
        } else {
            let file = ParquetFile::open(&path)?;
            let names: Vec<String> = file.schema().iter().map(|(name, _)| name.clone()).collect();
            let texts = file.schema().iter().map(|(_, kind)| *kind == ColumnKind::Text).collect::<Vec<_>>();
            (Source::Parquet(file), names, Some(texts))
        };
        if names.len() < 2 {
            return Err(Error::input(&path, format!("has {} columns, expected ids and values", names.len())));
        }
        if let Some(texts) = texts {
            if !texts[0] {
                let problem = format!("the first column, `{}`, holds numbers, expected ids as text", names[0]);
                return Err(Error::input(&path, problem));
            }
            if let Some(c) = (1..names.len()).find(|&c| texts[c]) {
                return Err(Error::input(&path, format!("column `{}` holds texts, expected numbers", names[c])));
            }
        }
        let id = names.remove(0);
        let ids = match &source {
            Source::Parquet(file) => file.read(Some(&[&id]), 0..usize::MAX)?.texts(&id)?.to_vec(),
            Source::Csv { .. } => {
                let mut reader = CsvReader::open(&path, &[(&id, ColumnKind::Text)])?;
                let mut ids = Vec::new();
                while let Some(batch) = reader.next_batch()? {
                    ids.extend_from_slice(batch.texts(&id)?);
                }
                ids
            }
        };
        if ids.is_empty() {
            return Err(Error::input(&path, "has no rows"));
        }
        Ok(Self { path, source, id, columns: names, rows: ids.len(), ids })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the column of ids.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Names of the columns of numbers, in file order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The ids, in file order.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Lets go of the ids, which weigh as much as several columns; messages then name rows by number alone.
    pub fn forget_ids(&mut self) {
        self.ids = Vec::new();
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whole columns, in double precision. A value that is not finite is an error naming its row and id.
    pub fn read(&self, names: &[&str]) -> Result<Vec<Vec<f64>>> {
        let columns: Vec<Vec<f64>> = match &self.source {
            Source::Parquet(file) => {
                let mut table = file.read(Some(names), 0..usize::MAX)?;
                names.iter().map(|name| self.numbers(name, table.take(name)?)).collect::<Result<_>>()?
            }
            Source::Csv { scratch, spool } => {
                let spool = match spool.get() {
                    Some(spool) => spool,
                    None => {
                        let filled = self.spooled(scratch)?;
                        spool.get_or_init(|| filled)
                    }
                };
                names.iter().map(|name| Ok(spool.read(self.position(name)?, 0..self.rows))).collect::<Result<_>>()?
            }
        };
        for (name, values) in names.iter().zip(&columns) {
            if let Some(row) = values.iter().position(|v| !v.is_finite()) {
                let id = self.ids.get(row).map(|id| format!(" (`{id}`)")).unwrap_or_default();
                let problem = format!("row {row}{id}, column `{name}`: {} is not finite", values[row]);
                return Err(Error::input(&self.path, problem).hint("predict again; a diverged network gives NaN"));
            }
        }
        Ok(columns)
    }

    fn numbers(&self, name: &str, column: Column) -> Result<Vec<f64>> {
        Ok(match column {
            Column::F64(v) => v,
            Column::F32(v) => v.into_iter().map(f64::from).collect(),
            Column::I32(v) => v.into_iter().map(f64::from).collect(),
            Column::I16(v) => v.into_iter().map(f64::from).collect(),
            Column::I64(v) => v.into_iter().map(|x| x as f64).collect(),
            Column::Bool(_) | Column::Text(_) => {
                return Err(Error::input(&self.path, format!("column `{name}` holds no numbers")));
            }
        })
    }

    fn position(&self, name: &str) -> Result<usize> {
        let found = self.columns.iter().position(|c| c == name);
        found.ok_or_else(|| Error::input(&self.path, format!("has no column `{name}`")))
    }

    fn spooled(&self, scratch: &Path) -> Result<Spool> {
        let schema: Vec<(&str, ColumnKind)> = self.columns.iter().map(|c| (c.as_str(), ColumnKind::F64)).collect();
        let mut reader = CsvReader::open(&self.path, &schema)?;
        let mut writer = SpoolWriter::create(scratch, self.rows, self.columns.len())?;
        let mut row = 0;
        while let Some(batch) = reader.next_batch()? {
            for (c, name) in self.columns.iter().enumerate() {
                writer.put(c, row, batch.f64(name)?)?;
            }
            row += batch.rows();
        }
        writer.seal()
    }
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
pub fn match_ids(expected: &[String], against: &Path, found: &[String], path: &Path) -> Result<Rows> {
    if expected == found {
        // Equal lists may still hold an id twice.
        positions(found, path)?;
        return Ok(Rows::Same);
    }
    let place = positions(found, path)?;
    let known = positions(expected, against)?;
    let mut rows = Vec::with_capacity(expected.len());
    for (row, id) in expected.iter().enumerate() {
        match place.get(id.as_str()) {
            Some(&at) => rows.push(at),
            None => {
                let problem = format!("lacks the id `{id}`, row {row} of `{}`", against.display());
                return Err(Error::input(path, problem).hint(counts(expected.len(), found.len())));
            }
        }
    }
    if let Some((row, id)) = found.iter().enumerate().find(|(_, id)| !known.contains_key(id.as_str())) {
        let problem = format!("row {row}: the id `{id}` is not in `{}`", against.display());
        return Err(Error::input(path, problem).hint(counts(expected.len(), found.len())));
    }
    Ok(Rows::Moved(rows))
}

/// Demands the same ids in the same order.
///
/// # Errors
/// As [`match_ids`], and the first row whose ids differ, with both.
pub fn same_ids(expected: &[String], against: &Path, found: &[String], path: &Path) -> Result<()> {
    if let Rows::Moved(_) = match_ids(expected, against, found, path)? {
        let row = expected.iter().zip(found).position(|(a, b)| a != b).unwrap_or(0);
        let problem =
            format!("row {row}: the id is `{}`, in `{}` it is `{}`", found[row], against.display(), expected[row]);
        return Err(Error::input(path, problem).hint("both hold the same ids; sort one like the other"));
    }
    Ok(())
}

fn positions<'a>(ids: &'a [String], path: &Path) -> Result<HashMap<&'a str, usize>> {
    let mut place = HashMap::with_capacity(ids.len());
    for (row, id) in ids.iter().enumerate() {
        if let Some(first) = place.insert(id.as_str(), row) {
            return Err(Error::input(path, format!("row {row}: the id `{id}` appeared in row {first} already")));
        }
    }
    Ok(place)
}

fn counts(expected: usize, found: usize) -> String {
    format!("expected {expected} rows, found {found}; make the file from the same test set")
}

/// Writes a submission block by block: parquet, and csv beside it where asked. Nothing appears under its name before
/// all rows were written and found finite.
pub struct SubmissionWriter {
    parquet: ParquetWriter,
    csv: Option<CsvWriter>,
    target: PathBuf,
    id: String,
    columns: Vec<String>,
    ids: Vec<String>,
    written: usize,
}

/// A finished submission.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The parquet file.
    pub parquet: Written,
    /// The csv file, where one was asked for.
    pub csv: Option<Written>,
    /// Number of rows.
    pub rows: usize,
}

impl SubmissionWriter {
    /// Opens `NAME.parquet` (and `NAME.csv`) in `folder` for rows with these ids.
    pub fn create(
        folder: &Path,
        name: &str,
        id: &str,
        ids: Vec<String>,
        columns: &[String],
        csv: bool,
    ) -> Result<Self> {
        let target = folder.join(format!("{name}.parquet"));
        let mut schema = vec![(id.to_string(), ColumnKind::Text)];
        schema.extend(columns.iter().map(|c| (c.clone(), ColumnKind::F64)));
        let parquet = ParquetWriter::create(&target, &schema)?;
        let header: Vec<&str> = schema.iter().map(|(name, _)| name.as_str()).collect();
        let csv = csv.then(|| CsvWriter::create(folder.join(format!("{name}.csv")), &header)).transpose()?;
        Ok(Self { parquet, csv, target, id: id.into(), columns: columns.to_vec(), ids, written: 0 })
    }

    /// Number of rows that are still to come.
    pub fn remaining(&self) -> usize {
        self.ids.len() - self.written
    }

    /// Appends the next rows, given by column.
    ///
    /// # Errors
    /// [`Error::Failed`] with id and column of the first value that is not finite, or where there are more rows than ids.
    pub fn append(&mut self, columns: Vec<Vec<f64>>) -> Result<()> {
        let rows = columns.first().map_or(0, Vec::len);
        if columns.len() != self.columns.len() || rows > self.remaining() {
            return Err(self.failed(format!(
                "got [{rows}, {}] values for {} rows of {} columns",
                columns.len(),
                self.remaining(),
                self.columns.len()
            )));
        }
        for (values, name) in columns.iter().zip(&self.columns) {
            if let Some(row) = values.iter().position(|v| !v.is_finite()) {
                let (id, row, value) = (&self.ids[self.written + row], self.written + row, values[row]);
                let problem = format!("row {row} (`{id}`), column `{name}`: {value} is not finite");
                return Err(self.failed(problem).hint("nothing was written; a diverged network gives NaN"));
            }
        }
        let mut table = Table::new();
        table.push(&self.id, Column::Text(self.ids[self.written..self.written + rows].to_vec()))?;
        for (values, name) in columns.into_iter().zip(&self.columns) {
            table.push(name, Column::F64(values))?;
        }
        self.parquet.append(&table)?;
        if let Some(csv) = &mut self.csv {
            csv.append(&table)?;
        }
        self.written += rows;
        Ok(())
    }

    /// Publishes the files.
    ///
    /// # Errors
    /// [`Error::Failed`] where rows are missing: then nothing is published.
    pub fn finish(self) -> Result<Submission> {
        if self.remaining() > 0 {
            return Err(self.failed(format!("{} of {} rows are missing", self.remaining(), self.ids.len())));
        }
        let csv = self.csv.map(CsvWriter::finish).transpose()?;
        Ok(Submission { parquet: self.parquet.finish()?, csv, rows: self.ids.len() })
    }

    fn failed(&self, problem: String) -> Error {
        Error::failed(format!("submission `{}`: {problem}", self.target.display()))
    }
}

impl Submission {
    /// Rows, hash and, given a competition, the line that submits it.
    pub fn summary(&self, competition: Option<&str>, message: &str) -> String {
        let mut text = format!("{} rows, blake3 {}, `{}`", self.rows, self.parquet.blake3, self.parquet.path.display());
        if let Some(competition) = competition {
            let quoted = |t: &str| format!("'{}'", t.replace('\'', "'\\''"));
            let file = quoted(&self.parquet.path.display().to_string());
            text += &format!("\nkaggle competitions submit -c {competition} -f {file} -m {}", quoted(message));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn write(folder: &Path, name: &str, list: &[&str], columns: [Vec<f64>; 2]) -> Submission {
        let names = ["x".to_string(), "y".to_string()];
        let mut writer = SubmissionWriter::create(folder, name, "sample_id", ids(list), &names, true).unwrap();
        writer.append(columns.to_vec()).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn parquet_and_csv_read_back_as_the_same_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let columns = [vec![0.1, -1e-300, 3.0], vec![1.0 / 3.0, 0.0, 5e9]];
        let written = write(folder.path(), "s", &["a", "b", "c"], columns.clone());
        for path in [written.parquet.path.clone(), written.csv.clone().unwrap().path] {
            let file = SubmissionFile::open(&path, folder.path()).unwrap();
            assert_eq!(
                (file.id(), file.columns(), file.ids()),
                ("sample_id", &ids(&["x", "y"])[..], &ids(&["a", "b", "c"])[..])
            );
            assert_eq!(file.read(&["y", "x"]).unwrap(), [columns[1].clone(), columns[0].clone()]);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let text = written.summary(Some("a-competition"), "it's");
        assert!(text.contains("3 rows, blake3 ") && text.contains("-c a-competition -f '"), "{text}");
        assert!(text.ends_with("-m 'it'\\''s'"), "{text}");
    }

    #[test]
    fn ids_in_another_order_are_aligned() {
        let (a, b) = (ids(&["a", "b", "c"]), ids(&["c", "a", "b"]));
        let rows = match_ids(&a, Path::new("base"), &b, Path::new("other")).unwrap();
        assert_eq!(rows.align(vec![3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
        assert_eq!(match_ids(&a, Path::new("base"), &a, Path::new("other")).unwrap(), Rows::Same);
    }

    #[test]
    fn the_first_wrong_id_is_named_with_its_row() {
        let base = ids(&["a", "b", "c"]);
        let problem = |found: &[&str]| {
            same_ids(&base, Path::new("base"), &ids(found), Path::new("other")).unwrap_err().to_string()
        };
        assert_eq!(problem(&["a", "c", "b"]), "`other`: row 1: the id is `c`, in `base` it is `b`");
        assert_eq!(problem(&["a", "b"]), "`other`: lacks the id `c`, row 2 of `base`");
        assert_eq!(problem(&["a", "b", "c", "d"]), "`other`: row 3: the id `d` is not in `base`");
        assert_eq!(problem(&["a", "b", "a"]), "`other`: row 2: the id `a` appeared in row 0 already");
    }

    #[test]
    fn nothing_is_published_when_a_value_is_not_finite_or_rows_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["x".to_string()];
        let create = || SubmissionWriter::create(folder.path(), "s", "id", ids(&["a", "b"]), &names, true).unwrap();
        let mut writer = create();
        writer.append(vec![vec![1.0]]).unwrap();
        let error = writer.append(vec![vec![f64::NAN]]).unwrap_err();
        assert!(error.to_string().ends_with("row 1 (`b`), column `x`: NaN is not finite"), "{error}");
        assert!(writer.append(vec![vec![1.0, 2.0]]).is_err());
        assert!(writer.finish().unwrap_err().to_string().ends_with("1 of 2 rows are missing"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
