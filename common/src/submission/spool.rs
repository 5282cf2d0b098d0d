//! Columns of doubles on disk, for tables that are made by column and read by row or the other way round.

use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use crate::durable::AtomicFile;
use crate::error::{Error, Result};
use crate::store::Mapped;

const BYTES: usize = size_of::<f64>();

/// A temporary file of `columns` columns of `rows` doubles, being filled. It vanishes when dropped, and with it the
/// [`Spool`] made from it.
pub struct SpoolWriter {
    file: AtomicFile,
    rows: usize,
    columns: usize,
    bytes: Vec<u8>,
}

impl SpoolWriter {
    /// Opens a temporary in `folder`.
    pub fn create(folder: &Path, rows: usize, columns: usize) -> Result<Self> {
        Ok(Self { file: AtomicFile::create(folder.join("columns"))?, rows, columns, bytes: Vec::new() })
    }

    /// Writes values of one column, the first of them at `row`.
    pub fn put(&mut self, column: usize, row: usize, values: &[f64]) -> Result<()> {
        if column >= self.columns || row + values.len() > self.rows {
            return Err(Error::failed(format!("rows {row}.. of column {column} do not fit the table")));
        }
        self.bytes.clear();
        self.bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let at = ((column * self.rows + row) * BYTES) as u64;
        let written = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.write_all(&self.bytes));
        written.map_err(|e| self.error(e))
    }

    /// Maps what was written. Values that never were are 0.
    pub fn seal(mut self) -> Result<Spool> {
        let end = (self.rows * self.columns * BYTES) as u64;
        let length = self.file.seek(SeekFrom::End(0)).map_err(|e| self.error(e))?;
        if length < end {
            let zero = self.file.seek(SeekFrom::Start(end - 1)).and_then(|_| self.file.write_all(&[0]));
            zero.map_err(|e| self.error(e))?;
        }
        self.file.flush().map_err(|e| self.error(e))?;
        let mapped = Mapped::open(self.file.temporary_path())?;
        Ok(Spool { mapped, rows: self.rows, _file: self.file })
    }

    fn error(&self, source: std::io::Error) -> Error {
        Error::io("writing", self.file.temporary_path(), source)
    }
}

/// A filled temporary file of columns.
pub struct Spool {
    mapped: Mapped,
    rows: usize,
    /// Held for its end of life: dropping it removes the file.
    _file: AtomicFile,
}

impl Spool {
    /// Some rows of one column.
    pub fn read(&self, column: usize, rows: Range<usize>) -> Vec<f64> {
        let at = |row: usize| (column * self.rows + row) * BYTES;
        let bytes = &self.mapped.bytes()[at(rows.start)..at(rows.end)];
        bytes.as_chunks::<BYTES>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_in_any_order_and_the_file_vanishes() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::create(folder.path(), 3, 2).unwrap();
        writer.put(0, 1, &[2.0, 3.0]).unwrap();
        writer.put(0, 0, &[1.0]).unwrap();
        assert!(writer.put(1, 2, &[1.0, 2.0]).is_err() && writer.put(2, 0, &[1.0]).is_err());
        let spool = writer.seal().unwrap();
        assert_eq!(spool.read(0, 0..3), [1.0, 2.0, 3.0]);
        assert_eq!(spool.read(1, 1..3), [0.0, 0.0]);
        drop(spool);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
