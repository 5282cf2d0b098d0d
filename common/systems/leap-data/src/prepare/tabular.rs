//! Sets from Kaggle's csv files: training and validation rows of `train.csv`, the test set of `test.csv`.

use std::collections::BTreeMap;
use std::path::Path;

use common::cli::signals;
use common::durable::Written;
use common::{Error, Result};

use super::Plan;
use super::output::{Beside, Kind, SetWriter};
use super::scale::{self, Rows, Scaler};
use super::table::TableWriter;
use crate::columns::{self, INPUTS};
use crate::raw::block::{Block, WIDTH};
use crate::raw::csv::{self, CsvFile, CsvRows};

/// Opens `train.csv`: inputs and targets.
pub fn open_train(path: &Path, threads: usize) -> Result<CsvFile> {
    let columns: Vec<&str> = columns::csv_inputs().iter().chain(columns::submission()).copied().collect();
    CsvFile::open(path, &columns, "train_", threads)
}

/// Opens `test.csv`: inputs only.
pub fn open_test(path: &Path, threads: usize) -> Result<CsvFile> {
    CsvFile::open(path, columns::csv_inputs(), "test_", threads)
}

/// One chain's view of a block from a csv file: inputs rounded as published.
pub fn rounded(scaler: &Scaler, block: &Block) -> Block {
    let mut block = block.clone();
    for row in block.values.chunks_exact_mut(WIDTH) {
        scale::round_csv_inputs(scaler.chain(), row);
    }
    block
}

/// Writes the rows `from..to` of `train.csv` as a training or validation set.
pub fn write_set(
    plan: &Plan,
    file: &CsvFile,
    name: &str,
    kind: Kind,
    range: (u64, u64),
    table: bool,
) -> Result<BTreeMap<String, Written>> {
    let rows = (range.1 - range.0) as usize;
    let mut set = SetWriter::create(&plan.folder, name, kind, rows, &plan.scalers, Beside::default())?;
    let mut table = table.then(|| TableWriter::create(&plan.folder)).transpose()?;
    let keep_block = table.is_some();
    let work = |rows: CsvRows| {
        let block = Block { rows: rows.ids.len(), values: rows.values };
        let scaled: Vec<Rows> = plan.scalers.iter().map(|s| s.scale(&rounded(s, &block))).collect();
        Ok((scaled, block.rows, keep_block.then_some(block)))
    };
    file.map(range, plan.threads, work, |(scaled, rows, block)| {
        signals::check(super::SAVED)?;
        plan.bar.tick(rows as u64);
        set.append(&scaled)?;
        match (&mut table, block) {
            (Some(table), Some(block)) => table.append(&block),
            _ => Ok(()),
        }
    })?;
    let mut outputs = set.finish()?;
    if let Some(table) = table {
        outputs.insert("valid_table".into(), table.finish()?);
    }
    Ok(outputs)
}

/// Writes the test set: normalised inputs, ids, and the tendencies that are known exactly.
pub fn write_test(plan: &Plan, file: &CsvFile, path: &Path, to: u64) -> Result<BTreeMap<String, Written>> {
    if to == 0 {
        return Err(Error::input(path, "has no rows after the header"));
    }
    let mut set = SetWriter::create(&plan.folder, "test", Kind::Test, to as usize, &plan.scalers, Beside::default())?;
    let work = |rows: CsvRows| {
        let mut all = Vec::with_capacity(plan.scalers.len());
        let mut linear = Vec::with_capacity(plan.scalers.len());
        for scaler in &plan.scalers {
            let mut inputs = vec![0.0; rows.values.len()];
            let mut known = Vec::with_capacity(rows.ids.len() * 17);
            let mut held = vec![0.0; INPUTS];
            for (row, out) in rows.values.chunks_exact(INPUTS).zip(inputs.chunks_exact_mut(INPUTS)) {
                held.copy_from_slice(row);
                scale::round_csv_inputs(scaler.chain(), &mut held);
                scaler.inputs(&held, out);
                known.extend(scale::linear(scaler.chain(), row));
            }
            all.push(Rows { inputs, targets: Vec::new() });
            linear.push(known);
        }
        Ok((all, rows.ids, linear))
    };
    let mut seen = Vec::with_capacity(to as usize);
    file.map((0, to), plan.threads, work, |(rows, ids, linear)| {
        signals::check(super::SAVED)?;
        plan.bar.tick(ids.len() as u64);
        set.append(&rows)?;
        set.append_test(&ids, &linear)?;
        seen.extend(ids);
        Ok(())
    })?;
    csv::check_unique(path, &seen, "test_")?;
    set.finish()
}
