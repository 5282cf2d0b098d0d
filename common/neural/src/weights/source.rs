//! What lies in a weights file, before anything is known about the network that it is for.

use std::path::Path;

use common::store::pickle::{Checkpoint, NamedTensor};
use common::store::tensors::{Dtype, TensorFile};
use common::{Error, Result};
use tch::Tensor;

use super::kind_of;
use crate::errors::Doing;

/// A tensor of a file under its full name: the keys of all dictionaries around it, joined by dots.
pub struct Entry<'a> {
    pub name: &'a str,
    pub dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl Entry<'_> {
    /// A copy on the CPU. The number of bytes has been checked by the reader.
    pub fn tensor(&self, path: &Path) -> Result<Tensor> {
        let shape: Vec<i64> = self.shape.iter().map(|&n| n as i64).collect();
        Tensor::f_from_data_size(self.bytes, &shape, kind_of(self.dtype)).doing(format!(
            "`{}`: reading `{}`",
            path.display(),
            self.name
        ))
    }
}

/// Hands all tensors of a file to `take`, in the order of the file.
pub fn entries<R>(path: &Path, take: impl FnOnce(&[Entry]) -> Result<R>) -> Result<R> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => {
            let file = TensorFile::open(path)?;
            let entry =
                |name| Ok(Entry { name, dtype: file.dtype(name)?, shape: file.shape(name)?, bytes: file.bytes(name)? });
            take(&file.names().map(entry).collect::<Result<Vec<_>>>()?)
        }
        Some("pt" | "pth" | "ckpt" | "bin") => {
            let checkpoint = Checkpoint::open(path)?;
            let all = checkpoint.value().tensors()?;
            if all.is_empty() {
                // Says what stands there instead.
                checkpoint.tensors()?;
            }
            take(&all.iter().map(of).collect::<Vec<_>>())
        }
        _ => Err(Error::input(path, "not a weights file, expected `.safetensors`, `.pt`, `.pth` or `.ckpt`")),
    }
}

fn of<'a>(tensor: &'a NamedTensor) -> Entry<'a> {
    Entry { name: &tensor.name, dtype: tensor.dtype, shape: &tensor.shape, bytes: &tensor.bytes }
}

/// The tensors of the dictionary that usually is the network's ([`Checkpoint::tensors`]).
pub fn main_tensors(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let read = |entry: &Entry| Ok((entry.name.to_string(), entry.tensor(path)?));
    if path.extension().is_some_and(|e| e == "pt" || e == "pth" || e == "ckpt" || e == "bin") {
        let checkpoint = Checkpoint::open(path)?;
        return checkpoint.tensors()?.iter().map(|tensor| read(&of(tensor))).collect();
    }
    entries(path, |entries| entries.iter().map(read).collect())
}
