//! Where the elements of a data set lie in its file, and their bytes from there.
//!
//! Where each chunk lies and what was done to it is found once: by the library, under the lock of the process, or by us where it
//! follows damage ([`super::plain`]). Reading and inflating then need it no more, so that any number of threads work side by side.
//! Whatever is odd (other layouts, filters and storage than those of files in use, chunks that were never written) stays with the
//! library.

use std::ops::Range;
use std::path::Path;

use hdf5::plist::dataset_create::Layout;

use super::filters::Pipeline;
use super::native::{Index, index};
use super::plain;

/// Deflate shrinks by 1032 at most, so a data set that claims more comes from a damaged header.
const DEFLATE_LIMIT: usize = 1100;
/// What any file may hold: unwritten parts of a data set take no space on disk.
const ALWAYS_ALLOWED: usize = 64 << 20;
/// What is said where chunks are where they cannot be.
const MISPLACED: &str = "its index names chunks where it has none, or twice: the file is damaged";

/// Where the elements of a data set lie.
#[derive(Debug)]
pub struct Stored {
    shape: Vec<usize>,
    /// Bytes an element.
    width: usize,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    /// All elements in a row, from this byte of the file on.
    Contiguous(u64),
    Chunked {
        shape: Vec<usize>,
        pipeline: Pipeline,
        chunks: Vec<Chunk>,
        /// Not all of them were written.
        holes: bool,
    },
}

/// A chunk and what the file says about it.
#[derive(Debug)]
pub struct Chunk {
    /// The place of its first element.
    pub origin: Vec<usize>,
    /// Where it lies, and how many bytes it has there.
    pub address: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Filters that were not applied to it, a bit each.
    pub skipped: u32,
}

impl Stored {
    /// Bytes that a data set can hold in a file of this length.
    pub fn limit(length: usize) -> usize {
        length.saturating_mul(DEFLATE_LIMIT).max(ALWAYS_ALLOWED)
    }

    /// The elements of `set`, which must lie in the file `path` itself, whose content this is. None where the library has to read
    /// them; an error, the text after the data set's name, where nobody should.
    pub fn of(set: &hdf5::Dataset, path: &Path, content: &[u8]) -> Result<Option<Self>, String> {
        let asked = || -> hdf5::Result<_> {
            let (create, space) = (set.dcpl()?, set.space()?);
            let most = space.maxdims().into_iter().map(|most| most.map_or(u64::MAX, |most| most as u64));
            Ok((set.dtype()?.size(), most.collect::<Vec<_>>(), create.get_layout()?, create.get_external()?, create))
        };
        let Ok((width, most, layout, external, create)) = asked() else { return Ok(None) };
        let shape = set.shape();
        if Path::new(&set.filename()) != path || !external.is_empty() {
            return Ok(None);
        }
        match (layout, create.chunk()) {
            (Layout::Contiguous, _) if fits(&shape, width, content.len()) => {
                Ok(set.offset().map(|address| Self::contiguous(shape, width, address)))
            }
            (Layout::Chunked, Some(chunk)) => {
                let filters = create.get_filters();
                let filtered = filters.as_ref().map_or(true, |filters| !filters.is_empty());
                let pipeline = filters.ok().and_then(|filters| Pipeline::of(&filters, width));
                let chunks = match index(set) {
                    Some(Index::Tree) => visited(set, &shape, &chunk)?,
                    Some(Index::Latest(header)) => {
                        let space = plain::Space { shape: &shape, most: &most, width, filtered };
                        let object = plain::Object::any(content, header);
                        let layout = object.as_ref().and_then(plain::Object::layout);
                        let found = match layout {
                            Some((4 | 5, 2, at)) => plain::chunks(content, at, &space),
                            _ => None,
                        };
                        found.filter(|(found, _)| *found == chunk).ok_or(plain::UNSOUND)?.1
                    }
                    None => return Ok(None),
                };
                Self::chunked(shape, width, chunk, pipeline, chunks, content.len())
            }
            _ => Ok(None),
        }
    }

    /// Elements that lie in a row, from a byte of the file on.
    pub fn contiguous(shape: Vec<usize>, width: usize, address: u64) -> Self {
        Self { shape, width, parts: Parts::Contiguous(address) }
    }

