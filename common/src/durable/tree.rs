//! The hash of a file that is written in any order.
//!
//! BLAKE3 is a tree over a file, so that parts of it can be hashed as they come and be joined at the end. Writers that go to and
//! fro between the tensors of a file need not read it again for its hash.

use std::collections::BTreeMap;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use blake3::{Hash, Hasher};

/// Bytes of a part: a power of two, as subtrees of the hash have.
const PART: usize = 1 << 20;
/// Bytes that wait for what comes before them, in all parts together. Regions that are written side by side share one part at each
/// border, so that few wait long.
const WAITING: usize = 16 << 20;

/// Takes pieces of a file as they are written, each byte once.
#[derive(Debug, Default)]
pub struct Tree {
    open: BTreeMap<u64, Part>,
    whole: BTreeMap<u64, ChainingValue>,
    waiting: usize,
    /// A byte was written twice, or too much waits: nothing is known of the file.
    is_lost: bool,
}

/// A part that is not whole yet.
#[derive(Debug)]
struct Part {
    hasher: Hasher,
    /// Bytes that were hashed, from its beginning on.
    filled: usize,
    /// What was written behind them, by its place in the part.
    ahead: BTreeMap<usize, Vec<u8>>,
}

impl Tree {
    /// A piece at a place of the file.
    pub fn write(&mut self, place: u64, mut piece: &[u8]) {
        let mut place = place;
        while !piece.is_empty() && !self.is_lost {
            let (number, within) = (place / PART as u64, (place % PART as u64) as usize);
            let (first, rest) = piece.split_at(piece.len().min(PART - within));
            self.put(number, within, first);
            place += first.len() as u64;
            piece = rest;
        }
    }

    fn put(&mut self, number: u64, within: usize, piece: &[u8]) {
        if self.whole.contains_key(&number) {
            return self.lose();
        }
        let part = self.open.entry(number).or_insert_with(|| Part::of(number));
        if within == part.filled {
            self.waiting -= part.take(piece);
        } else if within > part.filled {
            self.waiting += piece.len();
            self.is_lost |= part.ahead.insert(within, piece.to_vec()).is_some();
        } else {
            self.is_lost = true;
        }
        self.is_lost |= part.overlaps() || self.waiting > WAITING;
        // The first part is the whole file where nothing follows: the end decides what becomes of it.
        if part.filled == PART && number > 0 {
            self.whole.insert(number, part.hasher.finalize_non_root());
            self.open.remove(&number);
        }
        if self.is_lost {
            self.lose();
        }
    }

    fn lose(&mut self) {
        *self = Self { is_lost: true, ..Self::default() };
    }

    /// The hash of the file, where every byte of its `length` was written once.
    pub fn finish(&self, length: u64) -> Option<Hash> {
        let parts = length.div_ceil(PART as u64);
        if self.is_lost || (self.open.len() + self.whole.len()) as u64 != parts {
            return None;
        }
        match parts {
            0 => Some(blake3::hash(&[])),
            1 => Some(self.open.get(&0).filter(|part| part.filled as u64 == length)?.hasher.finalize()),
            _ => {
                let middle = middle(0, parts);
                Some(merge_subtrees_root(
                    &self.joined(0, middle, length)?,
                    &self.joined(middle, parts, length)?,
                    Mode::Hash,
                ))
            }
        }
    }

    /// Some neighbouring parts as one subtree.
    fn joined(&self, begin: u64, end: u64, length: u64) -> Option<ChainingValue> {
        if end - begin > 1 {
            let middle = middle(begin, end);
            let (left, right) = (self.joined(begin, middle, length)?, self.joined(middle, end, length)?);
            return Some(merge_subtrees_non_root(&left, &right, Mode::Hash));
        }
        let bytes = (length - begin * PART as u64).min(PART as u64);
        if bytes == PART as u64
            && let Some(known) = self.whole.get(&begin)
        {
            return Some(*known);
        }
        Some(self.open.get(&begin).filter(|part| part.filled as u64 == bytes)?.hasher.finalize_non_root())
    }
}

