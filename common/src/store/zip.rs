//! Zip archives, as far as torch and numpy use them: a directory at the end, entries stored or deflated, zip64.
//!
//! Names, places and sizes come from the central directory; every entry is compared with its checksum when read. Sizes
//! are believed only after they were compared with what is there, so a small file cannot ask for much memory.
//!
//! Own code, because the crate `zip` gives entries as streams: a stored tensor of 256 MiB in a mapped file took it 0.73 s
//! and 256 MiB of memory, where a slice of the map whose checksum is compared takes 0.035 s and none (`zip` 0.6.6, one core).
//! Checkpoints are read this way, and arrays of `.npz`.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Deflate shrinks by 1032 at most.
const DEFLATE_LIMIT: u64 = 1100;

/// An archive over the bytes of a file.
#[derive(Debug)]
pub(super) struct Zip<'a> {
    bytes: &'a [u8],
    directory: Directory,
}

/// What an archive holds, and where.
#[derive(Debug, Default)]
pub(super) struct Directory {
    entries: BTreeMap<String, Entry>,
    /// Names in the order of the directory.
    order: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    deflated: bool,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
}

/// Reads little-endian fields; every step is checked.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|&e| e <= self.bytes.len());
        let end = end.ok_or_else(|| format!("truncated: a zip record goes on behind byte {}", self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> Result<u64, String> {
        let mut value = [0; 8];
        value[..width].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(value))
    }
}

impl<'a> Zip<'a> {
    /// Reads the central directory. An error is the text after the path.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let end = end_of_directory(bytes).ok_or("truncated: the zip archive has no directory at its end")?;
        let mut record = Cursor { bytes, at: end + 10 };
        let mut count = record.number(2)?;
        let mut length = record.number(4)?;
        let mut offset = record.number(4)?;
        if count == 0xffff || length == 0xffff_ffff || offset == 0xffff_ffff {
            // The true numbers are in the zip64 record, which a locator before the end record points to.
            let locator = end.checked_sub(20).ok_or("truncated: the zip64 locator is missing")?;
            let mut locator = Cursor { bytes, at: locator };
            if locator.number(4)? != 0x0706_4b50 {
                return Err("the zip64 locator is damaged".into());
            }
            locator.take(4)?;
            let at = usize::try_from(locator.number(8)?).unwrap_or(usize::MAX);
            let mut wide = Cursor { bytes, at: at.min(bytes.len()) };
            if wide.number(4)? != 0x0606_4b50 {
                return Err("the zip64 record is damaged".into());
            }
            wide.take(28)?;
            count = wide.number(8)?;
            length = wide.number(8)?;
            offset = wide.number(8)?;
        }
        if offset.checked_add(length).is_none_or(|directory_end| directory_end > end as u64) {
            return Err("the zip directory lies outside of the file".into());
        }
        // Each entry takes at least 46 bytes, so a damaged count cannot cost much.
        if count > length / 46 {
            return Err(format!("the zip directory claims {count} entries in {length} bytes"));
        }
        let mut cursor = Cursor { bytes: &bytes[..(offset + length) as usize], at: offset as usize };
        let mut directory = Directory::default();
        for _ in 0..count {
            let (name, entry) = directory_entry(&mut cursor)?;
            if directory.entries.insert(name.clone(), entry).is_some() {
                return Err(format!("the zip entry `{name}` appears twice"));
            }
            directory.order.push(name);
        }
        Ok(Self { bytes, directory })
    }

    /// What it holds, apart from the bytes.
    pub(super) fn into_directory(self) -> Directory {
        self.directory
    }

    /// Names of all entries in the order of the directory.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.directory.names()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.directory.entries.contains_key(name)
    }

    /// Content of an entry that must not be compressed, its checksum verified.
    pub(super) fn stored(&self, name: &str) -> Result<&'a [u8], String> {
        if self.directory.entries.get(name).is_some_and(|entry| entry.deflated) {
            return Err(format!("zip entry `{name}`: is compressed, expected stored"));
        }
        match self.read(name, 0)? {
            Cow::Borrowed(content) => Ok(content),
            Cow::Owned(_) => Err(format!("zip entry `{name}`: is not stored as a whole")),
        }
    }

    /// Content of an entry, its checksum verified: a slice of the file where it is stored, inflated to at most `limit`
    /// bytes otherwise.
    pub(super) fn read(&self, name: &str, limit: usize) -> Result<Cow<'a, [u8]>, String> {
        self.directory.read(self.bytes, name, limit)
    }
}

