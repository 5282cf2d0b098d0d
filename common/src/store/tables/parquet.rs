//! Parquet through polars: read by column and by rows, written whole or one row group after the other.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use polars::frame::DataFrame;
use polars::io::parquet::write::BatchedWriter;
use polars::prelude as pl;
use polars::prelude::SerReader;
use serde_json::Value;

use super::arrays::{self, Cells};
use super::{Column, ColumnKind, Table, missing};
use crate::durable::{AtomicFile, Written};
use crate::error::{Error, Result};
use crate::store::map::Mapped;

/// Rows of a row group where a whole table is written.
const GROUP_ROWS: usize = 1 << 16;

/// A parquet file with a checked schema, ready to be read in parts.
#[derive(Debug)]
pub struct ParquetFile {
    path: PathBuf,
    schema: Vec<(String, ColumnKind)>,
    /// Columns of the schema that polars' frames cannot hold here.
    odd: Vec<String>,
    /// Columns of other types: name, with a dot before each part of a structure, and type.
    others: Vec<(String, String)>,
    /// Those of them that hold points in time, which may be names of rows.
    moments: Vec<String>,
    rows: usize,
    index: Vec<String>,
    counter: Option<Counter>,
    /// Whether missing values are NaN, or empty texts, instead of errors.
    holes: bool,
}

/// Row labels of a pandas frame that are a mere count, of which the file says where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Name of the labels, where they have one.
    pub name: Option<String>,
    /// Label of the first row.
    pub start: i64,
    /// From one row to the next.
    pub step: i64,
}

impl Counter {
    /// From what pandas wrote: `{"kind": "range", "name": null, "start": 0, "stop": 10, "step": 1}`.
    fn of(value: &Value) -> Option<Self> {
        let (start, step) = (value["start"].as_i64()?, value["step"].as_i64()?);
        (value["kind"] == "range").then(|| Self { name: value["name"].as_str().map(str::to_owned), start, step })
    }

    /// The labels of some rows.
    pub fn labels(&self, rows: usize) -> Vec<i64> {
        (0..rows as i64).map(|row| self.start + row * self.step).collect()
    }
}

