//! Where the numbers of a data set lie: its layout, its filters and the tree of its chunks.

use super::super::filters::Pipeline;
use super::super::stored::{Chunk, Stored};
use super::bytes::{Bytes, UNDEFINED};
use super::chunks::{Space, UNSOUND, chunks};
use super::object::{Content, Object};

/// Nodes of a tree of chunks; deeper and larger ones come from damage.
const DEPTH: u8 = 8;

/// Numbers in the order of bytes of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Numbers {
    Integer { bytes: usize, signed: bool },
    Float { bytes: usize },
}

/// A data set of numbers.
#[derive(Debug)]
pub struct Dataset {
    pub numbers: Numbers,
    pub shape: Vec<usize>,
    /// How far it may grow along each dimension.
    pub most: Vec<u64>,
}

impl Dataset {
    /// None where it holds anything but numbers.
    pub fn of(object: &Object) -> Option<Self> {
        let (content, shape, most) = object.elements()?;
        let numbers = match content {
            Content::Integer { bytes, signed } => Numbers::Integer { bytes, signed },
            Content::Float { bytes } => Numbers::Float { bytes },
            _ => return None,
        };
        let shape = shape.into_iter().map(|d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        Some(Self { numbers, shape, most })
    }

    /// Bytes a number.
    pub fn width(&self) -> usize {
        match self.numbers {
            Numbers::Integer { bytes, .. } | Numbers::Float { bytes } => bytes,
        }
    }

    /// Where its numbers lie; none where the library has to read them, an error where nobody should.
    pub fn stored(&self, object: &Object, content: &[u8]) -> Result<Option<Stored>, String> {
        let pipeline = || match object.filters() {
            Some(message) => pipeline(message, self.width()),
            None => Pipeline::numbered(&[], self.width()),
        };
        let filtered = object.filters().is_some();
        match object.layout() {
            Some((3 | 4, 1, at)) if !filtered => Ok(self.contiguous(at)),
            Some((3, 2, at)) => match self.tree(content, at) {
                Some((shape, chunks)) => {
                    Stored::chunked(self.shape.clone(), self.width(), shape, pipeline(), chunks, content.len())
                }
                None => Ok(None),
            },
            Some((4 | 5, 2, at)) => {
                let space = Space { shape: &self.shape, most: &self.most, width: self.width(), filtered };
                let (shape, chunks) = chunks(content, at, &space).ok_or(UNSOUND)?;
                Stored::chunked(self.shape.clone(), self.width(), shape, pipeline(), chunks, content.len())
            }
            _ => Ok(None),
        }
    }

    fn contiguous(&self, mut at: Bytes) -> Option<Stored> {
        let (address, size) = (at.u64()?, at.u64()?);
        let needed = self.shape.iter().try_fold(self.width(), |n, &d| n.checked_mul(d))?;
        let plain = address != UNDEFINED && size == needed as u64;
        plain.then(|| Stored::contiguous(self.shape.clone(), self.width(), address))
    }

    /// Extents of a chunk and all chunks by a tree of version 1.
    fn tree(&self, content: &[u8], mut at: Bytes) -> Option<(Vec<usize>, Vec<Chunk>)> {
        let rank = usize::from(at.u8()?).checked_sub(1)?;
        let tree = at.u64()?;
        let shape = (0..rank).map(|_| at.u32().map(|n| n as usize)).collect::<Option<Vec<_>>>()?;
        if rank != self.shape.len() || tree == UNDEFINED || at.u32()? as usize != self.width() {
            return None;
        }
        // A tree holds as many chunks as fit into the file at most.
        let mut left = content.len() / 64 + 1;
        let mut chunks = Vec::new();
        nodes(content, tree, rank, DEPTH, &mut left, &mut chunks)?;
        Some((shape, chunks))
    }
}

/// Collects the chunks below a node.
fn nodes(content: &[u8], address: u64, rank: usize, deep: u8, left: &mut usize, chunks: &mut Vec<Chunk>) -> Option<()> {
    let mut at = Bytes::at(content, address)?;
    if at.take(5)? != b"TREE\x01" {
        return None;
    }
    let (level, entries) = (at.u8()?, at.u16()?);
    at.take(16)?;
    if level >= deep {
        return None;
    }
    for _ in 0..entries {
        *left = left.checked_sub(1)?;
        let (bytes, skipped) = (at.u32()?, at.u32()?);
        let origin = (0..rank).map(|_| usize::try_from(at.u64()?).ok()).collect::<Option<Vec<_>>>()?;
        at.u64()?;
        let address = at.u64()?;
        if level > 0 {
            nodes(content, address, rank, level, left, chunks)?;
        } else {
            chunks.push(Chunk { origin, address, bytes: bytes.into(), skipped });
        }
    }
    Some(())
}

fn pipeline(message: &[u8], width: usize) -> Option<Pipeline> {
    let mut at = Bytes::of(message);
    let (version, count) = (at.u8()?, at.u8()?);
    if version == 1 {
        at.take(6)?;
    }
    let mut filters = Vec::new();
    for _ in 0..count {
        let id = at.u16()?;
        let name = if version == 1 || id >= 256 { usize::from(at.u16()?) } else { 0 };
        let (_, values) = (at.u16()?, usize::from(at.u16()?));
        at.take(if version == 1 { name.next_multiple_of(8) } else { name })?;
        at.take(4 * (values + if version == 1 { values % 2 } else { 0 }))?;
        filters.push(id);
    }
    if matches!(version, 1 | 2) { Pipeline::numbered(&filters, width) } else { None }
}
