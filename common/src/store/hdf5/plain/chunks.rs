//! Chunks by the indices of the latest formats (layouts of versions 4 and 5; file format specification 3.0, IV.A.2.i and VII).
//!
//! The library follows a damaged one outside of the file, or without end, so what is not sound here is for nobody to read.

use super::super::stored::Chunk;
use super::arrays::{extensible, fixed};
use super::bytes::{Bytes, UNDEFINED};
use super::tree::records;

/// Chunks at the end of a dimension are stored without filters.
const EDGES_AS_THEY_ARE: u8 = 1;
/// The one chunk of a data set has its size beside its address.
const SINGLE_FILTERED: u8 = 2;

/// What is said of an index that is not sound, behind the data set's name.
pub const UNSOUND: &str = "its index of chunks cannot be followed: the file is damaged";

/// A data set whose chunks are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Space<'a> {
    /// Its extents, and how far they may grow.
    pub shape: &'a [usize],
    pub most: &'a [u64],
    /// Bytes an element.
    pub width: usize,
    /// Whether anything was done to its chunks.
    pub filtered: bool,
}

/// The extents of a chunk, and all that were written. `at` stands behind version and class of the message of layout. None where
/// the index is not sound.
pub fn chunks(content: &[u8], mut at: Bytes, space: &Space) -> Option<(Vec<usize>, Vec<Chunk>)> {
    let (flags, rank, wide) = (at.u8()?, usize::from(at.u8()?).checked_sub(1)?, usize::from(at.u8()?));
    let mut extent = || usize::try_from(at.number(wide)?).ok();
    let shape = (0..rank).map(|_| extent()).collect::<Option<Vec<_>>>()?;
    let width = extent()?;
    let size = shape.iter().try_fold(width, |n, &d| n.checked_mul(d))? as u64;
    if width != space.width || rank != space.shape.len() || rank != space.most.len() || rank == 0 || size == 0 {
        return None;
    }
    let grid = Grid { space, shape: &shape, size, edges: flags & EDGES_AS_THEY_ARE != 0 };
    let found = grid.listed(content, at, flags)?;
    Some((shape, found))
}

/// How a data set is divided.
struct Grid<'a> {
    space: &'a Space<'a>,
    shape: &'a [usize],
    /// Bytes of a chunk before anything is done to it.
    size: u64,
    edges: bool,
}

