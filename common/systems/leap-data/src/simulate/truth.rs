//! The hidden truth of the test rows, for scoring submissions: `sample_id` and 368 un-weighted targets, f64.

use std::path::Path;

use common::Result;
use common::durable::Written;
use common::store::tables::{Column, ColumnKind, ParquetWriter, Table};

use super::kaggle::Draw;
use crate::columns::{self, INPUTS, TARGETS};
use crate::raw::block::WIDTH;
use common::ordered::ordered;

/// Rows of a row group.
const GROUP_ROWS: u64 = 4096;

/// Writes the targets of all rows of a draw, in submission order.
pub fn write(path: &Path, draw: &Draw<'_>) -> Result<Written> {
    let names = columns::submission();
    let numbers = names.iter().map(|name| ((*name).to_string(), ColumnKind::F64));
    let schema: Vec<_> = std::iter::once(("sample_id".to_string(), ColumnKind::Text)).chain(numbers).collect();
    let mut writer = ParquetWriter::create(path, &schema)?;
    let group = |index: usize| {
        let first = index as u64 * GROUP_ROWS;
        let rows = first..(first + GROUP_ROWS).min(draw.rows);
        let mut row = vec![0.0; WIDTH];
        let mut values = Vec::with_capacity((rows.end - rows.start) as usize * TARGETS);
        for i in rows.clone() {
            draw.row(i, &mut row);
            values.extend_from_slice(&row[INPUTS..]);
        }
        Ok((rows.map(|i| draw.id(i)).collect::<Vec<_>>(), values))
    };
    let groups = draw.rows.div_ceil(GROUP_ROWS) as usize;
    ordered(groups, draw.threads, draw.threads, group, |_, (ids, values)| {
        let mut table = Table::new();
        table.push("sample_id", Column::Text(ids))?;
        for (i, name) in names.iter().enumerate() {
            table.push(*name, Column::F64(values.iter().skip(i).step_by(TARGETS).copied().collect()))?;
        }
        writer.append(&table)
    })?;
    writer.finish()
}
