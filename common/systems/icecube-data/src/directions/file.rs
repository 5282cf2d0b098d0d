//! Files of directions: text or parquet, with the columns that are known.

use std::path::Path;
use std::sync::Arc;

use common::store::Mapped;
use common::store::tables::{ColumnKind, CsvReader, CsvText, ParquetFile, Table};
use common::submission::is_parquet;
use common::{Error, Result};

/// The columns that every table of directions has.
pub const COLUMNS: [(&str, ColumnKind); 3] =
    [("event_id", ColumnKind::I64), ("azimuth", ColumnKind::F64), ("zenith", ColumnKind::F64)];

/// What a truth may tell beside the direction. Numbers are read as floats: pandas writes a column of integers with holes so.
pub const TOLD: [(&str, ColumnKind); 9] = [
    ("batch_id", ColumnKind::F64),
    ("pulses", ColumnKind::F64),
    ("first_pulse_index", ColumnKind::F64),
    ("last_pulse_index", ColumnKind::F64),
    ("kind", ColumnKind::Text),
    ("energy", ColumnKind::F64),
    ("vertex_x", ColumnKind::F64),
    ("vertex_y", ColumnKind::F64),
    ("vertex_z", ColumnKind::F64),
];

/// What a prediction may tell beside the direction.
pub const PREDICTED: [(&str, ColumnKind); 12] = [
    ("kappa", ColumnKind::F64),
    ("length", ColumnKind::F64),
    ("angle50", ColumnKind::F64),
    ("angle90", ColumnKind::F64),
    ("x", ColumnKind::F64),
    ("y", ColumnKind::F64),
    ("z", ColumnKind::F64),
    ("energy", ColumnKind::F64),
    ("vertex_x", ColumnKind::F64),
    ("vertex_y", ColumnKind::F64),
    ("vertex_z", ColumnKind::F64),
    ("track", ColumnKind::F64),
];

/// A csv file of directions with those of the other known columns that it has; a missing number is NaN.
pub fn csv(path: &Path, known: &[(&str, ColumnKind)]) -> Result<Table> {
    let text = Arc::new(CsvText::open(path)?);
    let has = |name: &str| text.header().iter().any(|column| column == name);
    let known = known.iter().filter(|(name, _)| has(name));
    let schema: Vec<(&str, ColumnKind)> = COLUMNS.iter().chain(known).copied().collect();
    CsvReader::over(text.clone(), &schema)?.with_holes().all()
}

/// Whether a name is that of a table as text, whatever stands between its fields, compressed or not.
pub fn is_csv(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    [".csv", ".tsv", ".txt"].iter().any(|end| plain.ends_with(end))
}

/// Whether a file is a table with these columns.
pub fn has(path: &Path, columns: &[&str]) -> bool {
    if is_csv(path) {
        let Ok(text) = CsvText::open(path) else { return false };
        columns.iter().all(|name| text.header().iter().any(|known| known == name))
    } else if is_parquet(path) {
        ParquetFile::open(path).is_ok_and(|file| columns.iter().all(|name| file.has(name)))
    } else {
        false
    }
}

/// A table of predictions: csv with its `known` columns, or a parquet file.
///
/// # Errors
/// [`Error::Input`] for a file that is neither, and for one of which columns say what another program calls a prediction.
pub fn read(path: &Path, known: &[(&str, ColumnKind)]) -> Result<Table> {
    let table = if is_csv(path) {
        let text = CsvText::open(path)?;
        demand_one_meaning(path, text.header())?;
        csv(path, known)?
    } else if is_parquet(path) {
        let file = ParquetFile::open(path)?;
        let all: Vec<String> = file.schema().iter().map(|(name, _)| name.clone()).collect();
        demand_one_meaning(path, &all)?;
        let mut names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        names.extend(known.iter().map(|(name, _)| *name).filter(|name| file.has(name)));
        file.read(Some(&names), 0..usize::MAX)?
    } else {
        // What lies in place of a file is named first.
        Mapped::open(path)?;
        return Err(Error::input(path, "is no table that is read here").hint("write it as csv (also .gz) or parquet"));
    };
    Ok(table)
}

/// Refuses a table that names its predictions otherwise: then `azimuth` and `zenith` are the truth beside them.
fn demand_one_meaning(path: &Path, names: &[String]) -> Result<()> {
    let ends = ["azimuth_pred", "zenith_pred", "dir_x_pred", "direction_x", "azimuth_kappa_pred", "zenith_kappa_pred"];
    let Some(other) = names.iter().find(|name| ends.contains(&name.as_str())) else { return Ok(()) };
    if !names.iter().any(|name| name == "azimuth") {
        return Ok(());
    }
    let problem = format!("has `{other}` beside `azimuth`, which then is the true direction, not the predicted one");
    Err(Error::input(path, problem).hint("keep the predicted angles alone, as `azimuth` and `zenith`"))
}
