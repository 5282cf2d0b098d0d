//! What a frame of polars cannot hold here: half floats, decimals, categories, points in time, and the lists and structures of nested
//! files. They are read as arrow arrays, one row group after the other.

use std::ops::Range;
use std::path::Path;

use pl::ArrowDataType as Type;
use polars::io::parquet::read::{_internal::to_deserializer, FileMetadata};
use polars::prelude as pl;
use polars_arrow::array::{Array, BooleanArray, ListArray, PrimitiveArray, StructArray, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowSchema, Field, TimeUnit};

use super::dates::{self, DAYS};
use super::{Column, ColumnKind};
use crate::error::{Error, Result};
use crate::store::map::Mapped;

/// A column whose cells are lists: those of row `i` are `values[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Lists {
    /// Where each row begins, and where the last one ends.
    pub offsets: Vec<usize>,
    /// The elements of all rows.
    pub values: Column,
}

/// A column of a nested file.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// A value a row.
    Values(Column),
    /// A list a row.
    Lists(Lists),
}

/// The type that a column is read as, and whether polars' frames hold it; `None` for types that Podium does not know.
pub(super) fn kind_of(dtype: &Type) -> Option<(ColumnKind, bool)> {
    Some(match dtype {
        Type::Float64 => (ColumnKind::F64, true),
        Type::Float32 => (ColumnKind::F32, true),
        Type::Int64 | Type::UInt32 | Type::UInt64 => (ColumnKind::I64, true),
        Type::Int32 | Type::UInt16 => (ColumnKind::I32, true),
        Type::Int16 | Type::Int8 | Type::UInt8 => (ColumnKind::I16, true),
        Type::Boolean => (ColumnKind::Bool, true),
        Type::Utf8 | Type::LargeUtf8 | Type::Utf8View => (ColumnKind::Text, true),
        Type::Float16 => (ColumnKind::F32, false),
        Type::Decimal(..) => (ColumnKind::F64, false),
        Type::Dictionary(_, values, _) => (kind_of(values)?.0, false),
        Type::Extension(extension) => (kind_of(&extension.inner)?.0, false),
        _ => return None,
    })
}

/// The unit of a type of points in time, and whether it tells the zone; those of a zone with summer time are not known.
pub(super) fn moment(dtype: &Type) -> Option<(i64, bool)> {
    Some(match dtype.to_storage() {
        Type::Date32 => (DAYS, false),
        Type::Date64 => (1000, false),
        Type::Timestamp(unit, zone) => {
            let utc = match zone.as_deref() {
                None => false,
                Some("UTC" | "+00:00") => true,
                Some(_) => return None,
            };
            let unit = match unit {
                TimeUnit::Second => 1,
                TimeUnit::Millisecond => 1000,
                TimeUnit::Microsecond => 1_000_000,
                TimeUnit::Nanosecond => 1_000_000_000,
            };
            (unit, utc)
        }
        _ => return None,
    })
}

/// Names and types of what a column of another type holds: itself, or the fields of a structure as `column.field`.
pub(super) fn leaves(name: &str, dtype: &Type, into: &mut Vec<(String, String)>) {
    match dtype.to_storage() {
        Type::Struct(fields) => fields.iter().for_each(|f| leaves(&format!("{name}.{}", f.name), &f.dtype, into)),
        other => into.push((name.to_owned(), word(other))),
    }
}

