//! What the filters of a chunk did, undone by our own threads.
//!
//! The library's calls are served one at a time, and inflating is nearly all of the time that a compressed file takes. So the
//! filters that files in use have are undone here; a data set with any other one stays with the library.

use std::borrow::Cow;
use std::io::Read;

use hdf5::filters::Filter;

/// Numbers of filters that the library lacks, as registered with The HDF Group.
const BZIP2: i32 = 307;
const LZF: i32 = 32000;
const LZ4: i32 = 32004;
const ZSTANDARD: i32 = 32015;

/// What undoes one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// Deflate in a zlib stream.
    Inflate,
    /// Bytes of equal significance stood together.
    Unshuffle,
    /// A checksum stands behind the data.
    Fletcher32,
    /// A stream of bzip2.
    Bzip2,
    /// h5py's own compression.
    Lzf,
    /// Blocks of LZ4 behind a head.
    Lz4,
    /// A frame of Zstandard.
    Zstandard,
}

impl Undo {
    fn of(filter: &Filter) -> Option<Self> {
        Some(match filter {
            Filter::Deflate(_) => Self::Inflate,
            Filter::Shuffle => Self::Unshuffle,
            Filter::Fletcher32 => Self::Fletcher32,
            Filter::User(BZIP2, _) => Self::Bzip2,
            Filter::User(LZF, _) => Self::Lzf,
            Filter::User(LZ4, _) => Self::Lz4,
            Filter::User(ZSTANDARD, _) => Self::Zstandard,
            _ => return None,
        })
    }

    fn run<'a>(self, bytes: Cow<'a, [u8]>, width: usize, most: usize) -> Result<Cow<'a, [u8]>, String> {
        Ok(match self {
            Self::Inflate => inflated(&bytes, most)?.into(),
            Self::Unshuffle => unshuffled(&bytes, width).into(),
            Self::Fletcher32 => {
                let whole = bytes.len().checked_sub(4).ok_or("is shorter than its checksum")?;
                let stored = u32::from_le_bytes([bytes[whole], bytes[whole + 1], bytes[whole + 2], bytes[whole + 3]]);
                // Writers of version 1.6.2 exchanged the bytes of each half; the library takes both.
                let sum = fletcher32(&bytes[..whole]);
                let exchanged = ((sum & 0x00ff_00ff) << 8) | ((sum >> 8) & 0x00ff_00ff);
                if stored != sum && stored != exchanged {
                    return Err("does not fit its checksum".into());
                }
                match bytes {
                    Cow::Borrowed(bytes) => (&bytes[..whole]).into(),
                    Cow::Owned(mut bytes) => {
                        bytes.truncate(whole);
                        bytes.into()
                    }
                }
            }
            Self::Bzip2 => bunzipped(&bytes, most)?.into(),
            Self::Lzf => lzf(&bytes, most)?.into(),
            Self::Lz4 => lz4_blocks(&bytes, most)?.into(),
            Self::Zstandard => {
                let mut out = vec![0; most];
                let count =
                    zstd::bulk::decompress_to_buffer(&bytes, &mut out).map_err(|e| format!("Zstandard: {e}"))?;
                out.truncate(count);
                out.into()
            }
        })
    }
}

/// The filters of a data set, in the order in which they were applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    steps: Vec<Undo>,
    /// Bytes an element.
    width: usize,
}

impl Pipeline {
    /// None where one of them is not known here.
    pub fn of(filters: &[Filter], width: usize) -> Option<Self> {
        let steps = filters.iter().map(Undo::of).collect::<Option<_>>()?;
        Some(Self { steps, width })
    }

    /// By the numbers of the filters, as files have them.
    pub fn numbered(filters: &[u16], width: usize) -> Option<Self> {
        let of = |number: &u16| {
            Undo::of(&match number {
                1 => Filter::Deflate(0),
                2 => Filter::Shuffle,
                3 => Filter::Fletcher32,
                other => Filter::User((*other).into(), Vec::new()),
            })
        };
        Some(Self { steps: filters.iter().map(of).collect::<Option<_>>()?, width })
    }

    /// The `size` bytes of a chunk. Bit `i` of `skipped` says that filter `i` was not applied to it. An error is the text after
    /// the chunk's place.
    pub fn undo<'a>(&self, stored: &'a [u8], skipped: u32, size: usize) -> Result<Cow<'a, [u8]>, String> {
        let mut bytes = Cow::Borrowed(stored);
        // A checksum is the most that stands beside the data.
        let most = size.checked_add(4 * self.steps.len()).ok_or("is of an impossible size")?;
        for (place, step) in self.steps.iter().enumerate().rev() {
            if place >= 32 || skipped >> place & 1 == 0 {
                bytes = step.run(bytes, self.width, most)?;
            }
        }
        match bytes.len() {
            found if found == size => Ok(bytes),
            found => Err(format!("holds {found} bytes, expected {size}")),
        }
    }
}

