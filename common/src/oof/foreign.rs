//! Predictions and truths as other programs write them: csv, parquet, npy, npz and safetensors files.

use std::io::Read;
use std::path::Path;

use super::Table;
use crate::error::{Error, Result};
use crate::store::Mapped;
use crate::store::npy::{NpyArray, NpzFile, npy_texts};
use crate::store::tables::Column;
use crate::store::tensors::{Dtype, TensorFile};
use crate::submission::{Ids, SubmissionFile, is_table};

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
    Array(Vec<f64>, usize, Option<Ids>),
    /// Labels without a name, and ids where an archive has them.
    Labels(Vec<String>, Option<Ids>),
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
        let table = || -> Result<Self> { Ok(Self::Table(Box::new(SubmissionFile::unnamed(path, scratch, true)?))) };
        if is_table(path) {
            return table();
        }
        match path.extension().and_then(|e| e.to_str()).unwrap_or_default() {
            "npy" => numpy(path),
            "npz" => archive(path, truth),
            "txt" => table(),
            "safetensors" => tensors(path, truth),
            // Told by what the file begins with.
            _ => match head(path)?.as_slice() {
                [b'P', b'A', b'R', b'1', ..] => table(),
                [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => numpy(path),
                [_, _, _, _, _, _, _, _, b'{', ..] => tensors(path, truth),
                [] | [b'<', ..] => tensors(path, truth),
                _ => {
                    // What lies in place of a file is named first.
                    Mapped::open(path)?;
                    Err(Error::input(path, "is no kind of file that is read here")
                        .hint("write it as csv (also .gz), parquet, npy, npz or safetensors"))
                }
            },
        }
    }
}

/// The first bytes of a file; none of one that is no plain file or empty.
fn head(path: &Path) -> Result<Vec<u8>> {
    let mut first = vec![];
    if path.is_file() {
        let file = std::fs::File::open(path).map_err(|e| Error::opening(path, e))?;
        file.take(16).read_to_end(&mut first).map_err(|e| Error::io("reading", path, e))?;
    }
    Ok(first)
}

fn numpy(path: &Path) -> Result<Content> {
    if let Some(texts) = npy_texts(path)? {
        return Ok(Content::Labels(texts, None));
    }
    let array = NpyArray::open(path)?;
    let columns = width(path, array.shape())?;
    Ok(Content::Array(array.to_f64(), columns, None))
}

fn width(path: &Path, shape: &[usize]) -> Result<usize> {
    match *shape {
        [rows] if rows > 0 => Ok(1),
        [rows, columns] if rows > 0 && columns > 0 => Ok(columns),
        _ => Err(Error::input(path, format!("the array has shape {shape:?}, expected [rows] or [rows, columns]"))
            .hint("save it as `array.reshape(rows, -1)`")),
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
    let named = ["id", "ids"].into_iter().find(|name| file.contains(name));
    let names: Vec<&str> = file.names().filter(|name| Some(*name) != named).collect();
    let name = wanted(path, &names, truth)?;
    let ids = match named {
        None => None,
        Some(name) => Some(match file.texts(name)? {
            Some(texts) => Ids::from(texts),
            None => match file.read(name)?.to_i64() {
                Ok(whole) => Ids::from(whole),
                Err(_) => Ids::of_column(Column::F64(file.read(name)?.to_f64()), name, path)?,
            },
        }),
    };
    let counted = |rows: usize| match &ids {
        Some(ids) if ids.len() != rows => {
            Err(Error::input(path, format!("has {} ids for {rows} rows", ids.len())).hint("write one id a row"))
        }
        _ => Ok(()),
    };
    if let Some(texts) = file.texts(name)? {
        counted(texts.len())?;
        return Ok(Content::Labels(texts, ids));
    }
    let array = file.read(name)?;
    let columns = width(path, array.shape())?;
    let values = array.to_f64();
    counted(values.len() / columns)?;
    Ok(Content::Array(values, columns, ids))
}

fn tensors(path: &Path, truth: bool) -> Result<Content> {
    let file = TensorFile::open(path)?;
    let names: Vec<&str> = file.names().collect();
    let ours = if truth { "targets" } else { "predictions" };
    let known = names_of(truth).iter().find(|known| names.contains(known));
    let name: &str = match (names.as_slice(), known) {
        _ if names.contains(&ours) => ours,
        ([only], _) => only,
        (_, Some(known)) => known,
        _ => {
            let problem = format!("has no tensor `{ours}`; it holds `{}`", names.join("`, `"));
            return Err(Error::input(path, problem).hint(format!("call the tensor `{ours}`")));
        }
    };
    if name == ours && matches!(file.dtype(name)?, Dtype::F32 | Dtype::F64) {
        let table = if truth { Table::truth(path)? } else { Table::predictions(path)? };
        return Ok(Content::Ours(table));
    }
    let columns = width(path, file.shape(name)?)?;
    let halves = || file.bytes(name).map(|bytes| bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)));
    let values: Vec<f64> = match file.dtype(name)? {
        Dtype::F64 => file.f64(name)?.to_vec(),
        Dtype::F32 => file.f32(name)?.iter().map(|&v| f64::from(v)).collect(),
        Dtype::F16 => halves()?.map(|bits| half::f16::from_bits(bits).to_f64()).collect(),
        Dtype::BF16 => halves()?.map(|bits| half::bf16::from_bits(bits).to_f64()).collect(),
        Dtype::I64 => file.i64(name)?.iter().map(|&v| v as f64).collect(),
        Dtype::I32 => file.i32(name)?.iter().map(|&v| f64::from(v)).collect(),
        Dtype::I16 => halves()?.map(|bits| f64::from(bits.cast_signed())).collect(),
        Dtype::U8 | Dtype::Bool => file.bytes(name)?.iter().map(|&v| f64::from(v)).collect(),
    };
    Ok(Content::Array(values, columns, None))
}
