//! Writing weights.

use std::borrow::Cow;
use std::path::Path;

use common::durable::Written;
use common::store::pickle::{NamedTensor, write_lightning, write_state_dict};
use common::store::tensors::{Dtype, TensorView};
use common::{Error, Result};
use serde_json::Value;
use tch::Tensor;

use super::dtype_of;
use super::strict::by_name;
use crate::errors::Doing;

/// Writes tensors of any device as safetensors. Equal tensors and metadata give equal bytes, in whatever order.
pub fn save(path: impl AsRef<Path>, tensors: &[(String, Tensor)], metadata: Option<&Value>) -> Result<Written> {
    let contents = contents(&path, tensors)?;
    let views: Vec<TensorView> = contents
        .iter()
        .map(|c| TensorView { name: c.name, dtype: c.dtype, shape: &c.shape, bytes: &c.bytes })
        .collect();
    common::store::tensors::write(path, &views, metadata)
}

/// Writes tensors as a state dict that `torch.load` reads, in the given order. Equal content gives equal bytes.
pub fn export(path: impl AsRef<Path>, tensors: &[(String, Tensor)]) -> Result<Written> {
    write_state_dict(&path, &named(&path, tensors)?)
}

/// The same as PyTorch Lightning's checkpoint, with `more` beside its `state_dict`: hyper-parameters as plain values.
pub fn export_lightning(path: impl AsRef<Path>, tensors: &[(String, Tensor)], more: &Value) -> Result<Written> {
    write_lightning(&path, &named(&path, tensors)?, more)
}

fn named<'a>(path: impl AsRef<Path>, tensors: &'a [(String, Tensor)]) -> Result<Vec<NamedTensor<'a>>> {
    let named = contents(&path, tensors)?
        .into_iter()
        .map(|c| NamedTensor {
            name: Cow::Borrowed(c.name),
            dtype: c.dtype,
            shape: c.shape,
            bytes: Cow::Owned(c.bytes),
        })
        .collect();
    Ok(named)
}

/// A tensor's content on the CPU.
pub(super) struct Content<'a> {
    pub name: &'a str,
    dtype: Dtype,
    shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

pub(super) fn contents<'a>(path: impl AsRef<Path>, tensors: &'a [(String, Tensor)]) -> Result<Vec<Content<'a>>> {
    by_name(tensors, "the weights")?;
    let content = |(name, tensor): &'a (String, Tensor)| {
        let dtype = dtype_of(tensor.kind()).ok_or_else(|| {
            Error::failed(format!("writing `{}`: `{name}` is {:?}", path.as_ref().display(), tensor.kind()))
        })?;
        let mut bytes = vec![0; tensor.numel() * dtype.size()];
        tensor
            .f_to_device(tch::Device::Cpu)
            .and_then(|t| t.f_contiguous())
            .and_then(|t| t.f_copy_data_u8(&mut bytes, tensor.numel()))
            .doing(format!("writing `{}`: copying `{name}`", path.as_ref().display()))?;
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        Ok(Content { name, dtype, shape, bytes })
    };
    tensors.iter().map(content).collect()
}