fn inflated(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out = vec![0; most];
    let count =
        libdeflater::Decompressor::new().zlib_decompress(bytes, &mut out).map_err(|e| format!("deflate: {e}"))?;
    out.truncate(count);
    Ok(out)
}

fn bunzipped(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(most);
    // One byte more tells that there is more.
    let mut stream = bzip2::read::BzDecoder::new(bytes).take(most as u64 + 1);
    stream.read_to_end(&mut out).map_err(|e| format!("bzip2: {e}"))?;
    Ok(out)
}

/// Elements of `width` bytes from all their first bytes, all their second ones, and so on; a rest stands as it is.
fn unshuffled(bytes: &[u8], width: usize) -> Vec<u8> {
    let count = bytes.len() / width.max(1);
    let mut out = vec![0; bytes.len()];
    match width {
        4 => gather::<4>(bytes, &mut out, count),
        8 => gather::<8>(bytes, &mut out, count),
        16 => gather::<16>(bytes, &mut out, count),
        _ => {
            for byte in 0..width {
                for (i, value) in bytes[byte * count..(byte + 1) * count].iter().enumerate() {
                    out[i * width + byte] = *value;
                }
            }
        }
    }
    let whole = count * width;
    out[whole..].copy_from_slice(&bytes[whole..]);
    out
}

/// Of a width known when this is compiled, so that an element is put together in a register.
fn gather<const W: usize>(bytes: &[u8], out: &mut [u8], count: usize) {
    let planes: [&[u8]; W] = std::array::from_fn(|byte| &bytes[byte * count..(byte + 1) * count]);
    for (i, element) in out[..W * count].as_chunks_mut::<W>().0.iter_mut().enumerate() {
        *element = std::array::from_fn(|byte| planes[byte][i]);
    }
}

/// Fletcher's sum over big-endian halves of 16 bits, as the library takes it.
fn fletcher32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (0u32, 0u32);
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let (pairs, rest) = bytes.as_chunks::<2>();
    // As many as cannot overflow between two folds.
    for block in pairs.chunks(360) {
        for pair in block {
            low += u32::from(u16::from_be_bytes(*pair));
            high += low;
        }
        (low, high) = (fold(low), fold(high));
    }
    if let [last] = rest {
        low += u32::from(*last) << 8;
        high += low;
        (low, high) = (fold(low), fold(high));
    }
    fold(high) << 16 | fold(low)
}

