//! The sources of virtual data sets, read from the file itself.
//!
//! The library's binding lists them, but calls the usual selections overlapping (hdf5-metno 0.15.1), and a source that is not
//! there reads as fill values without a word. The list lies in the global heap: collections (`GCOL`) of objects, of which one
//! is a version, a number of mappings, and for each the names of file and data set and two selections (file format
//! specification, III.H and VIII.A). What does not fit to the last byte is another object.

/// A part of a virtual data set: the names of a file and of a data set in it.
pub(super) type Source = (String, String);

/// The sources of all virtual data sets of a file, each once.
pub(super) fn sources(content: &[u8]) -> Vec<Source> {
    let mut names = vec![];
    let mut at = 0;
    while let Some(found) = content.get(at..).and_then(|rest| rest.windows(4).position(|part| part == b"GCOL")) {
        let collection = at + found;
        at = collection + 4;
        let mut heap = Bytes(content.get(collection + 8..).unwrap_or_default());
        let Some(size) = heap.number(8) else { break };
        let mut heap = Bytes(&heap.0[..heap.0.len().min(size.saturating_sub(16) as usize)]);
        while let Some((index, object)) = heap.object() {
            if index == 0 {
                break;
            }
            for name in mappings(object).unwrap_or_default() {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    names
}

/// The sources of a list of mappings, if an object is one.
fn mappings(object: &[u8]) -> Option<Vec<Source>> {
    let mut bytes = Bytes(object);
    if bytes.number(1)? != 0 {
        return None;
    }
    let count = bytes.number(8)?;
    let mut names = vec![];
    for _ in 0..count {
        names.push((bytes.text()?, bytes.text()?));
        bytes.selection()?;
        bytes.selection()?;
    }
    // The checksum.
    (count > 0 && bytes.0.len() == 4).then_some(names)
}

/// What is left to be read; numbers are little-endian.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: u64) -> Option<u64> {
        Some(self.take(bytes)?.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let text = String::from_utf8(self.take(end as u64)?.to_vec()).ok()?;
        self.take(1)?;
        (!text.is_empty()).then_some(text)
    }

    /// An object of the heap: its index and content, padded to a multiple of eight.
    fn object(&mut self) -> Option<(u64, &'a [u8])> {
        let index = self.number(2)?;
        self.take(6)?;
        let size = self.number(8)?;
        let content = self.take(size)?;
        self.take((8 - size % 8) % 8)?;
        Some((index, content))
    }

    /// A selection; only its length matters.
    fn selection(&mut self) -> Option<()> {
        let (kind, version) = (self.number(4)?, self.number(4)?);
        let rest = match (kind, version) {
            // None, all, points, hyperslabs: with their length.
            (0..=3, 1) => {
                self.take(4)?;
                self.number(4)?
            }
            (2, 2) => {
                self.take(1)?;
                self.number(4)?
            }
            (2, 3) => {
                let (flags, width, rank) = (self.number(1)?, self.number(1)?, self.number(4)?);
                let numbers = if flags & 1 == 1 { 4 } else { self.number(width)?.checked_mul(2)? };
                numbers.checked_mul(rank)?.checked_mul(width)?
            }
            (1, 2) => {
                let (width, rank) = (self.number(1)?, self.number(4)?);
                self.number(width)?.checked_mul(rank)?.checked_mul(width)?
            }
            _ => return None,
        };
        self.take(rest).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A collection with a list of mappings in the forms of the oldest and the newest library, as h5py 3 writes them.
    fn heap(selections: [&[u8]; 4]) -> Vec<u8> {
        let mut list = [&[0][..], &2u64.to_le_bytes(), b"s0.h5\0point\0", selections[0], selections[1]].concat();
        list.extend([b"s1.h5\0point\0", selections[2], selections[3], &[9; 4]].concat());
        let size = list.len() as u64;
        list.resize(list.len().next_multiple_of(8), 0);
        let object = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &size.to_le_bytes(), &list].concat();
        let other = [&[2, 0, 0, 0, 0, 0, 0, 0][..], &8u64.to_le_bytes(), b"no list!"].concat();
        let body = [other, object, vec![0; 16]].concat();
        [b"junk GCOL\x01\0\0\0".to_vec(), (body.len() as u64 + 16).to_le_bytes().to_vec(), body].concat()
    }

    #[test]
    fn sources_are_found_in_every_form_and_nothing_else_is() {
        let all: &[u8] = &[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let old = [&[2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0][..], &[7; 16]].concat();
        let expected = ["s0.h5", "s1.h5"].map(|file| (file.to_owned(), "point".to_owned()));
        let middle = [&[2, 0, 0, 0, 2, 0, 0, 0, 1, 36, 0, 0, 0][..], &[7; 36]].concat();
        let new = [&[2, 0, 0, 0, 3, 0, 0, 0, 1, 2, 1, 0, 0, 0][..], &[7; 8]].concat();
        assert_eq!(sources(&heap([all, &old, &old, &old])), expected);
        assert_eq!(sources(&heap([all, &middle, &new, &new])), expected);
        assert!(sources(&heap([all, all, all, b""])).is_empty());
        let whole = heap([all, &old, &new, &new]);
        for cut in 0..whole.len() {
            let _ = sources(&whole[..cut]);
        }
        assert!(sources(b"GCOL").is_empty() && sources(b"").is_empty());
    }
}