impl Directory {
    /// As [`Zip::read`], from the bytes that this directory is of.
    pub(super) fn read<'a>(&self, bytes: &'a [u8], name: &str, limit: usize) -> Result<Cow<'a, [u8]>, String> {
        let entry = self.entries.get(name).ok_or_else(|| format!("the zip archive has no entry `{name}`"))?;
        let bad = |problem: String| format!("zip entry `{name}`: {problem}");
        if entry.deflated && entry.size > limit as u64 {
            return Err(bad(format!("claims to inflate to {} bytes, expected at most {limit}", entry.size)));
        }
        let packed = packed(bytes, entry).map_err(bad)?;
        let content =
            if entry.deflated { Cow::Owned(inflate(packed, entry.size).map_err(bad)?) } else { packed.into() };
        if content.len() as u64 != entry.size {
            return Err(bad(format!("has {} bytes, expected {}", content.len(), entry.size)));
        }
        let crc = crc32fast::hash(&content);
        if crc != entry.crc {
            return Err(bad(format!("has the checksum {crc:08x}, expected {:08x}; the file is damaged", entry.crc)));
        }
        Ok(content)
    }

    /// Names of all entries in the order of the directory.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }
}

/// The bytes behind the local header. Its fields are not used, but for the lengths that tell where the data begins.
fn packed<'a>(bytes: &'a [u8], entry: &Entry) -> Result<&'a [u8], String> {
    let at = usize::try_from(entry.offset).unwrap_or(usize::MAX).min(bytes.len());
    let mut cursor = Cursor { bytes, at };
    if cursor.number(4)? != 0x0403_4b50 {
        return Err(format!("no local header at byte {at}"));
    }
    cursor.take(22)?;
    let name = cursor.number(2)? as usize;
    let extra = cursor.number(2)? as usize;
    cursor.take(name + extra)?;
    cursor.take(usize::try_from(entry.packed).unwrap_or(usize::MAX))
}

/// Position of the end record: the last one whose comment reaches exactly to the end of the file.
fn end_of_directory(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(22)?;
    let first = last.saturating_sub(0xffff);
    (first..=last).rev().find(|&at| {
        bytes[at..].starts_with(b"PK\x05\x06")
            && at + 22 + usize::from(u16::from_le_bytes([bytes[at + 20], bytes[at + 21]])) == bytes.len()
    })
}

fn directory_entry(cursor: &mut Cursor<'_>) -> Result<(String, Entry), String> {
    let at = cursor.at;
    if cursor.number(4)? != 0x0201_4b50 {
        return Err(format!("the zip directory is damaged at byte {at}"));
    }
    cursor.take(4)?;
    let flags = cursor.number(2)?;
    let method = cursor.number(2)?;
    cursor.take(4)?;
    let crc = cursor.number(4)? as u32;
    let mut packed = cursor.number(4)?;
    let mut size = cursor.number(4)?;
    let name_length = cursor.number(2)? as usize;
    let extra_length = cursor.number(2)? as usize;
    let comment_length = cursor.number(2)? as usize;
    cursor.take(8)?;
    let mut offset = cursor.number(4)?;
    let name = String::from_utf8_lossy(cursor.take(name_length)?).into_owned();
    let mut extra = Cursor { bytes: cursor.take(extra_length)?, at: 0 };
    cursor.take(comment_length)?;
    while extra.bytes.len() - extra.at >= 4 {
        let id = extra.number(2)?;
        let length = extra.number(2)? as usize;
        let mut field = Cursor { bytes: extra.take(length)?, at: 0 };
        if id == 1 {
            // zip64: only those of the three numbers are here that did not fit above, in this order.
            for number in [&mut size, &mut packed, &mut offset] {
                if *number == 0xffff_ffff {
                    *number = field.number(8)?;
                }
            }
        }
    }
    if flags & 1 != 0 {
        return Err(format!("the zip entry `{name}` is encrypted"));
    }
    let deflated = match method {
        0 => false,
        8 => true,
        other => {
            return Err(format!("the zip entry `{name}` has the compression {other}, expected stored or deflated"));
        }
    };
    Ok((name, Entry { deflated, crc, packed, size, offset }))
}

