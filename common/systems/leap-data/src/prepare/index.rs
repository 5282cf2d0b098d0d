//! The sampling index of ADAM's third data version: which rows of each month are trained on, and in which order.

use std::collections::BTreeMap;
use std::path::Path;

use common::durable::Written;
use common::store::tensors::{Declaration, Dtype, TensorFile, TensorWriter};
use common::{Error, Result, seed};
use rand::Rng;

use crate::raw::month::Month;

/// Path of the index below the stage's folder.
pub const FILE: &str = "a/v3_index.safetensors";

/// Draws the index: per month a shuffle of all row numbers of which the first `fraction` is kept.
///
/// Differs: upstream drew with NumPy's seed 1103, one month after the other in an unknown order of months; here each
/// month has its own stream (`v3_index`, PCG64), so that the draw of a month does not depend on which others exist.
pub fn draw(folder: &Path, months: &BTreeMap<Month, u64>, fraction: f64, run_seed: u64) -> Result<Written> {
    let kept = |rows: u64| (fraction * rows as f64) as usize;
    let declared: Vec<_> =
        months.iter().map(|(m, &rows)| Declaration::new(m.short(), Dtype::I64, &[kept(rows)])).collect();
    let mut writer = TensorWriter::create(folder.join(FILE), &declared, None)?;
    for (month, &rows) in months {
        let mut order: Vec<i64> = (0..rows as i64).collect();
        let mut rng = seed::rng_for(run_seed, "v3_index", u64::from(month.index()));
        for i in (1..order.len()).rev() {
            // Multiply-shift instead of a library's range, whose algorithm may change between versions.
            let j = ((u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64) as usize;
            order.swap(i, j);
        }
        writer.append_elements(&month.short(), &order[..kept(rows)])?;
    }
    writer.finish()
}

/// Takes over a given index, checked against the rows of each prepared month. Months that are not prepared are left out.
pub fn take(folder: &Path, path: &Path, months: &BTreeMap<Month, u64>) -> Result<Written> {
    let index = read(path)?;
    let mut chosen = Vec::new();
    for (name, rows) in &index {
        let month =
            Month::parse(name).ok_or_else(|| Error::input(path, format!("`{name}` is no month like `01_02`")))?;
        let Some(&available) = months.get(&month) else {
            tracing::warn!("{}: month {name} is not prepared, its {} rows are left out", path.display(), rows.len());
            continue;
        };
        if let Some(bad) = rows.iter().find(|r| **r < 0 || **r as u64 >= available) {
            let problem = format!("month `{name}` asks for row {bad}, but that month has {available} rows");
            return Err(Error::input(path, problem)
                .hint("prepare all time steps of the month (`train.netcdf.stride=1`, all files present)"));
        }
        chosen.push((month.short(), rows));
    }
    let declared: Vec<_> =
        chosen.iter().map(|(name, rows)| Declaration::new(name, Dtype::I64, &[rows.len()])).collect();
    let mut writer = TensorWriter::create(folder.join(FILE), &declared, None)?;
    for (name, rows) in chosen {
        writer.append_elements(&name, rows)?;
    }
    writer.finish()
}

/// Reads an index file: safetensors (i32 or i64) or the published pickle.
pub fn read(path: &Path) -> Result<BTreeMap<String, Vec<i64>>> {
    let wrong = |name: &str, found: &str| {
        Error::input(path, format!("`{name}` is {found}, expected integers in one dimension"))
    };
    if path.extension().is_some_and(|e| e == "safetensors") {
        let file = TensorFile::open(path)?;
        let mut index = BTreeMap::new();
        for name in file.names() {
            let rows = match (file.dtype(name)?, file.shape(name)?.len()) {
                (Dtype::I64, 1) => file.i64(name)?.to_vec(),
                (Dtype::I32, 1) => file.i32(name)?.iter().map(|r| i64::from(*r)).collect(),
                (dtype, n) => return Err(wrong(name, &format!("{dtype} in {n} dimensions"))),
            };
            index.insert(name.to_string(), rows);
        }
        return Ok(index);
    }
    super::pickled::read_index(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_index_holds_distinct_rows_and_does_not_depend_on_other_months() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Month { year: 1, month: 2 }, Month { year: 3, month: 4 });
        draw(folder.path(), &BTreeMap::from([(one, 1000), (two, 77)]), 0.65, 7).unwrap();
        let both = read(&folder.path().join(FILE)).unwrap();
        draw(folder.path(), &BTreeMap::from([(two, 77)]), 0.65, 7).unwrap();
        let alone = read(&folder.path().join(FILE)).unwrap();
        assert_eq!(both["03_04"], alone["03_04"]);
        assert_eq!((both["01_02"].len(), both["03_04"].len()), (650, 50));
        let mut sorted = both["01_02"].clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 650);
        assert_ne!(both["01_02"], sorted);
    }

    #[test]
    fn an_index_beyond_the_month_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let month = Month { year: 1, month: 2 };
        draw(folder.path(), &BTreeMap::from([(month, 100)]), 1.0, 7).unwrap();
        let given = folder.path().join("given.safetensors");
        common::durable::write(&given, &std::fs::read(folder.path().join(FILE)).unwrap()).unwrap();
        take(folder.path(), &given, &BTreeMap::from([(month, 100)])).unwrap();
        let error = take(folder.path(), &given, &BTreeMap::from([(month, 60)])).unwrap_err().to_string();
        assert!(error.contains("`01_02`") && error.contains("60 rows"), "{error}");
    }
}