    /// Elements in chunks, some of them perhaps never written, in a file of `length` bytes. None where the library has to undo
    /// what was done to them; an error where a chunk lies where none can be, or the file cannot hold them.
    pub fn chunked(
        shape: Vec<usize>,
        width: usize,
        chunk: Vec<usize>,
        pipeline: Option<Pipeline>,
        chunks: Vec<Chunk>,
        length: usize,
    ) -> Result<Option<Self>, String> {
        let size = chunk.iter().try_fold(width, |n, &d| n.checked_mul(d));
        let (Some(size), Some(count)) = (size, count(&shape, &chunk)) else { return Ok(None) };
        if width == 0 || chunk.len() != shape.len() || !fits(&shape, width, length) {
            return Ok(None);
        }
        claimed(&chunks, size, length)?;
        if !are_places(&chunks, &shape, &chunk) {
            return Err(MISPLACED.into());
        }
        let holes = chunks.len() != count;
        let parts = |pipeline| Parts::Chunked { shape: chunk, pipeline, chunks, holes };
        Ok(pipeline.map(|pipeline| Self { shape, width, parts: parts(pipeline) }))
    }

    /// Lengths of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether some of its chunks were never written: their elements have the fill value, and are not handed out.
    pub fn has_holes(&self) -> bool {
        matches!(self.parts, Parts::Chunked { holes: true, .. })
    }

    /// Hands out the bytes of all elements in runs: the number of the first element (row-major) and the bytes of it and of
    /// those that follow. Runs come in the order of the file, each element once. An error is the text after the data set's name.
    pub fn runs(&self, content: &[u8], take: impl FnMut(usize, &[u8])) -> Result<(), String> {
        self.runs_of(content, 0..self.shape.first().copied().unwrap_or(1), take)
    }

    /// As [`Self::runs`], of a range of the first dimension; chunks that reach beyond it are handed out whole.
    pub fn runs_of(
        &self,
        content: &[u8],
        range: Range<usize>,
        mut take: impl FnMut(usize, &[u8]),
    ) -> Result<(), String> {
        let within = |address: u64, bytes: usize| {
            let begin = usize::try_from(address).ok()?;
            content.get(begin..begin.checked_add(bytes)?)
        };
        match &self.parts {
            Parts::Contiguous(address) => {
                let row: usize = self.shape.iter().skip(1).product();
                let bytes = self.width * row * range.len();
                let begin = address.saturating_add((self.width * row * range.start) as u64);
                let found = within(begin, bytes).ok_or_else(|| {
                    format!("lies at byte {begin}, {bytes} bytes long, in a file of {}", content.len())
                })?;
                take(row * range.start, found);
            }
            Parts::Chunked { shape, pipeline, chunks, .. } => {
                let size = self.width * shape.iter().product::<usize>();
                let touched = |chunk: &&Chunk| match (chunk.origin.first(), shape.first()) {
                    (Some(&begin), Some(length)) => begin < range.end && range.start < begin + length,
                    _ => true,
                };
                for chunk in chunks.iter().filter(touched) {
                    let at = |problem: String| format!("the chunk at {:?} {problem}", chunk.origin);
                    let stored = usize::try_from(chunk.bytes).ok().and_then(|bytes| within(chunk.address, bytes));
                    let stored = stored.ok_or_else(|| at(format!("lies beyond the file's {} bytes", content.len())))?;
                    let bytes = pipeline.undo(stored, chunk.skipped, size).map_err(at)?;
                    self.place(&chunk.origin, shape, &bytes, &mut take);
                }
            }
        }
        Ok(())
    }

    /// Hands out the rows of one chunk, without what it holds beyond the ends of the data set.
    fn place(&self, origin: &[usize], chunk: &[usize], bytes: &[u8], take: &mut impl FnMut(usize, &[u8])) {
        let rank = self.shape.len();
        let inside: Vec<usize> = (0..rank).map(|d| chunk[d].min(self.shape[d] - origin[d])).collect();
        // Dimensions from `whole` on lie in a row in both: a run spans them and the part of the one before.
        let mut whole = rank;
        while whole > 0 && inside[whole - 1] == self.shape[whole - 1] && inside[whole - 1] == chunk[whole - 1] {
            whole -= 1;
        }
        let first = whole.saturating_sub(1);
        let run: usize = inside[first..].iter().product();
        let strides = |shape: &[usize]| -> Vec<usize> { (0..rank).map(|d| shape[d + 1..].iter().product()).collect() };
        let (outer, inner) = (strides(&self.shape), strides(chunk));
        let mut at = vec![0; first];
        loop {
            let from: usize = at.iter().zip(&inner).map(|(a, s)| a * s).sum();
            let to: usize = origin.iter().enumerate().map(|(d, o)| (o + at.get(d).unwrap_or(&0)) * outer[d]).sum();
            take(to, &bytes[from * self.width..(from + run) * self.width]);
            let Some(next) = (0..first).rev().find(|&d| at[d] + 1 < inside[d]) else { return };
            at[next] += 1;
            at[next + 1..].fill(0);
        }
    }
}

