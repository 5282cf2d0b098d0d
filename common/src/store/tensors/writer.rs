//! Writing safetensors files, whole or row by row in memory that does not grow.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::METADATA_KEY;
use crate::durable::{AtomicFile, Written};
use crate::error::{Error, Result};
use crate::store::canonical_json;
use crate::store::dtype::{Dtype, Element};
use crate::store::map::bytes_of;

/// Rows of one tensor are collected up to this size before they are written at their place.
const BUFFER_BYTES: usize = 1 << 18;

/// A tensor to be written.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Unique name.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Shape; empty for a scalar.
    pub shape: &'a [usize],
    /// Content: little-endian, row-major.
    pub bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// A view of numbers in memory.
    pub fn of<T: Element>(name: &'a str, shape: &'a [usize], elements: &'a [T]) -> Self {
        Self { name, dtype: T::DTYPE, shape, bytes: bytes_of(elements) }
    }
}

/// What a tensor will be: everything but its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Unique name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
}

impl Declaration {
    /// Declares a tensor.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: &[usize]) -> Self {
        Self { name: name.into(), dtype, shape: shape.to_vec() }
    }
}

/// Writes tensors under `path`. The bytes depend on content and metadata only, not on the order of `tensors`.
pub fn write(path: impl AsRef<Path>, tensors: &[TensorView<'_>], metadata: Option<&Value>) -> Result<Written> {
    let declarations: Vec<_> = tensors.iter().map(|t| Declaration::new(t.name, t.dtype, t.shape)).collect();
    let mut writer = TensorWriter::create(path, &declarations, metadata)?;
    // In file order, so that nothing seeks.
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_unstable_by_key(|t| placing(t.dtype, t.name));
    for tensor in order {
        writer.append(tensor.name, tensor.bytes)?;
    }
    writer.finish()
}

/// Writes tensors piece by piece: declare all of them, append rows to each in any order, finish.
///
/// Memory stays at a quarter of a MiB a tensor, whatever the tensors' sizes, and at most one more for the hash where it borders on the
/// one before.
pub struct TensorWriter {
    path: PathBuf,
    file: AtomicFile,
    position: u64,
    slots: BTreeMap<String, Slot>,
}

struct Slot {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Where the next flushed byte goes.
    next: u64,
    end: u64,
    pending: Vec<u8>,
}

impl TensorWriter {
    /// Opens the file and writes its header.
    ///
    /// # Errors
    /// [`Error::Failed`] for a name declared twice or a shape whose size overflows, [`Error::Io`] from the system.
    pub fn create(path: impl AsRef<Path>, tensors: &[Declaration], metadata: Option<&Value>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let bad = |problem: String| Error::failed(format!("writing `{}`: {problem}", path.display()));
        let mut order: Vec<_> = tensors.iter().collect();
        order.sort_unstable_by_key(|t| placing(t.dtype, &t.name));
        let mut slots = BTreeMap::new();
        let mut offset = 0u64;
        for tensor in order {
            let size = tensor
                .dtype
                .bytes_for(&tensor.shape)
                .ok_or_else(|| bad(format!("tensor `{}` has the impossible shape {:?}", tensor.name, tensor.shape)))?;
            let end = offset
                .checked_add(size as u64)
                .ok_or_else(|| bad(format!("the tensors up to `{}` are too large for a file", tensor.name)))?;
            let slot = Slot { dtype: tensor.dtype, shape: tensor.shape.clone(), next: offset, end, pending: vec![] };
            if tensor.name == "__metadata__" || slots.insert(tensor.name.clone(), slot).is_some() {
                return Err(bad(format!("tensor `{}` is declared twice or reserved", tensor.name)));
            }
            offset = end;
        }
        let header = header(&slots, metadata);
        let begin = 8 + header.len() as u64;
        for slot in slots.values_mut() {
            slot.next += begin;
            slot.end += begin;
        }
        let mut file = AtomicFile::create(&path)?;
        file.write_all(&(header.len() as u64).to_le_bytes())
            .and_then(|()| file.write_all(header.as_bytes()))
            .map_err(|e| Error::io("writing", &path, e))?;
        Ok(Self { path, file, position: begin, slots })
    }

    /// Appends raw content (little-endian, row-major) to a tensor.
    pub fn append(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = &self.path;
        let Some(slot) = self.slots.get_mut(name) else {
            return Err(Error::failed(format!("writing `{}`: tensor `{name}` was not declared", path.display())));
        };
        let room = slot.end - slot.next - slot.pending.len() as u64;
        if bytes.len() as u64 > room {
            let problem =
                format!("tensor `{name}` {:?} has room for {room} more bytes, got {}", slot.shape, bytes.len());
            return Err(Error::failed(format!("writing `{}`: {problem}", path.display())));
        }
        if slot.pending.len() + bytes.len() <= BUFFER_BYTES {
            slot.pending.extend_from_slice(bytes);
            return Ok(());
        }
        slot.flush(&mut self.file, &mut self.position)
            .and_then(|()| slot.put(bytes, &mut self.file, &mut self.position))
            .map_err(|e| Error::io("writing", path, e))
    }

    /// Appends numbers to a tensor of their type.
    pub fn append_elements<T: Element>(&mut self, name: &str, elements: &[T]) -> Result<()> {
        if let Some(slot) = self.slots.get(name)
            && slot.dtype != T::DTYPE
        {
            let problem = format!("tensor `{name}` was declared as {}, got {}", slot.dtype, T::DTYPE);
            return Err(Error::failed(format!("writing `{}`: {problem}", self.path.display())));
        }
        self.append(name, bytes_of(elements))
    }

    /// Publishes the file.
    ///
    /// # Errors
    /// [`Error::Failed`] where a tensor did not get all its rows: then nothing is published.
    pub fn finish(mut self) -> Result<Written> {
        for (name, slot) in &mut self.slots {
            slot.flush(&mut self.file, &mut self.position).map_err(|e| Error::io("writing", &self.path, e))?;
            if slot.next != slot.end {
                let missing = slot.end - slot.next;
                let problem = format!("tensor `{name}` {:?} lacks {missing} bytes", slot.shape);
                return Err(Error::failed(format!("writing `{}`: {problem}", self.path.display())));
            }
        }
        self.file.commit()
    }
}

impl Slot {
    fn flush(&mut self, file: &mut AtomicFile, position: &mut u64) -> std::io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.put(&pending, file, position)?;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], file: &mut AtomicFile, position: &mut u64) -> std::io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if *position != self.next {
            file.seek(SeekFrom::Start(self.next))?;
        }
        file.write_all(bytes)?;
        self.next += bytes.len() as u64;
        *position = self.next;
        Ok(())
    }
}