impl Grid<'_> {
    fn listed(&self, content: &[u8], mut at: Bytes, flags: u8) -> Option<Vec<Chunk>> {
        let kind = u8::from(self.space.filtered);
        let mut found = Vec::new();
        let index = at.u8()?;
        let single = match (index, flags & SINGLE_FILTERED != 0) {
            (1, true) => Some((at.u64()?, at.u32()?)),
            _ => None,
        };
        // What an index was made with stands in its own header, too.
        at.take(match index {
            1 | 2 => 0,
            3 => 1,
            4 => 5,
            5 => 6,
            _ => return None,
        })?;
        let address = at.u64()?;
        if address == UNDEFINED {
            return Some(found);
        }
        match index {
            1 => {
                if single.is_some() != self.space.filtered {
                    return None;
                }
                let (bytes, skipped) = single.unwrap_or((self.size, 0));
                found.push(self.chunk(vec![0; self.shape.len()], address, bytes, skipped)?);
            }
            2 => {
                let count = self.count(None)?;
                let fits = count.checked_mul(self.size).is_some_and(|bytes| bytes <= content.len() as u64);
                if self.space.filtered || !fits {
                    return None;
                }
                for place in 0..count {
                    let address = address.checked_add(place * self.size)?;
                    found.push(self.chunk(self.scaled(place, None), address, self.size, 0)?);
                }
            }
            3 => fixed(content, address, kind, self.count(None)?, |place, element| {
                found.extend(self.element(self.scaled(place, None), element)?);
                Some(())
            })?,
            4 => {
                let mut endless = (0..self.shape.len()).filter(|&d| self.space.most[d] == u64::MAX);
                let (Some(grows), None) = (endless.next(), endless.next()) else { return None };
                self.count(Some(grows))?;
                extensible(content, address, kind, |place, element| {
                    found.extend(self.element(self.scaled(place, Some(grows)), element)?);
                    Some(())
                })?;
            }
            _ => {
                for record in records(content, address, 10 + kind)? {
                    let (element, places) = record.split_at_checked(record.len().checked_sub(8 * self.shape.len())?)?;
                    let mut at = Bytes::of(places);
                    let scaled = (0..self.shape.len()).map(|_| at.u64()).collect::<Option<_>>()?;
                    found.extend(self.element(scaled, element)?);
                }
            }
        }
        Some(found)
    }

    /// Chunks along a dimension, when it has grown as far as it may.
    fn along(&self, dimension: usize) -> u64 {
        self.space.most[dimension].div_ceil(self.shape[dimension] as u64)
    }

    /// Chunks of the fully grown data set; along `grows`, which has no end, one.
    fn count(&self, grows: Option<usize>) -> Option<u64> {
        let along = |d: usize| if grows == Some(d) { 1 } else { self.along(d) };
        (0..self.shape.len()).try_fold(1u64, |n, d| n.checked_mul(along(d)))
    }

    /// The place of the chunk of a number, counted in chunks; the dimension that grows varies slowest.
    fn scaled(&self, number: u64, grows: Option<usize>) -> Vec<u64> {
        let mut rest = number;
        let mut scaled = vec![0; self.shape.len()];
        for d in (0..self.shape.len()).rev().filter(|&d| grows != Some(d)) {
            let along = self.along(d).max(1);
            (scaled[d], rest) = (rest % along, rest / along);
        }
        if let Some(d) = grows {
            scaled[d] = rest;
        }
        scaled
    }

    /// An element of an index: `Some(None)` for a chunk that was never written.
    #[allow(clippy::option_option, reason = "not sound, or not there")]
    fn element(&self, scaled: Vec<u64>, element: &[u8]) -> Option<Option<Chunk>> {
        let mut at = Bytes::of(element);
        let address = at.u64()?;
        let (bytes, skipped) = match self.space.filtered {
            true => (at.number(element.len().checked_sub(12)?)?, at.u32()?),
            false => (self.size, 0),
        };
        if at.left() > 0 {
            return None;
        }
        if address == UNDEFINED {
            return Some(None);
        }
        self.chunk(scaled, address, bytes, skipped).map(Some)
    }

    fn chunk(&self, scaled: Vec<u64>, address: u64, bytes: u64, skipped: u32) -> Option<Chunk> {
        let origin = |(place, &length): (u64, &usize)| usize::try_from(place).ok()?.checked_mul(length);
        let origin = scaled.into_iter().zip(self.shape).map(origin).collect::<Option<Vec<_>>>()?;
        let ends = |d: usize| origin[d].checked_add(self.shape[d]).is_none_or(|end| end > self.space.shape[d]);
        let as_it_is = self.edges && (0..origin.len()).any(ends);
        Some(Chunk { origin, address, bytes, skipped: if as_it_is { u32::MAX } else { skipped } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::hdf5::native::{Index, index};
    use crate::store::hdf5::plain::{Dataset, Object};
    use crate::store::hdf5::stored::Stored;
    use hdf5::file::LibraryVersion;
    use hdf5::filters::Filter;
    use hdf5::plist::dataset_create::{AllocTime, ChunkOpts};
    use hdf5::{Extent, SimpleExtents};
    use std::path::Path;

    const DEFLATE: &[Filter] = &[Filter::Shuffle, Filter::Deflate(1), Filter::Fletcher32];

    /// A data set: extents and how far they may grow (0: as they are; none: without an end), a chunk, filters.
    type Case<'a> = (&'a str, &'a [(usize, Option<usize>)], &'a [usize], &'a [Filter]);

    /// Writes a data set of i16; the numbers of the first `rows` rows.
    fn written(path: &Path, low: LibraryVersion, case: Case, rows: usize) -> Vec<u8> {
        let (what, extents, chunk, filters) = case;
        let _ = std::fs::remove_file(path);
        let mut builder = hdf5::FileBuilder::new();
        let file = builder.with_fapl(|list| list.libver_bounds(low, LibraryVersion::latest())).create(path).unwrap();
        let extent =
            |&(now, most): &(usize, Option<usize>)| Extent::new(now, if most == Some(0) { Some(now) } else { most });
        let shape: Vec<usize> = extents.iter().map(|(now, _)| *now).collect();
        let mut builder = file.new_dataset::<i16>().chunk(chunk.to_vec()).set_filters(filters);
        if what == "implicit" {
            builder = builder.alloc_time(Some(AllocTime::Early));
        }
        if what == "edges" {
            builder = builder.chunk_opts(ChunkOpts::DONT_FILTER_PARTIAL_CHUNKS);
        }
        let space = SimpleExtents::from_vec(extents.iter().map(extent).collect());
        let set = builder.shape(space).create("x").unwrap();
        let values: Vec<i16> = (0..shape.iter().product()).map(|i: usize| (i % 30_011) as i16 - 99).collect();
        if rows == shape[0] {
            set.write_raw(&values).unwrap();
        } else if rows > 0 {
            set.write_slice(&values[..rows], shape[0] - rows..).unwrap();
        }
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// All bytes by an answer to where they are; zeros where none was written.
    fn bytes(stored: &Stored, content: &[u8], width: usize) -> Vec<u8> {
        let mut all = vec![0; width * stored.shape().iter().product::<usize>()];
        stored.runs(content, |first, bytes| all[first * width..][..bytes.len()].copy_from_slice(bytes)).unwrap();
        all
    }

    fn cases() -> Vec<(u8, Case<'static>)> {
        let none: &[Filter] = &[];
        vec![
            (1, ("single", &[(6, Some(0)), (10, Some(0))], &[6, 10], none)),
            (1, ("single, filtered", &[(6, Some(0)), (10, Some(0))], &[6, 10], DEFLATE)),
            (2, ("implicit", &[(7, Some(0)), (11, Some(0))], &[3, 4], none)),
            (3, ("fixed", &[(7, Some(0)), (11, Some(0))], &[3, 4], none)),
            (3, ("fixed, filtered", &[(7, Some(0)), (11, Some(0))], &[3, 4], DEFLATE)),
            (3, ("fixed, may grow", &[(7, Some(20)), (11, Some(30))], &[3, 4], DEFLATE)),
            (3, ("edges", &[(7, Some(0)), (11, Some(0))], &[3, 4], DEFLATE)),
            (3, ("fixed, in pages", &[(2500, Some(0))], &[1], none)),
            (3, ("fixed, filtered, in pages", &[(1300, Some(0)), (2, Some(0))], &[1, 1], DEFLATE)),
            (4, ("extensible", &[(3, None)], &[1], none)),
            (4, ("extensible, filtered", &[(400, None), (5, Some(9))], &[1, 2], DEFLATE)),
            (4, ("extensible, last", &[(5, Some(0)), (300, None)], &[2, 7], none)),
            (4, ("extensible, middle", &[(5, Some(6)), (30, None), (4, Some(0))], &[2, 7, 3], DEFLATE)),
            (4, ("extensible, in pages", &[(140_000, None)], &[1], none)),
            (5, ("tree", &[(3, None), (4, None)], &[2, 2], none)),
            (5, ("tree, filtered, high", &[(90, None), (100, None)], &[1, 1], DEFLATE)),
            (5, ("tree, higher", &[(150, None), (151, None)], &[1, 1], none)),
        ]
    }

    #[test]
    fn chunks_under_every_index_hold_what_the_library_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        for low in [LibraryVersion::V110, LibraryVersion::latest()] {
            for (kind, case) in cases() {
                let expected = written(&path, low, case, case.1[0].0);
                let content = std::fs::read(&path).unwrap();
                let file = hdf5::File::open(&path).unwrap();
                let set = file.dataset("x").unwrap();
                let Some(Index::Latest(header)) = index(&set) else { panic!("{case:?}") };
                let object = Object::read(&content, header).unwrap();
                let (version, _, mut layout) = object.layout().unwrap();
                assert_eq!(version, if low == LibraryVersion::V110 || case.3.is_empty() { 4 } else { 5 }, "{case:?}");
                layout.take(1).unwrap();
                let rank = usize::from(layout.u8().unwrap());
                let wide = usize::from(layout.u8().unwrap());
                layout.take(rank * wide).unwrap();
                assert_eq!(layout.u8(), Some(kind), "{case:?}");
                let by_library = Stored::of(&set, &path, &content).unwrap().expect("nothing about it is odd");
                let by_header = Dataset::of(&object).unwrap().stored(&object, &content).unwrap().unwrap();
                for stored in [by_library, by_header] {
                    assert!(!stored.has_holes() && bytes(&stored, &content, 2) == expected, "{case:?}");
                }
            }
        }
    }

    #[test]
    fn chunks_that_were_never_written_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        for (_, case) in cases().into_iter().filter(|(kind, case)| *kind > 2 && case.1.len() == 1) {
            for rows in [0, 2] {
                let mut expected = written(&path, LibraryVersion::V110, case, rows);
                let content = std::fs::read(&path).unwrap();
                let file = hdf5::File::open(&path).unwrap();
                let stored = Stored::of(&file.dataset("x").unwrap(), &path, &content).unwrap().unwrap();
                let tail = expected.split_off(expected.len() - 2 * rows);
                // The last elements have the first numbers.
                let numbers = [vec![0; expected.len()], [expected, tail].concat()[..2 * rows].to_vec()].concat();
                assert!(stored.has_holes() && bytes(&stored, &content, 2) == numbers, "{case:?} {rows}");
            }
        }
    }

    #[test]
    fn a_changed_byte_of_an_index_is_told_and_never_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        let small = |case: Case| case.1.iter().map(|(now, _)| now).product::<usize>() <= 600;
        for (_, case) in cases().into_iter().filter(|(kind, case)| *kind > 2 && small(*case)) {
            let expected = written(&path, LibraryVersion::V110, case, case.1[0].0);
            let content = std::fs::read(&path).unwrap();
            let Some(Index::Latest(header)) = index(&hdf5::File::open(&path).unwrap().dataset("x").unwrap()) else {
                panic!("{case:?}")
            };
            let (mut told, mut whole) = (0, 0);
            for at in 0..content.len() {
                let mut changed = content.clone();
                changed[at] ^= 1 << (at % 8);
                let Some(object) = Object::read(&changed, header) else { continue };
                match Dataset::of(&object).unwrap().stored(&object, &changed) {
                    Ok(Some(stored)) => {
                        // Its own bytes are no index; where they have no checksum a change of them is not seen.
                        let mut all = vec![0; expected.len()];
                        let read = stored.runs(&changed, |first, bytes| {
                            all[2 * first..][..bytes.len()].copy_from_slice(bytes);
                        });
                        let differ = all.iter().zip(&expected).filter(|(a, b)| a != b).count();
                        assert!(read.is_err() || differ < 2, "{case:?}, byte {at}");
                        whole += 1;
                    }
                    Ok(None) => panic!("{case:?}, byte {at}: left to the library"),
                    Err(problem) => {
                        assert_eq!(problem, UNSOUND, "{case:?}, byte {at}");
                        told += 1;
                    }
                }
            }
            assert!(told > 20 && whole > 20, "{case:?}: {told} {whole}");
        }
    }
}