impl ParquetFile {
    /// Reads the schema and the number of rows.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing or damaged. Columns of types that Podium does not know are no error
    /// until they are asked for.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        // Folders and pipes are told apart here, with the same words as everywhere.
        Mapped::open(&path)?;
        let found = guarded(&path, || {
            let mut reader = pl::ParquetReader::new(open(&path)?);
            let rows = reader.num_rows().map_err(|e| damaged(&path, &e))?;
            let fields = reader.schema().map_err(|e| damaged(&path, &e))?;
            let (mut schema, mut odd, mut others, mut moments) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for (name, field) in fields.iter() {
                moments.extend(arrays::moment(&field.dtype).map(|_| name.to_string()));
                match arrays::kind_of(&field.dtype) {
                    Some((kind, plain)) => {
                        schema.push((name.to_string(), kind));
                        odd.extend((!plain).then(|| name.to_string()));
                    }
                    None => arrays::leaves(name, &field.dtype, &mut others),
                }
            }
            let metadata = reader.get_metadata().map_err(|e| damaged(&path, &e))?;
            let texts = metadata.key_value_metadata().iter().flatten();
            let pandas = texts.filter(|pair| pair.key == "pandas").find_map(|pair| pair.value.as_deref());
            let pandas: Option<Value> = pandas.and_then(|text| serde_json::from_str(text).ok());
            let index = pandas.iter().flat_map(|value| value["index_columns"].as_array()).flatten();
            // An index that is a mere count is stored as an object, not as the name of a column.
            let counter = index.clone().find_map(Counter::of);
            let index = index.filter_map(|name| name.as_str().map(str::to_owned)).collect();
            Ok(Self { path: path.clone(), schema, odd, others, moments, rows, index, counter, holes: false })
        })?;
        Ok(found)
    }

    /// The columns that are the row labels of a pandas frame.
    pub fn index(&self) -> &[String] {
        &self.index
    }

    /// The row labels of a pandas frame that are a mere count; they are no column.
    pub fn counter(&self) -> Option<&Counter> {
        self.counter.as_ref()
    }

    /// Takes missing numbers and truths for NaN, the column being one of floats then, and missing texts for empty ones.
    #[must_use]
    pub fn with_holes(mut self) -> Self {
        self.holes = true;
        self
    }

    /// The path as given to [`ParquetFile::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Columns of dates or times, which [`ParquetFile::read_ids`] reads as texts.
    pub fn moments(&self) -> &[String] {
        &self.moments
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Names and types of the columns in file order; those of types that Podium does not know are left out.
    pub fn schema(&self) -> &[(String, ColumnKind)] {
        &self.schema
    }

    /// Whether there is a column of this name; a field of a structure is `column.field`.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// Whether the cells of a column are lists, or of another type that no column of a [`Table`] has.
    pub fn is_nested(&self, name: &str) -> bool {
        self.others.iter().any(|(known, _)| known == name)
    }

    /// Names of the columns that are structures.
    pub fn structures(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.others.iter().filter_map(|(name, _)| Some(name.split_once('.')?.0.to_owned())).collect();
        names.dedup();
        names
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.schema.iter().map(|(name, _)| name.as_str()).chain(self.others.iter().map(|(name, _)| name.as_str()))
    }

    /// Reads rows of the named columns, in the order asked for; for `None` all columns in file order whose type Podium
    /// knows.
    pub fn read(&self, columns: Option<&[&str]>, rows: Range<usize>) -> Result<Table> {
        let names: Vec<&str> = match columns {
            Some(names) => names.to_vec(),
            None => self.schema.iter().map(|(name, _)| name.as_str()).collect(),
        };
        for name in &names {
            if self.schema.iter().any(|(known, _)| known == name) {
                continue;
            }
            return Err(match self.others.iter().find(|(known, _)| known.split('.').next() == Some(name)) {
                Some((_, dtype)) => {
                    let problem = format!("column `{name}` has the type {dtype}, expected numbers, bools or texts");
                    Error::input(&self.path, problem)
                }
                None => missing(&self.path, name, self.names()),
            });
        }
        let end = rows.end.min(self.rows);
        let length = end.saturating_sub(rows.start);
        let (odd, plain): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| self.odd.iter().any(|odd| odd == *name));
        guarded(&self.path, || {
            let mut frame = if plain.is_empty() {
                None
            } else {
                let frame = pl::ParquetReader::new(open(&self.path)?)
                    .with_columns(Some(plain.iter().map(ToString::to_string).collect()))
                    .with_slice(Some((rows.start, length)))
                    .set_rechunk(true)
                    .finish()
                    .map_err(|e| damaged(&self.path, &e))?;
                Some(frame)
            };
            let mut table = Table { path: self.path.clone(), ..Table::default() };
            for name in &names {
                let column = match &mut frame {
                    Some(frame) if !odd.contains(name) => {
                        // Taken out one by one, so that a large table does not lie in memory twice.
                        let series = frame.drop_in_place(name).map_err(|e| damaged(&self.path, &e))?;
                        self.converted(name, series.as_materialized_series())?
                    }
                    _ => match self.cells(&[*name], rows.start..end)?.pop() {
                        Some(Cells::Values(column)) => column,
                        _ => Column::F64(Vec::new()),
                    },
                };
                if column.len() != length {
                    let problem = format!("column `{name}` has {} rows, expected {length}", column.len());
                    return Err(Error::input(&self.path, problem));
                }
                table.push(*name, column)?;
            }
            Ok(table)
        })
    }

    /// Reads rows of columns whose cells may be lists and that may be fields of structures: `photons.t`.
    ///
    /// # Errors
    /// [`Error::Input`] for a column that is missing or holds anything but numbers, bools, texts or lists of them.
    pub fn cells(&self, names: &[&str], rows: Range<usize>) -> Result<Vec<Cells>> {
        if let Some(name) = names.iter().find(|name| !self.has(name)) {
            return Err(missing(&self.path, name, self.names()));
        }
        guarded(&self.path, || {
            let mut reader = pl::ParquetReader::new(open(&self.path)?);
            let schema = reader.schema().map_err(|e| damaged(&self.path, &e))?;
            let metadata = reader.get_metadata().map_err(|e| damaged(&self.path, &e))?.clone();
            arrays::read(&self.path, &schema, &metadata, names, rows.start..rows.end.min(self.rows))
        })
    }

    /// A column of which values are missing.
    fn with_missing(&self, name: &str, series: &pl::Series) -> Result<Column> {
        let bad = |e: pl::PolarsError| damaged(&self.path, &e);
        macro_rules! floats {
            ($array:expr) => {
                Column::F64($array.map_err(bad)?.iter().map(|v| v.map_or(f64::NAN, |v| v as f64)).collect())
            };
        }
        Ok(match series.dtype() {
            pl::DataType::Int64 => floats!(series.i64()),
            pl::DataType::Int32 => floats!(series.i32()),
            pl::DataType::Int16 => floats!(series.i16()),
            pl::DataType::Int8 => floats!(series.i8()),
            pl::DataType::UInt64 => floats!(series.u64()),
            pl::DataType::UInt32 => floats!(series.u32()),
            pl::DataType::UInt16 => floats!(series.u16()),
            pl::DataType::UInt8 => floats!(series.u8()),
            pl::DataType::Boolean => {
                let truths = series.bool().map_err(bad)?;
                Column::F64(truths.iter().map(|v| v.map_or(f64::NAN, |v| f64::from(u8::from(v)))).collect())
            }
            pl::DataType::String => {
                Column::Text(series.str().map_err(bad)?.iter().map(|v| v.unwrap_or_default().to_owned()).collect())
            }
            other => return Err(Error::input(&self.path, format!("column `{name}` has the type {other}"))),
        })
    }

    /// A column of row names: as [`ParquetFile::read`], but whole numbers beyond 63 bits are texts of their digits, and points
    /// in time those that csv has.
    ///
    /// # Errors
    /// As [`ParquetFile::read`].
    pub fn read_ids(&self, name: &str) -> Result<Column> {
        if self.moments.iter().any(|moment| moment == name)
            && let Some(Cells::Values(column)) = self.cells(&[name], 0..self.rows)?.pop()
        {
            return Ok(column);
        }
        if self.odd.iter().any(|odd| odd == name) || !self.schema.iter().any(|(known, _)| known == name) {
            return self.read(Some(&[name]), 0..self.rows)?.take(name);
        }
        guarded(&self.path, || {
            let frame = pl::ParquetReader::new(open(&self.path)?)
                .with_columns(Some(vec![name.to_string()]))
                .set_rechunk(true)
                .finish()
                .map_err(|e| damaged(&self.path, &e))?;
            let series = frame.column(name).map_err(|e| damaged(&self.path, &e))?.as_materialized_series();
            match series.u64() {
                Ok(wide) if series.null_count() == 0 && wide.iter().flatten().any(|id| i64::try_from(id).is_err()) => {
                    Ok(Column::Text(wide.iter().flatten().map(|id| id.to_string()).collect()))
                }
                _ => self.converted(name, series),
            }
        })
    }

    fn converted(&self, name: &str, series: &pl::Series) -> Result<Column> {
        let bad = |e: pl::PolarsError| damaged(&self.path, &e);
        let nulls = series.null_count();
        if nulls > 0 && !matches!(series.dtype(), pl::DataType::Float64 | pl::DataType::Float32) {
            if self.holes {
                return self.with_missing(name, series);
            }
            let first = (0..series.len()).find(|&row| series.get(row).is_ok_and(|value| value.is_null())).unwrap_or(0);
            let problem = format!("row {first}, column `{name}`: the value is missing ({nulls} in all)");
            return Err(Error::input(&self.path, problem));
        }
        macro_rules! filled {
            ($array:expr, $missing:expr) => {{
                let array = $array;
                match array.cont_slice() {
                    Ok(values) => values.to_vec(),
                    Err(_) => array.iter().map(|v| v.unwrap_or($missing)).collect(),
                }
            }};
        }
        Ok(match series.dtype() {
            pl::DataType::Float64 => Column::F64(filled!(series.f64().map_err(bad)?, f64::NAN)),
            pl::DataType::Float32 => Column::F32(filled!(series.f32().map_err(bad)?, f32::NAN)),
            pl::DataType::Int64 => Column::I64(filled!(series.i64().map_err(bad)?, 0)),
            pl::DataType::Int32 => Column::I32(filled!(series.i32().map_err(bad)?, 0)),
            pl::DataType::Int16 => Column::I16(filled!(series.i16().map_err(bad)?, 0)),
            pl::DataType::Int8 => Column::I16(series.i8().map_err(bad)?.iter().flatten().map(i16::from).collect()),
            pl::DataType::UInt8 => Column::I16(series.u8().map_err(bad)?.iter().flatten().map(i16::from).collect()),
            pl::DataType::UInt16 => Column::I32(series.u16().map_err(bad)?.iter().flatten().map(i32::from).collect()),
            pl::DataType::UInt32 => Column::I64(series.u32().map_err(bad)?.iter().flatten().map(i64::from).collect()),
            pl::DataType::UInt64 => {
                let wide = series.u64().map_err(bad)?.iter().flatten().map(i64::try_from).collect::<Result<_, _>>();
                Column::I64(wide.map_err(|_| Error::input(&self.path, format!("column `{name}` exceeds 63 bits")))?)
            }
            pl::DataType::Boolean => Column::Bool(series.bool().map_err(bad)?.iter().flatten().collect()),
            pl::DataType::String => {
                Column::Text(series.str().map_err(bad)?.iter().flatten().map(str::to_owned).collect())
            }
            other => return Err(Error::input(&self.path, format!("column `{name}` has the type {other}"))),
        })
    }
}

