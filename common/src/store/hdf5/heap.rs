//! Lists of variable length, from the file's own global heap.
//!
//! An element of such a data set is a length and where its numbers are: the address of a collection of the heap and the number of
//! an object in it (file format specification, III.H and VIII.A). Collections are listed once and their objects handed out as
//! they lie in the mapped file, without the library and its lock.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::stored::Stored;
use crate::store::map::{self, Mapped, Plain};

/// Bytes of an element: its length (4), the address (8) and number (4) of its object.
pub const ELEMENT: usize = 16;
/// Bytes before the first object of a collection, and before the content of an object.
const HEAD: usize = 16;

/// A data set of lists whose places are known.
#[derive(Debug)]
pub struct Heap {
    content: Arc<Mapped>,
    elements: Stored,
}

/// Where the numbers of one element are.
#[derive(Debug, Clone, Copy)]
struct Reference {
    length: u32,
    address: u64,
    object: u32,
}

/// Objects of one collection by their number, ascending: where their content begins, and how many bytes it has.
#[derive(Debug, Default)]
pub struct Objects(Vec<(u32, usize, usize)>);

impl Objects {
    /// Place and bytes of an object.
    pub fn get(&self, number: u32) -> Option<(usize, usize)> {
        // Numbers are given from 1 on, without holes as long as nothing was removed.
        let likely = self.0.get((number as usize).wrapping_sub(1)).filter(|(found, ..)| *found == number);
        let found = likely.or_else(|| Some(&self.0[self.0.binary_search_by_key(&number, |(found, ..)| *found).ok()?]));
        found.map(|&(_, begin, bytes)| (begin, bytes))
    }
}

impl Heap {
    /// None where the file counts its addresses otherwise than files in use. Elements that were never written are lists of nothing.
    pub fn of(content: &Arc<Mapped>, elements: Stored) -> Option<Self> {
        plain_addresses(content.bytes()).then(|| Self { content: Arc::clone(content), elements })
    }

    /// Hands out the lists of a range of elements, in order, with their places. An error is the text after the data set's name.
    pub fn each<T: Plain>(
        &self,
        range: Range<usize>,
        mut take: impl FnMut(usize, &[T]) -> Result<(), (usize, String)>,
    ) -> Result<(), (usize, String)> {
        let content = self.content.bytes();
        let references = self.references(range.clone()).map_err(|problem| (range.start, problem))?;
        let mut collections: HashMap<u64, Objects> = HashMap::new();
        // Objects do not overlap, so a file holds only so many; collections that a damaged one nests would never end.
        let mut left = content.len() / HEAD + 1;
        for (reference, index) in references.into_iter().zip(range) {
            if reference.length == 0 {
                take(index, &[])?;
                continue;
            }
            let told = |problem: &str| (index, format!("{problem}: the file is damaged"));
            let objects = match collections.entry(reference.address) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let found = objects(content, reference.address, &mut left);
                    new.insert(found.ok_or_else(|| told("its list lies where no list can be"))?)
                }
            };
            let (begin, bytes) =
                objects.get(reference.object).ok_or_else(|| told("its list is not where it should be"))?;
            let needed = (reference.length as usize).checked_mul(size_of::<T>()).filter(|&needed| needed <= bytes);
            let needed = needed.ok_or_else(|| told(&format!("claims {} numbers", reference.length)))?;
            let list = &content[begin..begin + needed];
            match map::cast::<T>(list) {
                Some(numbers) => take(index, numbers)?,
                None => take(index, &map::copied::<T>(list))?,
            }
        }
        Ok(())
    }

    fn references(&self, range: Range<usize>) -> Result<Vec<Reference>, String> {
        let mut found = vec![Reference { length: 0, address: 0, object: 0 }; range.len()];
        self.elements.runs_of(self.content.bytes(), range.clone(), |first, bytes| {
            for (i, element) in bytes.as_chunks::<ELEMENT>().0.iter().enumerate() {
                if let Some(place) = (first + i).checked_sub(range.start).and_then(|place| found.get_mut(place)) {
                    let [a, b, c, d, address @ .., e, f, g, h] = *element;
                    *place = Reference {
                        length: u32::from_le_bytes([a, b, c, d]),
                        address: u64::from_le_bytes(address),
                        object: u32::from_le_bytes([e, f, g, h]),
                    };
                }
            }
        })?;
        Ok(found)
    }
}