fn inflate(packed: &[u8], size: u64) -> Result<Vec<u8>, String> {
    if size > (packed.len() as u64).saturating_mul(DEFLATE_LIMIT) {
        return Err(format!("claims to inflate from {} to {size} bytes", packed.len()));
    }
    let mut content = Vec::with_capacity(size as usize);
    let mut decoder = flate2::Decompress::new(false);
    let status = decoder
        .decompress_vec(packed, &mut content, flate2::FlushDecompress::Finish)
        .map_err(|e| format!("cannot be inflated: {e}"))?;
    if status != flate2::Status::StreamEnd {
        return Err(format!("inflates to something else than the {size} bytes that it claims"));
    }
    Ok(content)
}

/// Writes stored entries with their data at multiples of 64 bytes, as torch does so that files can be mapped.
pub(super) struct ZipWriter<W: std::io::Write> {
    out: W,
    written: u64,
    directory: Vec<u8>,
    count: u64,
}

impl<W: std::io::Write> ZipWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, written: 0, directory: Vec::new(), count: 0 }
    }

    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let size = content.len() as u64;
        let offset = self.written;
        let crc = crc32fast::hash(content);
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        // Locally both sizes are there or none; in the directory only what did not fit.
        let wide = size >= u64::from(u32::MAX);
        let mut local = Vec::new();
        if wide {
            local.extend([1, 0, 16, 0]);
            local.extend(size.to_le_bytes());
            local.extend(size.to_le_bytes());
        }
        let unpadded = offset + 30 + name.len() as u64 + local.len() as u64 + 4;
        let padding = (unpadded.next_multiple_of(64) - unpadded) as usize;
        local.extend(b"FB");
        local.extend((padding as u16).to_le_bytes());
        local.resize(local.len() + padding, b'Z');

        let mut common = Vec::new();
        common.extend(if wide { 45u16 } else { 20 }.to_le_bytes());
        // Flags, method, time; 1 January 1980 is the earliest date that the format has.
        common.extend([0, 0, 0, 0, 0, 0, 0x21, 0]);
        common.extend(crc.to_le_bytes());
        common.extend(narrow(size).to_le_bytes());
        common.extend(narrow(size).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());

        let mut header = b"PK\x03\x04".to_vec();
        header.extend(&common);
        header.extend((local.len() as u16).to_le_bytes());
        header.extend(name.as_bytes());
        header.extend(&local);
        self.out.write_all(&header)?;
        self.out.write_all(content)?;
        self.written += header.len() as u64 + size;

        let mut extra = Vec::new();
        if wide {
            extra.extend(size.to_le_bytes());
            extra.extend(size.to_le_bytes());
        }
        if offset >= u64::from(u32::MAX) {
            extra.extend(offset.to_le_bytes());
        }
        if !extra.is_empty() {
            let length = extra.len() as u16;
            extra.splice(0..0, [1, 0].into_iter().chain(length.to_le_bytes()));
        }
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(if extra.is_empty() { 20u16 } else { 45 }.to_le_bytes());
        self.directory.extend(&common);
        self.directory.extend((extra.len() as u16).to_le_bytes());
        self.directory.extend([0; 10]);
        self.directory.extend(narrow(offset).to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.directory.extend(&extra);
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> std::io::Result<()> {
        let (offset, length) = (self.written, self.directory.len() as u64);
        let mut end = std::mem::take(&mut self.directory);
        if offset >= u64::from(u32::MAX) || length >= u64::from(u32::MAX) || self.count >= 0xffff {
            end.extend(b"PK\x06\x06");
            end.extend(44u64.to_le_bytes());
            end.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            for number in [self.count, self.count, length, offset] {
                end.extend(number.to_le_bytes());
            }
            end.extend(b"PK\x06\x07\0\0\0\0");
            end.extend((offset + length).to_le_bytes());
            end.extend(1u32.to_le_bytes());
        }
        end.extend(b"PK\x05\x06\0\0\0\0");
        let count = u16::try_from(self.count).unwrap_or(u16::MAX).to_le_bytes();
        end.extend(count);
        end.extend(count);
        end.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        end.extend(u32::try_from(offset).unwrap_or(u32::MAX).to_le_bytes());
        end.extend([0, 0]);
        self.out.write_all(&end)
    }
}

