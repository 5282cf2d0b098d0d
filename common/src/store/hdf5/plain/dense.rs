//! Many links or attributes: their messages lie in a fractal heap, and a B-tree of version 2 says where.

use super::bytes::{Bytes, UNDEFINED, block, lookup3};
use super::tree::records;

/// An open heap.
#[derive(Debug)]
pub struct Dense<'a> {
    content: &'a [u8],
    /// Bytes of an offset within the heap, and of a length.
    offset: usize,
    length: usize,
    /// Blocks of objects: where each begins within the heap, and its bytes in the file.
    blocks: Vec<(u64, &'a [u8])>,
}

impl<'a> Dense<'a> {
    /// The heap whose header is at an address. None where its blocks lie deeper than those of files in use, or are packed.
    pub fn open(content: &'a [u8], address: u64) -> Option<Self> {
        let mut at = block(content, address, 146, b"FRHP")?;
        let (_, filters, flags, most_managed) = (at.u16()?, at.u16()?, at.u8()?, at.u32()?);
        at.take(10 * 8 + 2 * 8)?;
        let width = usize::from(at.u16()?);
        let (first, most_direct, bits) = (at.u64()?, at.u64()?, at.u16()?);
        at.u16()?;
        let (root, rows) = (at.u64()?, usize::from(at.u16()?));
        if filters != 0 || !first.is_power_of_two() || !most_direct.is_power_of_two() || bits > 64 || root == UNDEFINED
        {
            return None;
        }
        let offset = usize::from(bits).div_ceil(8);
        let bytes_of = |n: u64| (64 - n.leading_zeros() as usize).div_ceil(8);
        let length = bytes_of(most_direct).min(bytes_of(most_managed.into()));
        let mut heap = Self { content, offset, length, blocks: Vec::new() };
        if rows == 0 {
            heap.take(address, root, 0, first, flags)?;
            return Some(heap);
        }
        let direct_rows = usize::try_from(most_direct.ilog2().checked_sub(first.ilog2())?).ok()? + 2;
        if rows > direct_rows {
            return None;
        }
        let mut at = block(content, root, 4 + 1 + 8 + offset + 8 * rows.checked_mul(width)? + 4, b"FHIB")?;
        if at.u64()? != address || at.number(offset)? != 0 {
            return None;
        }
        let mut begin = 0;
        for row in 0..rows {
            let size = first.checked_shl(row.saturating_sub(1) as u32)?;
            for _ in 0..width {
                let block = at.u64()?;
                if block != UNDEFINED {
                    heap.take(address, block, begin, size, flags)?;
                }
                begin = size.checked_add(begin)?;
            }
        }
        Some(heap)
    }

    /// Takes a block of objects: its head names the heap and where in it the block begins.
    fn take(&mut self, heap: u64, address: u64, begin: u64, size: u64, flags: u8) -> Option<()> {
        let bytes = Bytes::at(self.content, address)?.take(usize::try_from(size).ok()?)?;
        let mut at = Bytes::of(bytes);
        if at.take(5)? != b"FHDB\0" || at.u64()? != heap || at.number(self.offset)? != begin {
            return None;
        }
        if flags & 2 != 0 {
            // The sum is taken while its own place holds zeros.
            let (place, sum) = (at.place(), at.u32()?);
            let mut zeroed = bytes.to_vec();
            zeroed[place..place + 4].fill(0);
            if lookup3(&zeroed) != sum {
                return None;
            }
        }
        self.blocks.push((begin, bytes));
        Some(())
    }

    /// The objects that a tree lists, in its order. Records of type 5 are links by the hashes of their names, those of type 8
    /// attributes by theirs.
    pub fn all(&self, tree: u64, kind: u8) -> Option<Vec<&'a [u8]>> {
        let (before, behind) = match kind {
            5 => (4, 0),
            _ => (0, 9),
        };
        let object = |record: &'a [u8]| {
            let mut at = Bytes::of(record);
            at.take(before)?;
            let object = self.object(at.take(record.len().checked_sub(before + behind)?)?)?;
            // An attribute that is shared lies elsewhere.
            (at.take(behind)?.first().is_none_or(|&marks| marks & 2 == 0)).then_some(object)
        };
        records(self.content, tree, kind)?.into_iter().map(object).collect()
    }

    fn object(&self, id: &[u8]) -> Option<&'a [u8]> {
        let mut at = Bytes::of(id);
        if at.u8()? != 0 {
            return None; // huge, or within the identity itself
        }
        let (offset, length) = (at.number(self.offset)?, usize::try_from(at.number(self.length)?).ok()?);
        let &(begin, bytes) = self.blocks.iter().rfind(|(begin, _)| *begin <= offset)?;
        let from = usize::try_from(offset - begin).ok()?;
        bytes.get(from..from.checked_add(length)?)
    }
}