/// Reads a whole file, or the named columns of it in the order asked for.
pub fn read_parquet(path: impl AsRef<Path>, columns: Option<&[&str]>) -> Result<Table> {
    ParquetFile::open(path)?.read(columns, 0..usize::MAX)
}

/// Writes a whole table. Equal content gives equal bytes.
pub fn write_parquet(path: impl AsRef<Path>, table: &Table) -> Result<Written> {
    let mut writer = ParquetWriter::create(path, &table.schema())?;
    writer.append(table)?;
    writer.finish()
}

/// Writes a table block by block; memory holds one block. Each block becomes row groups of its own.
pub struct ParquetWriter {
    path: PathBuf,
    schema: Vec<(String, ColumnKind)>,
    writer: BatchedWriter<Shared>,
    file: Shared,
}

/// polars keeps the writer that it is given, so the file is shared with it until the end.
#[derive(Clone)]
struct Shared(Arc<Mutex<AtomicFile>>);

impl Write for Shared {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

impl ParquetWriter {
    /// Opens a file for rows of a schema.
    pub fn create(path: impl AsRef<Path>, schema: &[(String, ColumnKind)]) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = Shared(Arc::new(Mutex::new(AtomicFile::create(&path)?)));
        let fields = schema.iter().map(|(name, kind)| {
            let dtype = match kind {
                ColumnKind::F64 => pl::DataType::Float64,
                ColumnKind::F32 => pl::DataType::Float32,
                ColumnKind::I64 => pl::DataType::Int64,
                ColumnKind::I32 => pl::DataType::Int32,
                ColumnKind::I16 => pl::DataType::Int16,
                ColumnKind::Bool => pl::DataType::Boolean,
                ColumnKind::Text => pl::DataType::String,
            };
            pl::Field::new(name.as_str().into(), dtype)
        });
        let writer = pl::ParquetWriter::new(file.clone())
            .with_compression(pl::ParquetCompression::Snappy)
            .batched(&pl::Schema::from_iter(fields))
            .map_err(|e| failed(&path, &e))?;
        Ok(Self { path, schema: schema.to_vec(), writer, file })
    }