/// A type as a person would say it.
fn word(dtype: &Type) -> String {
    match dtype {
        Type::LargeList(field) | Type::List(field) => format!("list of {}", word(field.dtype.to_storage())),
        Type::Struct(_) => "struct".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Reads columns and fields by their dotted names; each column of the file is decoded once.
pub(super) fn read(
    path: &Path,
    schema: &ArrowSchema,
    metadata: &FileMetadata,
    names: &[&str],
    rows: Range<usize>,
) -> Result<Vec<Cells>> {
    let file = Mapped::open(path)?;
    let mut read: Vec<Option<Cells>> = vec![None; names.len()];
    let mut first = 0;
    for group in 0..metadata.row_groups.len() {
        let last = first + metadata.row_groups[group].num_rows();
        let part = rows.start.clamp(first, last) - first..rows.end.clamp(first, last) - first;
        first = last;
        // The first group in any case: it says what kind of cells there are.
        if part.is_empty() && read.iter().all(Option::is_some) {
            continue;
        }
        let mut roots: Vec<(&str, Box<dyn Array>)> = Vec::new();
        for (name, into) in names.iter().zip(&mut read) {
            let root = name.split('.').next().unwrap_or(name);
            if !roots.iter().any(|(known, _)| *known == root) {
                roots.push((root, decoded(&file, (schema, metadata), group, root)?));
            }
            let Some((_, array)) = roots.iter().find(|(known, _)| *known == root) else { continue };
            let array = array.sliced(part.start, part.len());
            let fields: Vec<&str> = name.split('.').skip(1).collect();
            let found = cells(field(array.as_ref(), &fields).as_deref())
                .map_err(|problem| Error::input(path, format!("column `{name}` {problem}")))?;
            *into = Some(match into.take() {
                None => found,
                Some(before) => joined(before, found),
            });
        }
    }
    // How points in time are written depends on all of them.
    let written = |(cells, name): (Option<Cells>, &&str)| match (cells, schema.get(name).map(|f| moment(&f.dtype))) {
        (Some(Cells::Values(Column::I64(counts))), Some(Some((unit, utc)))) => {
            Cells::Values(Column::Text(dates::texts(&counts, unit, utc)))
        }
        (cells, _) => cells.unwrap_or(Cells::Values(Column::F64(Vec::new()))),
    };
    Ok(read.into_iter().zip(names).map(written).collect())
}

/// One column of a row group.
fn decoded(
    file: &Mapped,
    (schema, metadata): (&ArrowSchema, &FileMetadata),
    group: usize,
    name: &str,
) -> Result<Box<dyn Array>> {
    let broken = |e: pl::PolarsError| super::parquet::damaged(file.path(), &e);
    let field = schema.get(name).ok_or_else(|| super::missing(file.path(), name, std::iter::empty()))?;
    // Categories are stored as their texts.
    let dtype = match &field.dtype {
        Type::Dictionary(_, values, _) => (**values).clone(),
        other => other.clone(),
    };
    let field = Field { dtype, ..field.clone() };
    let columns = metadata.row_groups[group].columns_under_root_iter(name).into_iter().flatten();
    let chunks = columns
        .map(|column| {
            let range = column.byte_range();
            let bytes = file.bytes().get(range.start as usize..range.end as usize);
            let bytes = bytes.ok_or_else(|| {
                let problem = format!("column `{name}` lies beyond the end of the file");
                Error::input(file.path(), problem).hint("the file is damaged; make it again")
            })?;
            Ok((column, bytes.to_vec().into()))
        })
        .collect::<Result<Vec<_>>>()?;
    let (mut arrays, _) = to_deserializer(chunks, field, None).map_err(broken)?;
    match (arrays.pop(), arrays.is_empty()) {
        (Some(array), true) => Ok(array),
        (Some(last), false) => {
            arrays.push(last);
            let parts: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            polars_arrow::compute::concatenate::concatenate(&parts).map_err(broken)
        }
        (None, _) => Err(Error::input(file.path(), format!("column `{name}` has no values"))),
    }
}

/// A field of a structure, down to the last name.
fn field(array: &dyn Array, names: &[&str]) -> Option<Box<dyn Array>> {
    let [name, rest @ ..] = names else { return Some(array.to_boxed()) };
    let structure = array.as_any().downcast_ref::<StructArray>()?;
    let place = structure.fields().iter().position(|field| field.name == *name)?;
    field(structure.values()[place].as_ref(), rest)
}

fn cells(array: Option<&dyn Array>) -> std::result::Result<Cells, String> {
    let array = array.ok_or("is no structure with that field")?;
    let Some(list) = array.as_any().downcast_ref::<ListArray<i64>>() else {
        return Ok(Cells::Values(values(array)?));
    };
    if list.null_count() > 0 {
        return Err(format!("lacks {} lists", list.null_count()));
    }
    let offsets = list.offsets().as_slice();
    let (begin, end) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    let values = values(list.values().sliced(begin, end - begin).as_ref())?;
    Ok(Cells::Lists(Lists { offsets: offsets.iter().map(|&o| o as usize - begin).collect(), values }))
}

/// The values of a flat array; missing ones are NaN among floats and an error elsewhere.
fn values(array: &dyn Array) -> std::result::Result<Column, String> {
    macro_rules! numbers {
        ($native:ty) => {
            array.as_any().downcast_ref::<PrimitiveArray<$native>>().map(|a| a.iter().map(|v| v.copied()))
        };
    }
    let dtype = array.dtype().to_storage();
    let nulls = array.null_count();
    let floats = matches!(dtype, Type::Float64 | Type::Float32 | Type::Float16 | Type::Decimal(..));
    if nulls > 0 && !floats {
        return Err(format!("lacks {nulls} values"));
    }
    let found = match dtype {
        Type::Float64 => numbers!(f64).map(|v| Column::F64(v.map(|v| v.unwrap_or(f64::NAN)).collect())),
        Type::Float32 => numbers!(f32).map(|v| Column::F32(v.map(|v| v.unwrap_or(f32::NAN)).collect())),
        Type::Float16 => {
            numbers!(pl::pf16).map(|v| Column::F32(v.map(|v| v.map_or(f32::NAN, |v| v.0.to_f32())).collect()))
        }
        Type::Decimal(_, scale) => numbers!(i128).map(|v| {
            let unit = 10f64.powi(*scale as i32);
            Column::F64(v.map(|v| v.map_or(f64::NAN, |v| v as f64 / unit)).collect())
        }),
        Type::Int64 | Type::Timestamp(..) | Type::Date64 => numbers!(i64).map(|v| Column::I64(v.flatten().collect())),
        Type::UInt32 => numbers!(u32).map(|v| Column::I64(v.flatten().map(i64::from).collect())),
        Type::UInt64 => match numbers!(u64) {
            None => None,
            Some(v) => {
                let wide = v.flatten().map(i64::try_from).collect::<std::result::Result<_, _>>();
                Some(Column::I64(wide.map_err(|_| "exceeds 63 bits".to_owned())?))
            }
        },
        Type::Date32 => numbers!(i32).map(|v| Column::I64(v.flatten().map(i64::from).collect())),
        Type::Int32 => numbers!(i32).map(|v| Column::I32(v.flatten().collect())),
        Type::UInt16 => numbers!(u16).map(|v| Column::I32(v.flatten().map(i32::from).collect())),
        Type::Int16 => numbers!(i16).map(|v| Column::I16(v.flatten().collect())),
        Type::Int8 => numbers!(i8).map(|v| Column::I16(v.flatten().map(i16::from).collect())),
        Type::UInt8 => numbers!(u8).map(|v| Column::I16(v.flatten().map(i16::from).collect())),
        Type::Boolean => array.as_any().downcast_ref::<BooleanArray>().map(|a| Column::Bool(a.values_iter().collect())),
        Type::Utf8View => {
            let texts = array.as_any().downcast_ref::<Utf8ViewArray>();
            texts.map(|a| Column::Text(a.values_iter().map(str::to_owned).collect()))
        }
        _ => None,
    };
    found.ok_or_else(|| format!("has the type {}, expected numbers, bools, texts or lists of them", word(dtype)))
}

fn joined(mut before: Cells, more: Cells) -> Cells {
    match (&mut before, more) {
        (Cells::Values(a), Cells::Values(b)) => a.append(b),
        (Cells::Lists(a), Cells::Lists(b)) => {
            let end = a.offsets.last().copied().unwrap_or(0);
            a.offsets.extend(b.offsets.iter().skip(1).map(|o| o + end));
            a.values.append(b.values);
        }
        // All row groups of a column have one type.
        _ => {}
    }
    before
}
