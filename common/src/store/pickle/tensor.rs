//! Tensors of a checkpoint: where their storages lie in the file, and their elements in row-major order.

use std::borrow::Cow;
use std::collections::HashMap;

use super::machine::{Id, Node};
use super::{Checkpoint, DEPTH_LIMIT, Value};
use crate::error::Result;
use crate::store::dtype::Dtype;
use crate::store::zip::Zip;

/// What a tensor may have beyond its storage, in bytes: expanded tensors repeat elements.
const EXPANSION_LIMIT: usize = 64 << 20;

/// A tensor that was read from a checkpoint, or is to be written into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTensor<'a> {
    /// Name, nested names joined by dots.
    pub name: Cow<'a, str>,
    /// Element type.
    pub dtype: Dtype,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements: little-endian, row-major. A slice of the file where the tensor lies contiguous in it.
    pub bytes: Cow<'a, [u8]>,
}

/// A view into a storage, as the pickle has it.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) storage: Id,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Where the bytes of a storage lie in the file.
pub(super) type Storage = std::ops::Range<usize>;

impl Tensor {
    /// Checks that the view lies within a storage of so many elements.
    pub(super) fn check(&self, elements: u64) -> Result<(), String> {
        if self.shape.len() != self.strides.len() {
            return Err(format!("a tensor has {} sizes and {} strides", self.shape.len(), self.strides.len()));
        }
        if self.shape.contains(&0) {
            return Ok(());
        }
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = (size - 1).checked_mul(stride).and_then(|r| last.checked_add(r));
            last = reach.ok_or("the reach of a tensor overflows")?;
        }
        if last as u64 >= elements {
            return Err(format!(
                "a tensor of shape {:?} reaches element {last} of a storage of {elements} elements",
                self.shape
            ));
        }
        Ok(())
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 && stride != expected {
                return false;
            }
            expected = expected.saturating_mul(size);
        }
        true
    }
}

/// Finds every storage of the pickle in the archive and verifies its checksum.
pub(super) fn locate(nodes: &mut [Node], file: &[u8], zip: &Zip<'_>, folder: &str) -> Result<Vec<Storage>, String> {
    let mut places = Vec::new();
    let mut by_key: HashMap<Box<str>, (u32, u64)> = HashMap::new();
    for node in nodes {
        let Node::Storage { key, dtype, elements, place } = node else { continue };
        let bytes = elements.checked_mul(dtype.size() as u64).ok_or("the size of a storage overflows")?;
        let (index, found) = match by_key.get(key) {
            Some(known) => *known,
            None => {
                // torch never compresses, so a storage is a slice of the file.
                let content = zip.stored(&format!("{folder}data/{key}"))?;
                let found = content.len() as u64;
                let start = content.as_ptr() as usize - file.as_ptr() as usize;
                places.push(start..start + content.len());
                by_key.insert(key.clone(), ((places.len() - 1) as u32, found));
                ((places.len() - 1) as u32, found)
            }
        };
        if found != bytes {
            return Err(format!(
                "storage `{key}` claims {elements} {dtype} ({bytes} bytes), but its entry has {found}"
            ));
        }
        *place = index;
    }
    Ok(places)
}

impl<'a> Value<'a> {
    /// All tensors in and below this object, in file order, nested names joined by dots. Tensors inside of inert
    /// objects are left out.
    pub fn tensors(self) -> Result<Vec<NamedTensor<'a>>> {
        let mut found = Vec::new();
        let mut visits = 0;
        self.collect("", 0, &mut visits, &mut found)?;
        let mut names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(self.bad(format!("the tensor `{}` appears twice", pair[0])));
        }
        let mut total = 0;
        found.into_iter().map(|(name, value)| value.named(name, &mut total)).collect()
    }

    /// This object as one tensor.
    pub fn tensor(self) -> Result<NamedTensor<'a>> {
        if !matches!(self.node(), Node::Tensor(_)) {
            return Err(self.not("a tensor"));
        }
        self.named(String::new(), &mut 0)
    }

    fn collect(self, prefix: &str, depth: usize, visits: &mut usize, found: &mut Vec<(String, Self)>) -> Result<()> {
        *visits += 1;
        // Shared objects are visited as often as they are referred to, which a hostile file can make exponential.
        if depth > DEPTH_LIMIT || *visits > 1_000_000 {
            return Err(self.bad("the objects are nested too deeply or refer to each other".into()));
        }
        let below = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        match self.node() {
            Node::Tensor(_) => found.push((prefix.to_owned(), self)),
            Node::Dict(_) => {
                for (key, value) in self.entries() {
                    if !value.may_hold_tensors() {
                        continue;
                    }
                    let name = match key.node() {
                        Node::Text(text) => below(text),
                        Node::Int(number) => below(&number.to_string()),
                        // Other keys name no parameter.
                        _ => continue,
                    };
                    value.collect(&name, depth + 1, visits, found)?;
                }
            }
            Node::List(_) | Node::Tuple(_) => {
                for (index, value) in self.items().enumerate().filter(|(_, v)| v.may_hold_tensors()) {
                    value.collect(&below(&index.to_string()), depth + 1, visits, found)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn may_hold_tensors(self) -> bool {
        matches!(self.node(), Node::Tensor(_) | Node::Dict(_) | Node::List(_) | Node::Tuple(_))
    }

    /// `total` counts the bytes that were copied, over all tensors of a call.
    fn named(self, name: String, total: &mut usize) -> Result<NamedTensor<'a>> {
        let checkpoint: &'a Checkpoint = self.checkpoint;
        let Node::Tensor(tensor) = self.node() else { return Err(self.not("a tensor")) };
        let Node::Storage { dtype, place, .. } = checkpoint.node(tensor.storage) else {
            return Err(self.not("a tensor"));
        };
        let storage: &'a [u8] = &checkpoint.bytes()[checkpoint.storages[*place as usize].clone()];
        let too_large = || self.bad(format!("tensor `{name}` has the impossible shape {:?}", tensor.shape));
        let size = dtype.size();
        let bytes = dtype.bytes_for(&tensor.shape).ok_or_else(too_large)?;
        let begin = tensor.offset.saturating_mul(size);
        let bytes = if bytes == 0 {
            Cow::Borrowed(&[][..])
        } else if tensor.is_contiguous() {
            // Within the storage by `Tensor::check`.
            Cow::Borrowed(&storage[begin..begin + bytes])
        } else {
            *total = total.saturating_add(bytes);
            if *total > checkpoint.bytes().len().saturating_add(EXPANSION_LIMIT) {
                return Err(too_large());
            }
            Cow::Owned(gathered(tensor, size, storage, bytes))
        };
        Ok(NamedTensor { name: name.into(), dtype: *dtype, shape: tensor.shape.clone(), bytes })
    }
}

/// Copies a strided tensor into row-major order.
fn gathered(tensor: &Tensor, size: usize, storage: &[u8], bytes: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(bytes);
    let mut index = vec![0; tensor.shape.len()];
    let mut element = tensor.offset;
    loop {
        content.extend_from_slice(&storage[element * size..(element + 1) * size]);
        let mut axis = tensor.shape.len();
        loop {
            if axis == 0 {
                return content;
            }
            axis -= 1;
            index[axis] += 1;
            element += tensor.strides[axis];
            if index[axis] < tensor.shape[axis] {
                break;
            }
            element -= tensor.strides[axis] * tensor.shape[axis];
            index[axis] = 0;
        }
    }
}
