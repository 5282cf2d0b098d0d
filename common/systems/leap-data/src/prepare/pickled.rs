//! The sampling index as published: a pickled dict of NumPy integer arrays, read without running anything.

use std::collections::BTreeMap;
use std::path::Path;

use common::store::pickle::{Checkpoint, Column};
use common::{Error, Result};

/// Reads `{"01_02": int array, ...}`.
pub fn read_index(path: &Path) -> Result<BTreeMap<String, Vec<i64>>> {
    let file = Checkpoint::open(path)?;
    let mut index = BTreeMap::new();
    for (name, value) in file.value().entries() {
        let name = name.text()?.to_string();
        let array = value.array()?;
        match array.column {
            Column::Ints(rows) if array.shape.len() == 1 => index.insert(name, rows),
            _ => {
                let problem =
                    format!("`{name}` is an array of shape {:?}, expected integers in one dimension", array.shape);
                return Err(Error::input(path, problem));
            }
        };
    }
    if index.is_empty() {
        return Err(Error::input(path, "names no months, expected a dict of integer arrays by month"));
    }
    Ok(index)
}