/// Order of the data: wide elements first, so that everything is aligned without holes; then by name.
fn placing(dtype: Dtype, name: &str) -> (std::cmp::Reverse<usize>, &str) {
    (std::cmp::Reverse(dtype.size()), name)
}

/// The header, padded with spaces so that the data begins at a multiple of eight.
fn header(slots: &BTreeMap<String, Slot>, metadata: Option<&Value>) -> String {
    let mut entries = Vec::with_capacity(slots.len() + 1);
    if let Some(metadata) = metadata {
        let text = Value::String(canonical_json(metadata));
        entries.push(format!(r#""__metadata__":{{"{METADATA_KEY}":{text}}}"#));
    }
    for (name, slot) in slots {
        let shape: Vec<_> = slot.shape.iter().map(usize::to_string).collect();
        entries.push(format!(
            r#"{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}}"#,
            Value::String(name.clone()),
            slot.dtype,
            shape.join(","),
            slot.next,
            slot.end
        ));
    }
    let mut header = format!("{{{}}}", entries.join(","));
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    header
}

#[cfg(test)]
mod tests {
    use super::super::TensorFile;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_written_is_read_back_aligned_and_without_copies() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let flags = [1u8, 0, 1];
        let tensors = [
            TensorView { name: "flags", dtype: Dtype::Bool, shape: &[3], bytes: &flags },
            TensorView::of("b", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]),
            TensorView::of("a", &[], &[7i64]),
            TensorView::of("empty", &[0, 5], &[0.0f64; 0]),
        ];
        let metadata = json!({"z": 1, "a": {"y": [1.5, null], "b": "\"quoted\""}});
        let first = write(&path, &tensors, Some(&metadata)).unwrap();
        let file = TensorFile::open(&path).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b", "empty", "flags"]);
        assert_eq!(file.f32("b").unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(file.i64("a").unwrap(), [7]);
        assert_eq!(file.shape("empty").unwrap(), [0, 5]);
        assert_eq!(file.bytes("flags").unwrap(), flags);
        assert_eq!(file.metadata(), Some(&metadata));
        for name in ["a", "b"] {
            assert_eq!(file.bytes(name).unwrap().as_ptr() as usize % 8, 0);
        }
        let mut turned = tensors;
        turned.reverse();
        let sorted = json!({"a": {"b": "\"quoted\"", "y": [1.5, null]}, "z": 1});
        assert_eq!(write(&path, &turned, Some(&sorted)).unwrap().blake3, first.blake3);
    }

    #[test]
    fn rows_appended_in_turns_give_the_same_bytes_as_one_write() {
        let folder = tempfile::tempdir().unwrap();
        let inputs: Vec<f32> = (0..70_000 * 3).map(|i| i as f32).collect();
        let ids: Vec<i32> = (0..70_000).collect();
        let whole = [TensorView::of("inputs", &[70_000, 3], &inputs), TensorView::of("ids", &[70_000], &ids)];
        let whole = write(folder.path().join("whole"), &whole, None).unwrap();
        let declared =
            [Declaration::new("ids", Dtype::I32, &[70_000]), Declaration::new("inputs", Dtype::F32, &[70_000, 3])];
        let mut writer = TensorWriter::create(folder.path().join("rows"), &declared, None).unwrap();
        for (rows, ids) in inputs.chunks(3 * 999).zip(ids.chunks(999)) {
            writer.append_elements("inputs", rows).unwrap();
            writer.append_elements("ids", ids).unwrap();
        }
        assert_eq!(writer.finish().unwrap().blake3, whole.blake3);
    }

    #[test]
    fn missing_surplus_and_mistyped_rows_are_errors_and_publish_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let declared = [Declaration::new("a", Dtype::F32, &[2])];
        let mut writer = TensorWriter::create(&path, &declared, None).unwrap();
        assert!(writer.append_elements("a", &[1.0f64]).unwrap_err().to_string().contains("declared as F32, got F64"));
        assert!(writer.append_elements("b", &[1.0f32]).unwrap_err().to_string().contains("`b` was not declared"));
        assert!(writer.append_elements("a", &[1.0f32; 3]).unwrap_err().to_string().contains("room for 8 more bytes"));
        writer.append_elements("a", &[1.0f32]).unwrap();
        assert!(writer.finish().unwrap_err().to_string().contains("lacks 4 bytes"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let twice = [declared[0].clone(), declared[0].clone()];
        assert!(TensorWriter::create(&path, &twice, None).is_err());
    }
}
