//! Arrays of elements of one length, by which chunks are found: fixed ones, where no dimension has an end to find, and extensible
//! ones, where one has none (file format specification 3.0, VII.C and VII.D).
//!
//! What a block says of itself (whose it is, where in the array it begins) is held against what led to it, so that none is read
//! twice and a damaged array ends.

use super::bytes::{Bytes, UNDEFINED, block, summed};

/// Signature, version, kind of elements and the header's address, with which every block begins.
const HEAD: usize = 4 + 1 + 1 + 8;
const SUM: usize = 4;

/// An array, and who is told of its elements.
struct Array<'a, F> {
    content: &'a [u8],
    header: u64,
    kind: u8,
    /// Bytes an element.
    width: usize,
    /// Bytes of a place within an extensible array.
    offset: usize,
    /// Elements of a page.
    page: u64,
    take: F,
}

/// Hands out the elements of a fixed array with their places. None where it is not sound, or has other elements than `count`
/// of this kind.
pub fn fixed<'a>(
    content: &'a [u8],
    header: u64,
    kind: u8,
    count: u64,
    take: impl FnMut(u64, &'a [u8]) -> Option<()>,
) -> Option<()> {
    let mut at = block(content, header, 28, b"FAHD")?;
    let (found, width, bits) = (at.u8()?, usize::from(at.u8()?), at.u8()?);
    let (entries, first) = (at.u64()?, at.u64()?);
    if found != kind || entries != count || width == 0 {
        return None;
    }
    if first == UNDEFINED {
        return Some(());
    }
    let mut array = Array { content, header, kind, width, offset: 0, page: 1u64.checked_shl(bits.into())?, take };
    if entries <= array.page {
        let mut at = array.block(first, b"FADB", array.bytes(entries)?, None)?;
        return array.elements(0, &mut at);
    }
    let pages = entries.div_ceil(array.page);
    let marks = usize::try_from(pages.div_ceil(8)).ok()?;
    let written = array.block(first, b"FADB", marks, None)?.take(marks)?;
    let behind = first.checked_add((HEAD + marks + SUM) as u64)?;
    (0..pages).filter(|&page| is_set(written, page)).try_for_each(|page| array.page(behind, page, 0, entries))
}

/// Hands out the elements of an extensible array with their places. None where it is not sound, or has other elements.
pub fn extensible<'a>(
    content: &'a [u8],
    header: u64,
    kind: u8,
    take: impl FnMut(u64, &'a [u8]) -> Option<()>,
) -> Option<()> {
    let mut at = block(content, header, 72, b"EAHD")?;
    let (found, width, bits) = (at.u8()?, usize::from(at.u8()?), at.u8()?);
    let (own, least, pointers, page) = (at.u8()?, at.u8()?, at.u8()?, at.u8()?);
    // What was made of it so far: numbers that nothing here needs.
    at.take(6 * 8)?;
    let first = at.u64()?;
    let sound = width > 0 && bits <= 64 && least.is_power_of_two() && pointers.is_power_of_two();
    if found != kind || !sound {
        return None;
    }
    if first == UNDEFINED {
        return Some(());
    }
    let (width, offset) = (width, usize::from(bits).div_ceil(8));
    let mut array = Array { content, header, kind, width, offset, page: 1u64.checked_shl(page.into())?, take };
    // Rows of blocks, which grow by turns in number and in length. Those of the first rows are listed by the index block itself, of
    // each later one by a block of its own.
    let rows = 1 + u32::from(bits).checked_sub(least.ilog2())?;
    let listed = 2 * pointers.ilog2();
    let row = |row: u32| Some((1u64.checked_shl(row / 2)?, u64::from(least).checked_shl(row.div_ceil(2))?));
    let direct = 2 * (usize::from(pointers) - 1);
    let rest = rows.saturating_sub(listed) as usize;
    let size = array.bytes(own.into())? + 8 * (direct + rest);
    let mut at = array.block(first, b"EAIB", size, None)?;
    array.elements(0, &mut Bytes::of(at.take(array.bytes(own.into())?)?))?;
    let (mut begin, mut number) = (0, 0);
    for r in 0..rows {
        let (blocks, length) = row(r)?;
        let end = blocks.checked_mul(length)?.checked_add(begin)?;
        end.checked_add(own.into())?;
        if r < listed {
            // Blocks in pages are marked by those that list them.
            if length > array.page {
                return None;
            }
            for block in 0..blocks {
                // The library counts all blocks before one as if they were as long as it, and writes that down as its place.
                let written = begin.saturating_add(number * length);
                array.data(at.u64()?, begin + block * length, Some(written), length, own, None)?;
                number += 1;
            }
            begin = end;
            continue;
        }
        let address = at.u64()?;
        if address != UNDEFINED {
            array.row(address, begin, blocks, length, own)?;
        }
        begin = end;
    }
    Some(())
}

