//! Predictions and truths as other programs write them: csv, parquet, npy, npz and safetensors files.

use std::path::Path;

use super::Table;
use crate::error::{Error, Result};
use crate::store::npy::{NpyArray, NpzFile};
use crate::store::tensors::{Dtype, TensorFile};
use crate::submission::{SubmissionFile, is_table};

/// What a user said about his files.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The column of the ids.
    pub id: Option<String>,
    /// The columns of the truth that are predicted.
    pub targets: Vec<String>,
    /// The column of the truth that weights its rows.
    pub weight: Option<String>,
    /// The column of the truth that numbers the folds.
    pub fold: Option<String>,
    /// The order of the classes of text labels.
    pub classes: Vec<String>,
    /// Rows that a member lacks are left out instead of refused.
    pub mask: bool,
    /// Rows are matched by their place, whatever ids there are.
    pub by_position: bool,
    /// Every column of the one file is a member.
    pub wide: bool,
    /// The columns of a member are quantiles or draws of the one target.
    pub samples: bool,
}

/// A file, opened as what it is.
#[allow(clippy::large_enum_variant, reason = "there are as many as members, and they are short-lived")]
pub enum Content {
    /// One of ours, or another safetensors file that looks like one.
    Ours(Table),
    /// Numbers without names, row-major, their columns, and ids where an archive has them.
    Array(Vec<f64>, usize, Option<Vec<i64>>),
    /// Named columns.
    Table(Box<SubmissionFile>),
}

/// Names under which an archive may hold what is wanted, the likeliest first.
fn names_of(truth: bool) -> &'static [&'static str] {
    if truth { &["targets", "target", "y_true", "y", "truth"] } else { &["predictions", "oof", "preds", "pred", "p"] }
}

impl Content {
    /// Opens a file; `truth` says what is looked for in it. `scratch` is a folder for temporaries.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is damaged or does not say which of its arrays is meant.
    pub fn open(path: &Path, truth: bool, scratch: &Path) -> Result<Self> {
        if is_table(path) {
            return Ok(Self::Table(Box::new(SubmissionFile::unnamed(path, scratch, true)?)));
        }
        match path.extension().and_then(|e| e.to_str()).unwrap_or_default() {
            "npy" => {
                let array = NpyArray::open(path)?;
                let columns = width(path, array.shape())?;
                Ok(Self::Array(array.to_f64(), columns, None))
            }
            "npz" => archive(path, truth),
            _ => tensors(path, truth),
        }
    }
}

fn width(path: &Path, shape: &[usize]) -> Result<usize> {
    match *shape {
        [rows] if rows > 0 => Ok(1),
        [rows, columns] if rows > 0 && columns > 0 => Ok(columns),
        _ => Err(Error::input(path, format!("the array has shape {shape:?}, expected [rows] or [rows, columns]"))),
    }
}

/// The wanted name among those of an archive: the only one, or the first known.
fn wanted<'a>(path: &Path, names: &[&'a str], truth: bool) -> Result<&'a str> {
    let known = names_of(truth);
    if let [only] = names {
        return Ok(only);
    }
    known.iter().find_map(|known| names.iter().find(|name| *name == known)).copied().ok_or_else(|| {
        Error::input(path, format!("holds the arrays `{}`, none of them `{}`", names.join("`, `"), known.join("`, `")))
            .hint(format!("call the array `{}`", known[0]))
    })
}

fn archive(path: &Path, truth: bool) -> Result<Content> {
    let file = NpzFile::open(path)?;
    let ids = ["id", "ids"].into_iter().find(|name| file.contains(name));
    let names: Vec<&str> = file.names().filter(|name| Some(*name) != ids).collect();
    let array = file.read(wanted(path, &names, truth)?)?;
    let columns = width(path, array.shape())?;
    let ids = ids.map(|name| file.read(name)?.to_i64()).transpose()?;
    let values = array.to_f64();
    if let Some(ids) = &ids
        && ids.len() != values.len() / columns
    {
        return Err(Error::input(path, format!("has {} ids for {} rows", ids.len(), values.len() / columns)));
    }
    Ok(Content::Array(values, columns, ids))
}

fn tensors(path: &Path, truth: bool) -> Result<Content> {
    let file = TensorFile::open(path)?;
    let names: Vec<&str> = file.names().collect();
    let ours = if truth { "targets" } else { "predictions" };
    let name = match names.as_slice() {
        [only] => only,
        _ => ours,
    };
    let plain = file.contains(name) && !matches!(file.dtype(name)?, Dtype::F32 | Dtype::F64);
    if name == ours && !plain {
        let table = if truth { Table::truth(path)? } else { Table::predictions(path)? };
        return Ok(Content::Ours(table));
    }
    let columns = width(path, file.shape(name)?)?;
    let values: Vec<f64> = match file.dtype(name)? {
        Dtype::F64 => file.f64(name)?.to_vec(),
        Dtype::F32 => file.f32(name)?.iter().map(|&v| f64::from(v)).collect(),
        Dtype::I64 => file.i64(name)?.iter().map(|&v| v as f64).collect(),
        Dtype::I32 => file.i32(name)?.iter().map(|&v| f64::from(v)).collect(),
        Dtype::U8 => file.u8(name)?.iter().map(|&v| f64::from(v)).collect(),
        other => {
            return Err(Error::input(path, format!("tensor `{name}` is {other}, expected F32, F64, I64, I32 or U8")));
        }
    };
    Ok(Content::Array(values, columns, None))
}
