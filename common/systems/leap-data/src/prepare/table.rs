//! The validation table: samples before normalisation and weighting, f64, with the column names of the csv files.

use std::path::Path;

use common::Result;
use common::durable::Written;
use common::store::tables::{Column, ColumnKind, ParquetWriter, Table};

use crate::columns;
use crate::raw::block::{Block, WIDTH};

/// Name of the file below the stage's folder.
const FILE: &str = "valid_table.parquet";
/// Rows of a row group: 924 columns of them are 30 MB.
const GROUP_ROWS: usize = 4096;

/// Writes `sample_id` (`train_0`, `train_1`, ...), 556 inputs and 368 targets, in groups of rows.
pub struct TableWriter {
    writer: ParquetWriter,
    pending: Vec<f64>,
    rows: usize,
}

impl TableWriter {
    /// Opens the table in the stage's folder.
    pub fn create(folder: &Path) -> Result<Self> {
        let names = columns::csv_inputs().iter().chain(columns::submission());
        let numbers = names.map(|name| ((*name).to_string(), ColumnKind::F64));
        let schema: Vec<_> = std::iter::once(("sample_id".to_string(), ColumnKind::Text)).chain(numbers).collect();
        let writer = ParquetWriter::create(folder.join(FILE), &schema)?;
        Ok(Self { writer, pending: Vec::new(), rows: 0 })
    }

    /// Appends the rows of a block.
    pub fn append(&mut self, block: &Block) -> Result<()> {
        self.pending.extend_from_slice(&block.values);
        if self.pending.len() >= GROUP_ROWS * WIDTH { self.flush() } else { Ok(()) }
    }

    /// Publishes the table; its path counts from the stage's folder.
    pub fn finish(mut self) -> Result<Written> {
        self.flush()?;
        let mut written = self.writer.finish()?;
        written.path = FILE.into();
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        let rows = self.pending.len() / WIDTH;
        if rows == 0 {
            return Ok(());
        }
        let mut table = Table::new();
        table.push("sample_id", Column::Text((self.rows..self.rows + rows).map(|i| format!("train_{i}")).collect()))?;
        for (i, name) in columns::csv_inputs().iter().chain(columns::submission()).enumerate() {
            let column = self.pending.iter().skip(i).step_by(WIDTH).copied().collect();
            table.push(*name, Column::F64(column))?;
        }
        self.writer.append(&table)?;
        self.rows += rows;
        self.pending.clear();
        Ok(())
    }
}