    /// Appends rows; the columns must be those of the schema, in its order.
    pub fn append(&mut self, table: &Table) -> Result<()> {
        let fits = table.columns().iter().map(Column::kind).eq(self.schema.iter().map(|(_, kind)| *kind))
            && table.names().iter().eq(self.schema.iter().map(|(name, _)| name));
        if !fits {
            return Err(Error::failed(format!("writing `{}`: the rows have other columns", self.path.display())));
        }
        for begin in (0..table.rows()).step_by(GROUP_ROWS) {
            let rows = begin..(begin + GROUP_ROWS).min(table.rows());
            let columns = table.names().iter().zip(table.columns());
            let columns = columns.map(|(name, column)| series(name, column, rows.clone())).collect();
            let frame = DataFrame::new(rows.len(), columns).map_err(|e| failed(&self.path, &e))?;
            self.writer.write_batch(&frame).map_err(|e| failed(&self.path, &e))?;
        }
        Ok(())
    }

    /// Publishes the file.
    pub fn finish(self) -> Result<Written> {
        self.writer.finish().map_err(|e| failed(&self.path, &e))?;
        drop(self.writer);
        let file = Arc::try_unwrap(self.file.0)
            .map_err(|_| Error::failed(format!("writing `{}`: the file is still in use", self.path.display())))?;
        file.into_inner().unwrap_or_else(PoisonError::into_inner).commit()
    }
}

