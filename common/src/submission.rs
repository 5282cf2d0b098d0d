//! Submissions and other tables of people: one column of ids, then columns of numbers, in parquet or csv.
//!
//! A file is read by column, so that sixteen of them can be blended in memory that does not grow with their number;
//! ids are compared before anything is computed, and every value is checked before it is written.

mod file;
mod ids;
mod roles;
mod spool;

use std::path::{Path, PathBuf};

pub use file::{ENDINGS, Labels, Open, SubmissionFile, is_parquet, is_table};
pub use ids::{Ids, Rows, match_ids, same_ids};
pub use roles::{common_id, is_nameless};
pub use spool::{Spool, SpoolWriter};

use crate::durable::Written;
use crate::error::{Error, Result};
use crate::store::tables::{Column, ColumnKind, CsvWriter, ParquetWriter, Table};

/// Writes a submission block by block: parquet, and csv beside it where asked. Nothing appears under its name before
/// all rows were written and found finite.
pub struct SubmissionWriter {
    parquet: ParquetWriter,
    csv: Option<CsvWriter>,
    target: PathBuf,
    id: String,
    /// Columns of numbers before that of the ids.
    id_at: usize,
    columns: Vec<String>,
    ids: Ids,
    decimals: Option<usize>,
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
    /// Opens `NAME.parquet` (and `NAME.csv`) in `folder` for rows with these ids, which are the first column.
    pub fn create(
        folder: &Path,
        name: &str,
        id: &str,
        ids: impl Into<Ids>,
        columns: &[String],
        csv: bool,
    ) -> Result<Self> {
        Self::create_at(folder, name, (id, 0), ids, columns, csv)
    }

    /// The same with the ids behind so many columns of numbers.
    pub fn create_at(
        folder: &Path,
        name: &str,
        (id, id_at): (&str, usize),
        ids: impl Into<Ids>,
        columns: &[String],
        csv: bool,
    ) -> Result<Self> {
        let ids = ids.into();
        let id_at = id_at.min(columns.len());
        let target = folder.join(format!("{name}.parquet"));
        let mut schema: Vec<(String, ColumnKind)> = columns.iter().map(|c| (c.clone(), ColumnKind::F64)).collect();
        schema.insert(id_at, (id.to_string(), ids.kind()));
        let parquet = ParquetWriter::create(&target, &schema)?;
        let header: Vec<&str> = schema.iter().map(|(name, _)| name.as_str()).collect();
        let csv = csv.then(|| CsvWriter::create(folder.join(format!("{name}.csv")), &header)).transpose()?;
        let columns = columns.to_vec();
        Ok(Self { parquet, csv, target, id: id.into(), id_at, columns, ids, decimals: None, written: 0 })
    }

    /// Numbers of the csv get this many digits behind the point; without it the fewest that read back the same.
    #[must_use]
    pub fn with_decimals(mut self, decimals: Option<usize>) -> Self {
        self.decimals = decimals;
        self
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
                let (id, row, value) = (self.ids.shown(self.written + row), self.written + row, values[row]);
                let problem = format!("row {row} (`{id}`), column `{name}`: {value} is not finite");
                return Err(self.failed(problem).hint("nothing was written; a diverged network gives NaN"));
            }
        }
        let ids = self.written..self.written + rows;
        // Rounding is for values: ids that are numbers go as their texts.
        let texts = |ids: std::ops::Range<usize>| Column::Text(ids.map(|row| self.ids.shown(row)).collect());
        let rounded = match (&self.csv, self.decimals, &self.ids) {
            (Some(_), Some(_), Ids::Numbers(_)) => Some(self.table(texts(ids.clone()), columns.clone())?),
            _ => None,
        };
        let table = self.table(self.ids.column(ids), columns)?;
        self.parquet.append(&table)?;
        if let Some(csv) = &mut self.csv {
            match self.decimals {
                None => csv.append(&table)?,
                Some(decimals) => csv.append_rounded(rounded.as_ref().unwrap_or(&table), decimals)?,
            }
        }
        self.written += rows;
        Ok(())
    }

    /// Ids and numbers in the order of the file.
    fn table(&self, ids: Column, columns: Vec<Vec<f64>>) -> Result<Table> {
        let mut all: Vec<(&str, Column)> =
            columns.into_iter().zip(&self.columns).map(|(values, name)| (name.as_str(), Column::F64(values))).collect();
        all.insert(self.id_at, (&self.id, ids));
        let mut table = Table::new();
        for (name, column) in all {
            table.push(name, column)?;
        }
        Ok(table)
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
            // Kaggle takes csv everywhere, parquet in some competitions.
            let file = self.csv.as_ref().unwrap_or(&self.parquet);
            let file = quoted(&file.path.display().to_string());
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

    fn texts(list: &[&str]) -> Ids {
        ids(list).into()
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
                ("sample_id", &ids(&["x", "y"])[..], &texts(&["a", "b", "c"]))
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
        let (a, b) = (texts(&["a", "b", "c"]), texts(&["c", "a", "b"]));
        let rows = match_ids(&a, Path::new("base"), &b, Path::new("other")).unwrap();
        assert_eq!(rows.align(vec![3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
        assert_eq!(match_ids(&a, Path::new("base"), &a, Path::new("other")).unwrap(), Rows::Same);
    }

    #[test]
    fn the_first_wrong_id_is_named_with_its_row() {
        let base = texts(&["a", "b", "c"]);
        let problem = |found: &[&str]| {
            same_ids(&base, Path::new("base"), &texts(found), Path::new("other")).unwrap_err().to_string()
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