/// Whether a page was written, by marks of which the highest bit of a byte is the first.
fn is_set(marks: &[u8], place: u64) -> bool {
    let byte = usize::try_from(place / 8).ok().and_then(|byte| marks.get(byte));
    byte.is_some_and(|byte| byte & (0x80 >> (place % 8)) != 0)
}

impl<'a, F: FnMut(u64, &'a [u8]) -> Option<()>> Array<'a, F> {
    fn bytes(&self, elements: u64) -> Option<usize> {
        usize::try_from(elements).ok()?.checked_mul(self.width)
    }

    /// What a block holds behind its head, `size` bytes, if it is this array's and begins where it should.
    fn block(&self, address: u64, signature: &[u8; 4], size: usize, begin: Option<u64>) -> Option<Bytes<'a>> {
        let head = HEAD + begin.map_or(0, |_| self.offset);
        let mut at = block(self.content, address, size.checked_add(head + SUM)?, signature)?;
        let own = at.u8()? == self.kind && at.u64()? == self.header;
        let placed = begin.map_or(Some(true), |begin| at.number(self.offset).map(|found| found == begin))?;
        (own && placed).then_some(at)
    }

    /// All elements that are left.
    fn elements(&mut self, begin: u64, at: &mut Bytes<'a>) -> Option<()> {
        for place in 0..(at.left() / self.width) as u64 {
            (self.take)(begin + place, at.take(self.width)?)?;
        }
        Some(())
    }

    /// The elements of one page of `entries` that begin at `begin`; all its pages lie in a row.
    fn page(&mut self, pages: u64, page: u64, begin: u64, entries: u64) -> Option<()> {
        let first = page.checked_mul(self.page)?;
        let stride = self.bytes(self.page)?.checked_add(SUM)? as u64;
        let address = stride.checked_mul(page)?.checked_add(pages)?;
        let size = self.bytes(self.page.min(entries.checked_sub(first)?))? + SUM;
        let mut at = Bytes::of(summed(self.content, address, size)?);
        self.elements(begin + first, &mut at)
    }

    /// The elements of a block; `own` ones stand before the first of all blocks. It may say that it begins at `written`. One in pages
    /// comes with the marks of those that were written.
    fn data(
        &mut self,
        address: u64,
        begin: u64,
        written: Option<u64>,
        length: u64,
        own: u8,
        pages: Option<(&[u8], u64)>,
    ) -> Option<()> {
        if address == UNDEFINED {
            return Some(());
        }
        let Some((marks, first)) = pages else {
            let size = self.bytes(length)?;
            let placed = self.block(address, b"EADB", size, Some(begin));
            let mut at = placed.or_else(|| self.block(address, b"EADB", size, written))?;
            return self.elements(begin + u64::from(own), &mut at);
        };
        self.block(address, b"EADB", 0, Some(begin))?;
        let behind = address.checked_add((HEAD + self.offset + SUM) as u64)?;
        let mut written = (0..length / self.page).filter(|page| is_set(marks, first + page));
        written.try_for_each(|page| self.page(behind, page, begin + u64::from(own), length))
    }

    /// The elements of a row of blocks, by the block that lists them.
    fn row(&mut self, address: u64, begin: u64, blocks: u64, length: u64, own: u8) -> Option<()> {
        let pages = if length > self.page { length / self.page } else { 0 };
        let count = usize::try_from(blocks).ok()?;
        let marks = count.checked_mul(usize::try_from(pages.div_ceil(8)).ok()?)?;
        let size = count.checked_mul(8)?.checked_add(marks)?;
        let mut at = self.block(address, b"EASB", size, Some(begin))?;
        let marks = at.take(marks)?;
        for block in 0..blocks {
            let written = (pages > 0).then_some((marks, block * pages));
            self.data(at.u64()?, begin + block * length, None, length, own, written)?;
        }
        Some(())
    }
}
