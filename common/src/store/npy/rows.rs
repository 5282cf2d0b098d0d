//! A `.npy` file whose rows come one after another.

use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::preamble;
use crate::durable::{AtomicFile, Written};
use crate::error::{Error, Result};
use crate::store::map;

/// An array [rows, width] of f32 that grows: its header is written last, in the room that was left for it. The file appears
/// when it is finished.
pub struct NpyRows {
    path: PathBuf,
    file: AtomicFile,
    width: usize,
    rows: usize,
}

impl NpyRows {
    /// Longer than the header of any matrix.
    const HEADER: usize = 128;

    /// Begins a file of rows of `width` numbers.
    ///
    /// # Errors
    /// [`Error::Io`] from the system.
    pub fn create(path: PathBuf, width: usize) -> Result<Self> {
        let mut file = AtomicFile::create(&path)?;
        file.write_all(&[0; Self::HEADER]).map_err(|e| Error::io("writing", &path, e))?;
        Ok(Self { path, file, width, rows: 0 })
    }

    /// Appends whole rows.
    ///
    /// # Errors
    /// [`Error::Io`] from the system.
    pub fn append(&mut self, values: &[f32]) -> Result<()> {
        self.rows += values.len() / self.width;
        self.file.write_all(map::bytes_of(values)).map_err(|e| Error::io("writing", &self.path, e))
    }

    /// Writes the header; the file is there from then on.
    ///
    /// # Errors
    /// [`Error::Io`] from the system.
    pub fn finish(mut self) -> Result<Written> {
        let header = preamble(&self.path, "<f4", &[self.rows, self.width], self.rows * self.width, Self::HEADER)?;
        let write = |file: &mut AtomicFile| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)
        };
        write(&mut self.file).map_err(|e| Error::io("writing", &self.path, e))?;
        self.file.commit()
    }
}