/// Whether a data set of these extents can be in a file of `length` bytes.
fn fits(shape: &[usize], width: usize, length: usize) -> bool {
    let limit = Stored::limit(length);
    shape.iter().try_fold(width, |n, &d| n.checked_mul(d)).is_some_and(|n| n <= limit)
}

/// The chunks that were written, by the library. An error where one lies where none can be, or twice: the library would read it
/// all the same.
fn visited(set: &hdf5::Dataset, shape: &[usize], chunk: &[usize]) -> Result<Vec<Chunk>, String> {
    let expected = count(shape, chunk).ok_or("it has more chunks than can be counted")?;
    let mut chunks = Vec::with_capacity(expected.min(1 << 16));
    let mut more = false;
    let visited = set.chunks_visit(|found| {
        let origin: Vec<usize> = found.offset.iter().map(|&o| usize::try_from(o).unwrap_or(usize::MAX)).collect();
        more |= chunks.len() == expected;
        if more {
            return 1;
        }
        chunks.push(Chunk { origin, address: found.addr, bytes: found.size, skipped: found.filter_mask });
        0
    });
    visited.map_err(|e| format!("its index of chunks cannot be followed: {e}"))?;
    if more { Err(MISPLACED.into()) } else { Ok(chunks) }
}

/// Refuses chunks that together have more bytes than a file of `length`, or claim to hold more than any such file can.
fn claimed(chunks: &[Chunk], size: usize, length: usize) -> Result<(), String> {
    let stored = chunks.iter().fold(0u64, |sum, chunk| sum.saturating_add(chunk.bytes));
    if stored > length as u64 {
        return Err(format!(
            "its {} chunks have {stored} bytes in a file of {length}, so they lie upon each other: the file is damaged",
            chunks.len()
        ));
    }
    let held = size.saturating_mul(chunks.len());
    if held > Stored::limit(length) {
        return Err(format!(
            "its {} chunks claim to hold {held} bytes in a file of {length}: the file is damaged",
            chunks.len()
        ));
    }
    Ok(())
}

/// Chunks that a data set has; none for those without an element, or without number.
fn count(shape: &[usize], chunk: &[usize]) -> Option<usize> {
    let whole = chunk.iter().all(|&c| c > 0);
    whole.then(|| shape.iter().zip(chunk).try_fold(1usize, |n, (s, c)| n.checked_mul(s.div_ceil(*c)))).flatten()
}