/// LibLZF's format: a control byte below 32 is followed by that many literals and one more; else it holds a length and, with
/// the bytes that follow, how far back to copy from.
fn lzf(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    const DAMAGED: &str = "LZF: the data end too early";
    let mut out = Vec::with_capacity(most);
    let mut rest = bytes;
    let mut next = |count: usize| {
        let (taken, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(taken)
    };
    while let Some(&[control]) = next(1) {
        let control = usize::from(control);
        if control < 32 {
            out.extend_from_slice(next(control + 1).ok_or(DAMAGED)?);
        } else {
            let mut length = control >> 5;
            if length == 7 {
                length += usize::from(next(1).ok_or(DAMAGED)?[0]);
            }
            let back = ((control & 31) << 8 | usize::from(next(1).ok_or(DAMAGED)?[0])) + 1;
            let begin = out.len().checked_sub(back).ok_or("LZF: refers to what lies before the beginning")?;
            // The copy may overlap itself.
            for i in 0..length + 2 {
                out.push(out[begin + i]);
            }
        }
        if out.len() > most {
            return Err("LZF: holds more than its chunk".into());
        }
    }
    Ok(out)
}

/// The filter's own frame: size of the data (8 bytes, big-endian) and of a block (4), then for each block its packed size (4)
/// and its bytes; a block that would not shrink is stored as it is.
fn lz4_blocks(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    const DAMAGED: &str = "LZ4: the data end too early";
    let (size, rest) = bytes.split_first_chunk::<8>().ok_or(DAMAGED)?;
    let (block, mut rest) = rest.split_first_chunk::<4>().ok_or(DAMAGED)?;
    let size = usize::try_from(u64::from_be_bytes(*size)).unwrap_or(usize::MAX);
    let block = u32::from_be_bytes(*block) as usize;
    if size > most || (block == 0 && size > 0) {
        return Err(format!("LZ4: claims {size} bytes in blocks of {block}"));
    }
    let mut out = Vec::with_capacity(size);
    while out.len() < size {
        let expected = block.min(size - out.len());
        let (packed, after) = rest.split_first_chunk::<4>().ok_or(DAMAGED)?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*packed) as usize).ok_or(DAMAGED)?;
        rest = after;
        if data.len() == expected {
            out.extend_from_slice(data);
            continue;
        }
        let expected = i32::try_from(expected).map_err(|_| DAMAGED)?;
        let unpacked = lz4::block::decompress(data, Some(expected)).map_err(|e| format!("LZ4: {e}"))?;
        if unpacked.len() != expected as usize {
            return Err(DAMAGED.into());
        }
        out.extend_from_slice(&unpacked);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_bytes_come_back_for_every_width_and_rest() {
        for width in [1, 2, 3, 4, 8, 16] {
            let plain: Vec<u8> = (0..=(10 * width as u8)).collect();
            let count = plain.len() / width;
            let mut shuffled: Vec<u8> =
                (0..width).flat_map(|b| (0..count).map(move |i| plain_at(i * width + b))).collect();
            shuffled.extend_from_slice(&plain[count * width..]);
            assert_eq!(unshuffled(&shuffled, width), plain, "{width}");
        }
    }

    fn plain_at(i: usize) -> u8 {
        i as u8
    }

    #[test]
    fn lzf_copies_overlap_and_damage_is_told() {
        // `abc`, then nine bytes from three back: length 7 + 0, plus 2.
        assert_eq!(lzf(b"\x02abc\xe0\x00\x02", 12).unwrap(), b"abcabcabcabc");
        assert_eq!(lzf(b"\x00a\x20\x00", 9).unwrap(), b"aaaa");
        assert!(lzf(b"\x00a\x20\x05", 9).unwrap_err().contains("before the beginning"));
        assert!(lzf(b"\x05a", 9).unwrap_err().contains("too early"));
        assert!(lzf(b"\x00a\xe0\xff\x00", 20).unwrap_err().contains("more than its chunk"));
    }

    #[test]
    fn blocks_of_lz4_are_put_together() {
        let plain: Vec<u8> = (0..1000u32).map(|i| (i / 100) as u8).collect();
        let mut packed = [1000u64.to_be_bytes().as_slice(), &600u32.to_be_bytes()].concat();
        for block in plain.chunks(600) {
            let small = lz4::block::compress(block, None, false).unwrap();
            packed.extend((small.len() as u32).to_be_bytes());
            packed.extend(small);
        }
        assert_eq!(lz4_blocks(&packed, 1000).unwrap(), plain);
        assert!(lz4_blocks(&packed[..packed.len() - 1], 1000).is_err());
        assert!(lz4_blocks(&packed, 999).unwrap_err().contains("claims 1000 bytes"));
        let stored = [4u64.to_be_bytes().as_slice(), &4u32.to_be_bytes(), &4u32.to_be_bytes(), b"abcd"].concat();
        assert_eq!(lz4_blocks(&stored, 4).unwrap(), b"abcd");
    }

    #[test]
    fn streams_of_bzip2_are_unpacked_up_to_the_size_of_their_chunk() {
        let plain: Vec<u8> = (0..2000u32).map(|i| (i / 7) as u8).collect();
        let mut packed = vec![];
        bzip2::read::BzEncoder::new(plain.as_slice(), bzip2::Compression::best()).read_to_end(&mut packed).unwrap();
        assert_eq!(bunzipped(&packed, 2000).unwrap(), plain);
        assert_eq!(bunzipped(&packed, 1000).unwrap().len(), 1001, "one more tells that there is more");
        assert!(bunzipped(&packed[..packed.len() / 2], 2000).unwrap_err().starts_with("bzip2: "));
    }

    #[test]
    fn a_chunk_of_another_size_is_refused() {
        let pipeline = Pipeline::of(&[Filter::Shuffle], 2).unwrap();
        assert_eq!(&*pipeline.undo(&[1, 3, 2, 4], 0, 4).unwrap(), [1, 2, 3, 4]);
        // Filter 0 was not applied to it.
        assert_eq!(&*pipeline.undo(&[1, 3, 2, 4], 1, 4).unwrap(), [1, 3, 2, 4]);
        assert_eq!(pipeline.undo(&[1, 2], 0, 4).unwrap_err(), "holds 2 bytes, expected 4");
        assert!(Pipeline::of(&[Filter::NBit], 2).is_none());
    }
}