/// An archive of one deflated entry, for the tests of the formats built on archives.
#[cfg(test)]
pub(super) fn deflated_archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(content.len() + 100);
    flate2::Compress::new(flate2::Compression::default(), false)
        .compress_vec(content, &mut packed, flate2::FlushCompress::Finish)
        .unwrap();
    let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
    common.extend(crc32fast::hash(content).to_le_bytes());
    common.extend((packed.len() as u32).to_le_bytes());
    common.extend((content.len() as u32).to_le_bytes());
    common.extend((name.len() as u16).to_le_bytes());
    let local = [b"PK\x03\x04", &common[..], &[0, 0], name.as_bytes(), &packed].concat();
    let directory = [b"PK\x01\x02\x14\0", &common[..], &[0; 16], name.as_bytes()].concat();
    let mut end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
    end.extend((directory.len() as u32).to_le_bytes());
    end.extend((local.len() as u32).to_le_bytes());
    end.extend([0, 0]);
    [local, directory, end].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ZipWriter::new(&mut bytes);
        for (name, content) in entries {
            writer.add(name, content).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn entries_are_aligned_and_read_back() {
        let bytes = archive(&[("a/data.pkl", b"first"), ("a/data/0", &[7; 1000])]);
        let zip = Zip::parse(&bytes).unwrap();
        assert_eq!(zip.names().collect::<Vec<_>>(), ["a/data.pkl", "a/data/0"]);
        let Cow::Borrowed(content) = zip.read("a/data/0", 0).unwrap() else { panic!("a stored entry was copied") };
        assert_eq!(content, [7; 1000]);
        assert_eq!((content.as_ptr() as usize - bytes.as_ptr() as usize) % 64, 0);
    }

    #[test]
    fn more_entries_than_the_old_directory_can_count_need_zip64() {
        let names: Vec<_> = (0..70_000).map(|i| i.to_string()).collect();
        let entries: Vec<_> = names.iter().map(|n| (n.as_str(), n.as_bytes())).collect();
        let bytes = archive(&entries);
        let zip = Zip::parse(&bytes).unwrap();
        assert_eq!(zip.names().count(), 70_000);
        assert_eq!(&*zip.read("69999", 0).unwrap(), b"69999");
    }

    #[test]
    fn deflated_entries_are_inflated_up_to_the_limit() {
        let content = b"again and ".repeat(100);
        let bytes = deflated_archive("x", &content);
        let zip = Zip::parse(&bytes).unwrap();
        assert_eq!(&*zip.read("x", 1000).unwrap(), content);
        assert!(zip.read("x", 999).unwrap_err().contains("expected at most 999"));
        assert!(zip.stored("x").is_err());
    }

    #[test]
    fn changed_bytes_and_overlong_claims_are_found() {
        let sound = archive(&[("a", b"content")]);
        let content = sound.windows(7).position(|w| w == b"content").unwrap();
        let mut changed = sound.clone();
        changed[content] ^= 1;
        assert!(Zip::parse(&changed).unwrap().read("a", usize::MAX).unwrap_err().contains("has the checksum"));
        // The sizes in the directory, 20 bytes behind its signature.
        let sizes = sound.windows(4).position(|w| w == b"PK\x01\x02").unwrap() + 20;
        let mut long = sound.clone();
        long[sizes..sizes + 4].copy_from_slice(&0x7000_0000u32.to_le_bytes());
        assert!(Zip::parse(&long).unwrap().read("a", usize::MAX).unwrap_err().contains("truncated"));
        let mut bomb = sound;
        bomb[sizes + 4..sizes + 8].copy_from_slice(&0x7000_0000u32.to_le_bytes());
        bomb[sizes - 10] = 8;
        assert!(
            Zip::parse(&bomb)
                .unwrap()
                .read("a", usize::MAX)
                .unwrap_err()
                .contains("claims to inflate from 7 to 1879048192")
        );
    }
}
