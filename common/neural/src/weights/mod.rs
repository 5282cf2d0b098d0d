//! Reading, checking and writing weights, also those of other code.
//!
//! `tch`'s own loading casts to the file's dtype, broadcasts, and ignores what it does not know. Here nothing is
//! broadcast or skipped in silence: every difference is reported by name, and unless the caller allowed it by name,
//! nothing is changed at all. What training scripts put around a network's names (`module.`, `_orig_mod.`, `model.`, the
//! entry `state_dict` or `net`), other names for the same network, and half precision are understood, and said.

mod names;
mod source;
mod strict;
mod write;

use std::path::Path;

use common::store::tensors::{Dtype, TensorFile};
use common::{Error, Result};
use serde_json::Value;
use tch::{Kind, Tensor};

pub use names::Dialect;
pub use strict::{Allow, Choice, Report, load_strict};
pub use write::{export, export_lightning, save};

/// Prefix that data-parallel training puts before every name.
const MODULE: &str = "module.";

/// All tensors of a weights file (safetensors, or what `torch.save` wrote), on the CPU, in the order of the file. A
/// `module.` before every name is stripped. Nothing in the file is ever run.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let tensors = source::main_tensors(path.as_ref())?;
    if !tensors.iter().all(|(name, _)| name.starts_with(MODULE)) {
        return Ok(tensors);
    }
    Ok(tensors.into_iter().map(|(name, tensor)| (name[MODULE.len()..].to_string(), tensor)).collect())
}

/// The metadata of a safetensors file written by [`save`]: what the checkpoint was trained as.
pub fn metadata(path: impl AsRef<Path>) -> Result<Option<Value>> {
    Ok(TensorFile::open(path)?.metadata().cloned())
}

/// The tensors of a file that belong to one network.
#[derive(Debug)]
pub struct Found {
    /// Under the network's names, of the network's types.
    pub tensors: Vec<(String, Tensor)>,
    /// The names for the network that the file uses, where they are not ours.
    pub dialect: Option<&'static str>,
    /// What was done on the way: a prefix that was stripped, types that were widened.
    pub notes: Vec<String>,
}

/// Reads the tensors of `targets` from a file of any code: finds the dictionary and the prefix that hold them, translates
/// other names ([`Allow::dialects`]), widens half precision. Says what it did. Nothing is compared yet.
///
/// # Errors
/// [`Error::Input`] where the file cannot be read, or where two places of it hold such a network and none was chosen.
pub fn read_for(targets: &[(String, Tensor)], path: impl AsRef<Path>, allow: &Allow) -> Result<Found> {
    let path = path.as_ref();
    let found = source::entries(path, |entries| {
        let all: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        let place = names::place(path, &all, targets, allow)?;
        let mut notes = place.notes;
        let (mut tensors, mut widened) = (Vec::new(), std::collections::BTreeMap::new());
        for (at, name) in place.chosen {
            let mut tensor = entries[at].tensor(path)?;
            if let Some(dialect) = place.dialect {
                tensor = (dialect.value)(&name, tensor);
            }
            let target = targets.iter().find(|(own, _)| *own == name).map(|(_, target)| target.kind());
            if target == Some(Kind::Float) && matches!(tensor.kind(), Kind::Half | Kind::BFloat16 | Kind::Double) {
                *widened.entry(entries[at].dtype.name()).or_insert(0) += 1;
                tensor = tensor.to_kind(Kind::Float);
            }
            tensors.push((name, tensor));
        }
        for (kind, count) in widened {
            let what = if kind == Dtype::F64.name() { "rounded" } else { "widened" };
            notes.push(format!("{count} tensors {what} from {kind} to F32"));
        }
        Ok(Found { tensors, dialect: place.dialect.map(|d| d.name), notes })
    })?;
    if !found.notes.is_empty() {
        tracing::info!("`{}`: {}", path.display(), found.notes.join("; "));
    }
    Ok(found)
}

/// Reads a weights file and copies it into `targets`: [`read_for`], then [`load_strict`]. Differences are an input error.
pub fn load(targets: &[(String, Tensor)], path: impl AsRef<Path>, allow: &Allow) -> Result<Report> {
    let path = path.as_ref();
    let found = read_for(targets, path, allow)?;
    load_strict(targets, &found.tensors, allow).map_err(|error| in_file(path, error))
}

/// An error about tensors as one about their file.
pub fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::Failed { message, hint } => Error::Input { path: path.to_path_buf(), problem: message, hint },
        other => other,
    }
}

fn kind_of(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::U8 => Kind::Uint8,
        Dtype::I16 => Kind::Int16,
        Dtype::Bool => Kind::Bool,
    }
}

fn dtype_of(kind: Kind) -> Option<Dtype> {
    Dtype::ALL.into_iter().find(|&dtype| kind_of(dtype) == kind)
}

#[cfg(test)]
mod foreign_tests;
#[cfg(test)]
mod tests;
