//! Writing state dicts that `torch.load` reads, also with `weights_only=True`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::NamedTensor;
use crate::durable::{self, Written};
use crate::error::{Error, Result};
use crate::store::dtype::Dtype;
use crate::store::zip::ZipWriter;

/// Writes tensors as an ordered dictionary, in the given order. Equal content gives equal bytes.
///
/// # Errors
/// [`Error::Failed`] where a name appears twice or shape and bytes of a tensor do not fit, [`Error::Io`] from the system.
pub fn write_state_dict(path: impl AsRef<Path>, tensors: &[NamedTensor<'_>]) -> Result<Written> {
    write(path.as_ref(), tensors, b"\x80\x02", b".")
}

/// The same inside of what PyTorch Lightning calls a checkpoint: the entry `state_dict` of a mapping, beside the version
/// that its `load_from_checkpoint` asks for and the entries of `more`, plain values. Without the state of a trainer.
///
/// # Errors
/// As those of [`write_state_dict`].
pub fn write_lightning(path: impl AsRef<Path>, tensors: &[NamedTensor<'_>], more: &Value) -> Result<Written> {
    let mut before = b"\x80\x02}(".to_vec();
    for key in ["epoch", "global_step"] {
        text(&mut before, key);
        int(&mut before, 0);
    }
    text(&mut before, "pytorch-lightning_version");
    text(&mut before, "2.0.0");
    for (key, value) in more.as_object().into_iter().flatten() {
        text(&mut before, key);
        plain(&mut before, value);
    }
    text(&mut before, "state_dict");
    write(path.as_ref(), tensors, &before, b"u.")
}

/// A plain value.
fn plain(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(b'N'),
        Value::Bool(value) => out.push(if *value { 0x88 } else { 0x89 }),
        Value::String(value) => text(out, value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => {
                out.extend(b"\x8a\x08");
                out.extend(whole.to_le_bytes());
            }
            None => {
                out.push(b'G');
                out.extend(number.as_f64().unwrap_or(f64::NAN).to_be_bytes());
            }
        },
        Value::Array(items) => {
            out.extend(b"](");
            items.iter().for_each(|item| plain(out, item));
            out.push(b'e');
        }
        Value::Object(entries) => {
            out.extend(b"}(");
            for (key, value) in entries {
                text(out, key);
                plain(out, value);
            }
            out.push(b'u');
        }
    }
}

/// Writes the archive; `before` and `after` stand around the dictionary in the pickle.
fn write(path: &Path, tensors: &[NamedTensor<'_>], before: &[u8], after: &[u8]) -> Result<Written> {
    let mut names = BTreeSet::new();
    for tensor in tensors {
        let bad = |problem: String| {
            Error::failed(format!("writing `{}`: tensor `{}` {problem}", path.display(), tensor.name))
        };
        if !names.insert(&*tensor.name) {
            return Err(bad("appears twice".into()));
        }
        if tensor.dtype.bytes_for(&tensor.shape) != Some(tensor.bytes.len()) {
            return Err(bad(format!("has {} bytes, which {:?} does not fit", tensor.bytes.len(), tensor.shape)));
        }
    }
    let pickle = [before, &pickled(tensors), after].concat();
    durable::write_with(path, |out| {
        let mut zip = ZipWriter::new(out);
        zip.add("archive/data.pkl", &pickle)?;
        zip.add("archive/byteorder", b"little")?;
        for (index, tensor) in tensors.iter().enumerate() {
            zip.add(&format!("archive/data/{index}"), &tensor.bytes)?;
        }
        zip.add("archive/version", b"3\n")?;
        zip.finish()
    })
}

/// In protocol 2: `OrderedDict` of `_rebuild_tensor_v2` over one storage a tensor.
fn pickled(tensors: &[NamedTensor<'_>]) -> Vec<u8> {
    let mut out = b"ccollections\nOrderedDict\n)R(".to_vec();
    for (index, tensor) in tensors.iter().enumerate() {
        text(&mut out, &tensor.name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\n");
        out.extend(storage_class(tensor.dtype).as_bytes());
        out.push(b'\n');
        text(&mut out, &index.to_string());
        text(&mut out, "cpu");
        int(&mut out, tensor.bytes.len() / tensor.dtype.size());
        out.extend(b"tQ");
        int(&mut out, 0);
        sizes(&mut out, &tensor.shape);
        sizes(&mut out, &strides(&tensor.shape));
        // No gradient wanted, no hooks.
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.push(b'u');
    out
}

fn storage_class(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "FloatStorage",
        Dtype::F64 => "DoubleStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        Dtype::I64 => "LongStorage",
        Dtype::I32 => "IntStorage",
        Dtype::I16 => "ShortStorage",
        Dtype::U8 => "ByteStorage",
        Dtype::Bool => "BoolStorage",
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        // As torch counts: an empty dimension counts as one.
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

fn sizes(out: &mut Vec<u8>, values: &[usize]) {
    out.push(b'(');
    for &value in values {
        int(out, value);
    }
    out.push(b't');
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn int(out: &mut Vec<u8>, value: usize) {
    if let Ok(value) = u8::try_from(value) {
        out.extend([b'K', value]);
    } else if let Ok(value) = i32::try_from(value) {
        out.push(b'J');
        out.extend(value.to_le_bytes());
    } else {
        out.extend(b"\x8a\x08");
        out.extend((value as u64).to_le_bytes());
    }
}