/// Whether each is at a place of its own: a damaged index may name one twice, and another would be left out.
fn are_places(chunks: &[Chunk], shape: &[usize], chunk: &[usize]) -> bool {
    let inside = |origin: &[usize]| {
        origin.len() == shape.len() && origin.iter().zip(shape).zip(chunk).all(|((o, s), c)| o < s && o % c == 0)
    };
    let mut places: Vec<&[usize]> = chunks.iter().map(|chunk| chunk.origin.as_slice()).collect();
    places.sort_unstable();
    places.windows(2).all(|pair| pair[0] != pair[1]) && places.into_iter().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdf5::filters::Filter;

    /// The elements as bytes, by our own reading; none where the library has to do it.
    fn bytes(path: &Path, name: &str) -> Option<Result<Vec<u8>, String>> {
        let file = hdf5::File::open(path).unwrap();
        let set = file.dataset(name).unwrap();
        let content = std::fs::read(path).unwrap();
        let stored = match Stored::of(&set, path, &content) {
            Ok(stored) => stored.filter(|stored| !stored.has_holes())?,
            Err(problem) => return Some(Err(problem)),
        };
        let mut all = vec![0xaa; stored.width * stored.shape.iter().product::<usize>()];
        let mut seen = vec![0; all.len() / stored.width];
        let read = stored.runs(&content, |first, bytes| {
            all[first * stored.width..][..bytes.len()].copy_from_slice(bytes);
            seen[first..first + bytes.len() / stored.width].iter_mut().for_each(|n| *n += 1);
        });
        assert!(read.is_err() || seen.iter().all(|&n| n == 1), "each element once");
        Some(read.map(|()| all))
    }

    fn numbers(count: usize) -> Vec<f64> {
        (0..count).map(|i| (i as f64).sin() + (i / 7) as f64).collect()
    }

    #[test]
    fn chunks_of_every_shape_and_pipeline_hold_what_the_library_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let shapes: [(&[usize], &[usize]); 8] = [
            (&[60], &[60]),
            (&[61], &[8]),
            (&[6, 10], &[6, 10]),
            (&[7, 10], &[2, 10]),
            (&[7, 11], &[3, 4]),
            (&[5, 3, 4], &[2, 3, 4]),
            (&[5, 3, 4], &[1, 2, 3]),
            (&[4, 4], &[9, 1]),
        ];
        let filters: [&[Filter]; 5] = [
            &[],
            &[Filter::Deflate(4)],
            &[Filter::Shuffle, Filter::Deflate(1)],
            &[Filter::Shuffle, Filter::Deflate(9), Filter::Fletcher32],
            &[Filter::Fletcher32],
        ];
        for (s, (shape, chunk)) in shapes.into_iter().enumerate() {
            for (f, pipeline) in filters.into_iter().enumerate() {
                let path = folder.path().join(format!("{s}-{f}.h5"));
                let file = hdf5::File::create(&path).unwrap();
                // A chunk larger than the data needs dimensions that may grow.
                let extents = hdf5::Extents::resizable(hdf5::SimpleExtents::new(shape).dims().into());
                let create = |name: &str, filters: &[Filter]| {
                    let builder = file.new_dataset::<f64>().chunk(chunk.to_vec()).set_filters(filters);
                    builder.shape(extents.clone()).create(name).unwrap()
                };
                let values = numbers(shape.iter().product());
                create("x", pipeline).write_raw(&values).unwrap();
                drop(file);
                let expected: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                assert_eq!(bytes(&path, "x").unwrap().unwrap(), expected, "{shape:?} {chunk:?} {pipeline:?}");
            }
        }
    }

    #[test]
    fn what_is_odd_stays_with_the_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.h5");
        let file = hdf5::File::create(&path).unwrap();
        file.new_dataset::<f64>().no_chunk().shape(4).create("plain").unwrap().write_raw(&numbers(4)).unwrap();
        file.new_dataset::<f64>().no_chunk().shape(4).create("unwritten").unwrap();
        let holes =
            file.new_dataset::<f64>().chunk(2).shape(hdf5::Extents::resizable(4.into())).create("holes").unwrap();
        holes.write_slice(&numbers(2), 0..2).unwrap();
        let packed = file.new_dataset::<i64>().chunk(4).shape(4).scale_offset(hdf5::filters::ScaleOffset::Integer(0));
        packed.create("packed").unwrap().write_raw(&[1i64, 2, 3, 4]).unwrap();
        drop((holes, file));
        assert!(bytes(&path, "plain").unwrap().is_ok());
        for name in ["unwritten", "holes", "packed"] {
            assert!(bytes(&path, name).is_none(), "{name}");
        }
    }

    #[test]
    fn damaged_chunks_are_told_with_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        let file = hdf5::File::create(&path).unwrap();
        let set = file.new_dataset::<f64>().chunk(8).shape(16).shuffle().deflate(6).fletcher32().create("x").unwrap();
        set.write_raw(&numbers(16)).unwrap();
        let place = usize::try_from(set.chunk_info(1).unwrap().addr).unwrap();
        drop((set, file));
        let mut content = std::fs::read(&path).unwrap();
        content[place + 5] ^= 4;
        crate::durable::write(&path, &content).unwrap();
        assert_eq!(bytes(&path, "x").unwrap().unwrap_err(), "the chunk at [8] does not fit its checksum");
        // Without the last chunk.
        let file = hdf5::File::open(&path).unwrap();
        let stored = Stored::of(&file.dataset("x").unwrap(), &path, &content).unwrap().unwrap();
        let error = stored.runs(&content[..place + 4], |_, _| ()).unwrap_err();
        assert_eq!(error, format!("the chunk at [8] lies beyond the file's {} bytes", place + 4));
    }
}