fn series(name: &str, column: &Column, rows: Range<usize>) -> pl::Column {
    use polars::prelude::NamedFrom;
    let name = name.into();
    match column {
        Column::F64(v) => pl::Series::new(name, &v[rows]),
        Column::F32(v) => pl::Series::new(name, &v[rows]),
        Column::I64(v) => pl::Series::new(name, &v[rows]),
        Column::I32(v) => pl::Series::new(name, &v[rows]),
        Column::I16(v) => pl::Series::new(name, &v[rows]),
        Column::Bool(v) => pl::Series::new(name, &v[rows]),
        Column::Text(v) => pl::Series::new(name, &v[rows]),
    }
    .into()
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::opening(path, e))
}

/// What polars says of a file that it cannot read. A file that uses something unusual is not called damaged.
pub(super) fn damaged(path: &Path, error: &pl::PolarsError) -> Error {
    let text = error.to_string();
    let unusual = ["not supported", "not yet", "unsupported", "FeatureNotActive", "NotYetImplemented", "encrypt"];
    let hint = if unusual.iter().any(|word| text.to_lowercase().contains(&word.to_lowercase())) {
        "the file uses something that is not read here; write it again with another compression or encoding"
    } else if text.contains("duplicate") {
        "write it again with a name of its own for each column"
    } else {
        "the file is damaged or no parquet file; make it again"
    };
    Error::input(path, format!("reading parquet: {text}")).hint(hint)
}

/// An error of the file system keeps its kind; everything else is ours.
fn failed(path: &Path, error: &pl::PolarsError) -> Error {
    match error {
        pl::PolarsError::IO { error, .. } => {
            let source = error.raw_os_error().map_or_else(
                || std::io::Error::new(error.kind(), error.to_string()),
                std::io::Error::from_raw_os_error,
            );
            Error::io("writing", path, source)
        }
        other => Error::failed(format!("writing `{}`: {other}", path.display())),
    }
}