/// Whether addresses of a file have eight bytes and count from its beginning.
fn plain_addresses(content: &[u8]) -> bool {
    let Some(block) = content.strip_prefix(b"\x89HDF\r\n\x1a\n") else { return false };
    // Where the sizes of addresses and lengths stand, and the base of addresses.
    let (sizes, base) = match block.first() {
        Some(0) => (5, 16),
        Some(1) => (5, 20),
        Some(2 | 3) => (1, 4),
        _ => return false,
    };
    block.get(sizes..sizes + 2) == Some(&[8, 8]) && block.get(base..base + 8) == Some(&[0; 8])
}

/// The objects of the collection at an address; none where there is no sound one.
pub fn objects(content: &[u8], address: u64, left: &mut usize) -> Option<Objects> {
    let begin = usize::try_from(address).ok()?;
    let head = content.get(begin..begin.checked_add(HEAD)?)?;
    if !head.starts_with(b"GCOL\x01") {
        return None;
    }
    let number = |at: usize| Some(u64::from_le_bytes(*content.get(at..at + 8)?.first_chunk()?));
    let end = begin.checked_add(usize::try_from(number(begin + 8)?).ok()?).filter(|&end| end <= content.len())?;
    let mut objects = Vec::new();
    let mut at = begin + HEAD;
    while at + HEAD <= end {
        *left = left.checked_sub(1)?;
        let object = u32::from(u16::from_le_bytes(*content[at..].first_chunk()?));
        let bytes = usize::try_from(number(at + 8)?).ok()?;
        if object == 0 {
            // What is left is free.
            break;
        }
        (at + HEAD).checked_add(bytes).filter(|&after| after <= end)?;
        objects.push((object, at + HEAD, bytes));
        // Padded from the beginning of the collection on, which may lie anywhere.
        at = (at + HEAD).checked_add(bytes.checked_next_multiple_of(8)?)?;
    }
    objects.sort_by_key(|(number, ..)| *number);
    // No number is given twice.
    objects.windows(2).all(|pair| pair[0].0 < pair[1].0).then_some(Objects(objects))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_counted_otherwise_stay_with_the_library() {
        let block = |version: u8, sizes: [u8; 2], base: u64| {
            let head: &[u8] = if version < 2 { &[version, 0, 0, 0, 0] } else { &[version] };
            let gap = if version < 2 { vec![0; if version == 0 { 9 } else { 13 }] } else { vec![0] };
            [b"\x89HDF\r\n\x1a\n", head, &sizes, &gap, &base.to_le_bytes()].concat()
        };
        for version in 0..4 {
            assert!(plain_addresses(&block(version, [8, 8], 0)), "{version}");
            assert!(!plain_addresses(&block(version, [4, 8], 0)), "{version}");
            assert!(!plain_addresses(&block(version, [8, 8], 512)), "{version}");
        }
        assert!(!plain_addresses(&block(4, [8, 8], 0)));
    }

    #[test]
    fn collections_are_listed_and_nested_ones_end() {
        let object = |number: u16, content: &[u8]| {
            let mut bytes =
                [&number.to_le_bytes()[..], &[1, 0, 0, 0, 0, 0], &(content.len() as u64).to_le_bytes()].concat();
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes
        };
        let body = [object(1, b"abc"), object(7, b"12345678"), vec![0; 16]].concat();
        let head = [&b"GCOL\x01\0\0\0"[..], &(body.len() as u64 + 16).to_le_bytes()].concat();
        let content = [vec![9; 8], head, body].concat();
        let found = objects(&content, 8, &mut 100).unwrap();
        let bytes = |number| found.get(number).map(|(begin, bytes)| &content[begin..][..bytes]);
        assert_eq!((bytes(1), bytes(7), bytes(2)), (Some(&b"abc"[..]), Some(&b"12345678"[..]), None));
        // A collection need not begin at a multiple of eight.
        let shifted = objects(&content[3..], 5, &mut 100).unwrap();
        assert_eq!(shifted.get(7).map(|(begin, bytes)| &content[3..][begin..][..bytes]), Some(&b"12345678"[..]));
        assert!(objects(&content, 0, &mut 100).is_none());
        assert!(objects(&content[..content.len() - 1], 8, &mut 100).is_none(), "it reaches beyond the file");
        assert!(objects(&content, 8, &mut 1).is_none(), "more objects than the file can hold");
        assert!(objects(&content, u64::MAX - 3, &mut 100).is_none());
    }
}