/// Where a subtree of several parts divides: its left side is as large as a power of two can be.
fn middle(begin: u64, end: u64) -> u64 {
    begin + (end - begin).next_power_of_two() / 2
}

impl Part {
    fn of(number: u64) -> Self {
        let mut hasher = Hasher::new();
        hasher.set_input_offset(number * PART as u64);
        Self { hasher, filled: 0, ahead: BTreeMap::new() }
    }

    /// The next piece, and what waited for it. Gives how many bytes wait no more.
    fn take(&mut self, piece: &[u8]) -> usize {
        self.hasher.update(piece);
        self.filled += piece.len();
        let mut freed = 0;
        while let Some(next) = self.ahead.remove(&self.filled) {
            self.hasher.update(&next);
            self.filled += next.len();
            freed += next.len();
        }
        freed
    }

    /// Whether a byte was written twice.
    fn overlaps(&self) -> bool {
        self.ahead.first_key_value().is_some_and(|(&begin, _)| begin < self.filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    /// Writes some regions side by side, `step` bytes of each in turn.
    fn in_turns(content: &[u8], borders: &[usize], step: usize) -> Tree {
        let mut tree = Tree::default();
        let mut regions: Vec<(usize, usize)> = borders.windows(2).map(|pair| (pair[0], pair[1])).collect();
        while regions.iter().any(|(at, end)| at < end) {
            for (at, end) in &mut regions {
                let next = (*at + step).min(*end);
                tree.write(*at as u64, &content[*at..next]);
                *at = next;
            }
        }
        tree
    }

    #[test]
    fn the_hash_is_that_of_the_file_in_whatever_order_it_was_written() {
        for length in [0, 1, 1024, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 77, 5 * PART, 8 * PART + 1023] {
            let content = content(length);
            let expected = blake3::hash(&content);
            for borders in [
                vec![0, length],
                vec![0, length / 3, length],
                vec![0, length / 7, length / 7 + length / 9, length / 2, length],
            ] {
                for step in [100_003, PART, 3 * PART + 1] {
                    let tree = in_turns(&content, &borders, step);
                    assert_eq!(tree.finish(length as u64), Some(expected), "{length} {borders:?} {step}");
                    assert_eq!(tree.waiting, 0);
                }
            }
        }
    }

    #[test]
    fn what_was_not_written_once_is_not_known() {
        let content = content(3 * PART);
        let length = content.len() as u64;
        let sound = || in_turns(&content, &[0, content.len()], PART / 3);
        assert!(sound().finish(length).is_some());
        // Another length, a hole, and bytes written twice: hashed ones, waiting ones, and some of both.
        assert_eq!(sound().finish(length - 1), None);
        assert_eq!(sound().finish(length + 1), None);
        let mut hole = Tree::default();
        hole.write(0, &content[..PART]);
        hole.write(2 * PART as u64, &content[2 * PART..]);
        assert_eq!(hole.finish(length), None);
        for place in [0, 9, PART as u64 + 9, length - 1] {
            let mut twice = sound();
            twice.write(place, &[1]);
            assert_eq!(twice.finish(length), None, "{place}");
        }
        for place in [95, 100, 105] {
            let mut ahead = Tree::default();
            ahead.write(100, &content[100..110]);
            ahead.write(place, &content[place as usize..][..10]);
            ahead.write(0, &content[..100]);
            assert_eq!(ahead.finish(110), None, "{place}");
        }
        // Written backwards too much of a large file would wait.
        let mut backwards = Tree::default();
        let step = PART / 2;
        for i in (0..64).rev() {
            backwards.write((i * 2 * step + step) as u64, &content[..step]);
        }
        assert!(backwards.is_lost && backwards.waiting == 0);
    }
}