/// polars panics on some damaged files; that is a damaged file like any other.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::input(path, "reading parquet: the file is damaged").hint("make or download the file again"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize) -> Table {
        let mut table = Table::new();
        table.push("id", Column::Text((0..rows).map(|i| format!("row_{i}")).collect())).unwrap();
        table.push("f64", Column::F64((0..rows).map(|i| i as f64 / 3.0).collect())).unwrap();
        table.push("f32", Column::F32((0..rows).map(|i| i as f32 / 3.0).collect())).unwrap();
        table.push("i64", Column::I64((0..rows).map(|i| -(i as i64) << 33).collect())).unwrap();
        table.push("i32", Column::I32((0..rows).map(|i| i as i32).collect())).unwrap();
        table.push("i16", Column::I16((0..rows).map(|i| i as i16).collect())).unwrap();
        table.push("bool", Column::Bool((0..rows).map(|i| i % 3 == 0).collect())).unwrap();
        table
    }

    #[test]
    fn two_columns_of_one_name_are_not_called_damage() {
        let error = pl::PolarsError::Duplicate("column with name 'time' has more than one occurrence".into());
        let told = damaged(Path::new("a.parquet"), &error);
        assert!(told.hint_text().is_some_and(|hint| hint.contains("a name of its own")), "{told:?}");
    }

    #[test]
    fn all_types_survive_whole_and_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let whole = table(70_000);
        let first = write_parquet(&path, &whole).unwrap();
        let read = read_parquet(&path, None).unwrap();
        assert_eq!((read.names(), read.columns()), (whole.names(), whole.columns()));
        assert_eq!(write_parquet(folder.path().join("y.parquet"), &whole).unwrap().blake3, first.blake3);

        let file = ParquetFile::open(&path).unwrap();
        assert_eq!((file.rows(), file.schema()), (70_000, &whole.schema()[..]));
        let part = file.read(Some(&["i32", "id"]), 65_530..65_540).unwrap();
        assert_eq!(part.names(), ["i32", "id"]);
        assert_eq!(part.columns()[0], Column::I32((65_530..65_540).collect()));
        assert_eq!(part.texts("id").unwrap()[9], "row_65539");
        assert_eq!(file.read(None, 70_000..80_000).unwrap().rows(), 0);
    }

    #[test]
    fn blocks_appended_one_by_one_are_one_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let block = table(10);
        let mut writer = ParquetWriter::create(&path, &block.schema()).unwrap();
        for _ in 0..3 {
            writer.append(&block).unwrap();
        }
        assert!(writer.append(&Table::new()).is_err());
        writer.finish().unwrap();
        let read = read_parquet(&path, Some(&["f64"])).unwrap();
        assert_eq!(read.rows(), 30);
        assert_eq!(read.f64("f64").unwrap()[20..], block.f64("f64").unwrap()[..]);
    }

    #[test]
    fn missing_values_are_nan_in_floats_and_errors_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let columns = vec![
            polars::prelude::NamedFrom::new("f".into(), [Some(1.0f64), None]),
            polars::prelude::NamedFrom::new("i".into(), [Some(1i64), None]),
        ];
        let columns = columns.into_iter().map(|s: pl::Series| s.into()).collect();
        let mut frame = DataFrame::new(2, columns).unwrap();
        let mut bytes = Vec::new();
        pl::ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        crate::durable::write(&path, &bytes).unwrap();
        let table = read_parquet(&path, Some(&["f"])).unwrap();
        assert!(table.f64("f").unwrap()[0] == 1.0 && table.f64("f").unwrap()[1].is_nan());
        let error = read_parquet(&path, None).unwrap_err().to_string();
        assert!(error.ends_with("row 1, column `i`: the value is missing (1 in all)"), "{error}");
        let table = ParquetFile::open(&path).unwrap().with_holes().read(None, 0..9).unwrap();
        assert!(table.f64("i").unwrap()[0] == 1.0 && table.f64("i").unwrap()[1].is_nan());
    }

    #[test]
    fn ids_beyond_the_numbers_of_this_machine_are_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let columns = vec![
            polars::prelude::NamedFrom::new("wide".into(), [u64::MAX, 7]),
            polars::prelude::NamedFrom::new("narrow".into(), [8u64, 7]),
        ];
        let columns = columns.into_iter().map(|s: pl::Series| s.into()).collect();
        let mut frame = DataFrame::new(2, columns).unwrap();
        let mut bytes = Vec::new();
        pl::ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        crate::durable::write(&path, &bytes).unwrap();
        let file = ParquetFile::open(&path).unwrap();
        assert_eq!(file.read_ids("wide").unwrap(), Column::Text(vec!["18446744073709551615".into(), "7".into()]));
        assert_eq!(file.read_ids("narrow").unwrap(), Column::I64(vec![8, 7]));
        assert!(file.read(Some(&["wide"]), 0..2).is_err());
    }

    #[test]
    fn a_missing_column_and_a_damaged_file_are_input_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        write_parquet(&path, &table(3)).unwrap();
        let error = read_parquet(&path, Some(&["f63"])).unwrap_err();
        assert_eq!(error.hint_text().as_deref(), Some("did you mean `f64`?"));
        crate::durable::write(&path, b"PAR1 but no more").unwrap();
        assert!(matches!(read_parquet(&path, None), Err(Error::Input { .. })));
    }
}
