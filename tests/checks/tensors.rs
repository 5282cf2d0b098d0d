//! The tensors of one safetensors file, as stored, where the checks run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

/// Tensors by name.
pub struct Tensors {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

impl Tensors {
    /// Reads a whole file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
        let file = SafeTensors::deserialize(&bytes).with_context(|| format!("parsing `{}`", path.display()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let kind = match view.dtype() {
                Dtype::F64 => Kind::Double,
                Dtype::F32 => Kind::Float,
                Dtype::F16 => Kind::Half,
                Dtype::BF16 => Kind::BFloat16,
                Dtype::I64 => Kind::Int64,
                Dtype::I32 => Kind::Int,
                Dtype::I16 => Kind::Int16,
                Dtype::I8 => Kind::Int8,
                Dtype::U8 => Kind::Uint8,
                Dtype::BOOL => Kind::Bool,
                other => bail!("`{}`: `{name}` has the type {other:?}, which no check reads", path.display()),
            };
            let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
            let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)?;
            tensors.insert(name, tensor.f_to_device(super::device())?);
        }
        Ok(Self { path: path.to_path_buf(), tensors })
    }

    /// The tensor, as stored (shares memory with this one).
    pub fn get(&self, name: &str) -> Result<Tensor> {
        let found = self.tensors.get(name).map(Tensor::shallow_clone);
        found.ok_or_else(|| anyhow!("`{}` has no tensor `{name}`", self.path.display()))
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// All tensors whose names start with `prefix`, with the rest of the name, sorted.
    pub fn under(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let found = self.tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?, t)));
        found.map(|(name, t)| (name.to_owned(), t.shallow_clone())).collect()
    }

    /// All tensors, sorted by name.
    pub fn all(&self) -> Vec<(String, Tensor)> {
        self.under("")
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.get(name)?.size().iter().map(|&n| n as usize).collect())
    }

    /// All values of a tensor, row by row, as f64.
    pub fn f64s(&self, name: &str) -> Result<Vec<f64>> {
        Ok(Vec::try_from(self.get(name)?.to_kind(Kind::Double).flatten(0, -1))?)
    }

    /// All values of a tensor, row by row, as f32.
    pub fn f32s(&self, name: &str) -> Result<Vec<f32>> {
        Ok(Vec::try_from(self.get(name)?.to_kind(Kind::Float).flatten(0, -1))?)
    }

    /// All values of a tensor, row by row, as i64.
    pub fn i64s(&self, name: &str) -> Result<Vec<i64>> {
        Ok(Vec::try_from(self.get(name)?.to_kind(Kind::Int64).flatten(0, -1))?)
    }

    /// The only value of a tensor.
    pub fn scalar(&self, name: &str) -> Result<f64> {
        match self.f64s(name)?.as_slice() {
            [value] => Ok(*value),
            values => bail!("`{}`: `{name}` has {} values, expected one", self.path.display(), values.len()),
        }
    }
}
