//! MD5 of files and folders as DVC takes them.
//!
//! A folder's hash is that of the JSON list of its files (`md5`, `relpath`), sorted by path, with the ending `.dir`.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{Error, Result};
use md5::{Digest, Md5};

use super::seen::{Seen, Stamp};
use crate::run_pipeline::declare::text::json_string;

/// Bytes read at once.
const BLOCK: usize = 1 << 20;
/// Bytes of a file that DVC 2 looked at to tell text from anything else.
const TEXT_BYTES: usize = 512;

/// Hash and size of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// 32 hexadecimal digits, and `.dir` for a folder.
    pub md5: String,
    /// Bytes of all files.
    pub size: u64,
    /// Number of files; only for a folder.
    pub files: Option<u64>,
    /// The owner may execute the file.
    pub executable: bool,
}

/// A file of a folder.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Below the folder, with `/`.
    pub path: String,
    pub md5: String,
    pub size: u64,
}

/// Hash of what lies at `path`; none where nothing does.
pub fn content(path: &Path, seen: &Seen) -> Result<Option<Content>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(Error::io("looking at", path, e)),
    };
    if metadata.is_dir() {
        let entries = folder(path, seen)?;
        let md5 = hex(&Md5::digest(listing(&entries).as_bytes())) + ".dir";
        let size = entries.iter().map(|e| e.size).sum();
        return Ok(Some(Content { md5, size, files: Some(entries.len() as u64), executable: false }));
    }
    if !metadata.is_file() {
        return Err(Error::input(path, "is neither a file nor a folder"));
    }
    let md5 = file(path, seen)?;
    Ok(Some(Content { md5, size: metadata.len(), files: None, executable: metadata.mode() & 0o100 != 0 }))
}

/// All files below a folder with their hashes, sorted by path.
pub fn folder(path: &Path, seen: &Seen) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    walk(path, "", seen, &mut entries)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn walk(folder: &Path, prefix: &str, seen: &Seen, entries: &mut Vec<Entry>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::io("listing", folder, e))? {
        let entry = entry.map_err(|e| Error::io("listing", folder, e))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(Error::input(&path, "has a name that is not UTF-8; the lock cannot hold it"));
        };
        let kind = entry.file_type().map_err(|e| Error::io("looking at", &path, e))?;
        if seen.ignores(&path, kind.is_dir()) {
            continue;
        }
        if name == ".dvcignore" {
            return Err(Error::input(&path, "lies in a folder that is a dep or an out, which dvc refuses")
                .hint("move its lines into the `.dvcignore` of a folder above"));
        }
        if kind.is_dir() {
            walk(&path, &format!("{prefix}{name}/"), seen, entries)?;
            continue;
        }
        let metadata = fs::metadata(&path).map_err(|e| Error::io("looking at", &path, e))?;
        if metadata.is_dir() {
            continue; // a link to a folder: as in DVC its files belong to that folder
        }
        if !metadata.is_file() {
            return Err(Error::input(&path, "is neither a file nor a folder"));
        }
        entries.push(Entry { path: format!("{prefix}{name}"), md5: file(&path, seen)?, size: metadata.len() });
    }
    Ok(())
}

/// The JSON text that a folder's hash is taken of.
pub fn listing(entries: &[Entry]) -> String {
    let item = |e: &Entry| format!("{{\"md5\": {}, \"relpath\": {}}}", json_string(&e.md5), json_string(&e.path));
    format!("[{}]", entries.iter().map(item).collect::<Vec<_>>().join(", "))
}

/// Hash of a file, read only when it changed since it was hashed last.
pub fn file(path: &Path, seen: &Seen) -> Result<String> {
    let mut opened = File::open(path).map_err(|e| Error::opening(path, e))?;
    let look = |file: &File| file.metadata().map(|m| Stamp::of(&m)).map_err(|e| Error::io("looking at", path, e));
    let before = look(&opened)?;
    if let Some(hash) = seen.get(path, &before) {
        return Ok(hash);
    }
    let mut hasher = Md5::new();
    let mut block = vec![0; BLOCK.min(opened.metadata().map_or(BLOCK, |m| m.len() as usize + 1))];
    loop {
        match opened.read(&mut block).map_err(|e| Error::io("reading", path, e))? {
            0 => break,
            n => hasher.update(&block[..n]),
        }
    }
    let hash = hex(&hasher.finalize());
    if look(&opened)? == before {
        seen.put(path, before, &hash);
    }
    Ok(hash)
}

/// The hash of a file or folder as DVC 2 took it: text files without their carriage returns. None where nothing lies.
pub fn legacy(path: &Path, seen: &Seen) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    if !path.is_dir() {
        return legacy_file(path).map(Some);
    }
    let mut entries = folder(path, seen)?;
    for entry in &mut entries {
        entry.md5 = legacy_file(&path.join(&entry.path))?;
    }
    Ok(Some(hex(&Md5::digest(listing(&entries).as_bytes())) + ".dir"))
}

/// Block by block, as DVC 2 did: a pair of `\r` and `\n` that two blocks part stays, and each block is text or not by itself.
fn legacy_file(path: &Path) -> Result<String> {
    let mut opened = File::open(path).map_err(|e| Error::opening(path, e))?;
    let mut hasher = Md5::new();
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        let read = (&mut opened).take(BLOCK as u64).read_to_end(&mut block);
        if read.map_err(|e| Error::io("reading", path, e))? == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        if !is_text(&block[..block.len().min(TEXT_BYTES)]) {
            hasher.update(&block);
            continue;
        }
        let pairs = block.iter().zip(block.iter().skip(1).chain([&0]));
        let unix: Vec<u8> = pairs.filter(|pair| *pair != (&b'\r', &b'\n')).map(|(byte, _)| *byte).collect();
        hasher.update(&unix);
    }
}

/// DVC's rule: no zero byte, and at most 30 % of other bytes than those of plain text.
fn is_text(block: &[u8]) -> bool {
    let plain = |byte: &&u8| matches!(byte, 32..=126 | b'\n' | b'\r' | b'\t' | 12 | 8);
    let others = block.len() - block.iter().filter(plain).count();
    !block.contains(&0) && others * 10 <= block.len() * 3
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_the_hash_that_dvc_gives_it() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [(".h", ""), ("a.txt", "hello\n"), ("q/b.txt", "x")] {
            common::durable::write(folder.path().join(name), text.as_bytes()).unwrap();
        }
        let seen = Seen::open(folder.path().join("../seen-of-none"));
        let found = content(folder.path(), &seen).unwrap().unwrap();
        assert_eq!(found.md5, "14f5e7e32e6fd2ebb2a41a24607f85c1.dir");
        assert_eq!((found.size, found.files), (7, Some(3)));
    }

    #[test]
    fn paths_are_sorted_by_code_point_and_escaped() {
        let entry = |path: &str| Entry { path: path.into(), md5: "0".into(), size: 0 };
        let text = listing(&[entry("é\"")]);
        assert_eq!(text, "[{\"md5\": \"0\", \"relpath\": \"\\u00e9\\\"\"}]");
        assert_eq!(listing(&[]), "[]");
    }

    #[test]
    fn the_hash_of_dvc_2_leaves_carriage_returns_of_text_out_and_those_of_other_files_in() {
        let folder = tempfile::tempdir().unwrap();
        let seen = Seen::open(folder.path().join("seen"));
        let hash = |bytes: &[u8]| {
            let path = folder.path().join("x");
            common::durable::write(&path, bytes).unwrap();
            (legacy(&path, &seen).unwrap().unwrap(), file(&path, &seen).unwrap())
        };
        assert_eq!(hash(b"1\r\n2\r\n").0, hash(b"1\n2\n").1);
        let (old, new) = hash(b"\0\r\n");
        assert_eq!(old, new);
        let (old, new) = hash(b"\r");
        assert_eq!(old, new);
    }

    #[test]
    fn what_is_not_there_has_no_content() {
        let folder = tempfile::tempdir().unwrap();
        let seen = Seen::open(folder.path().join("seen"));
        assert_eq!(content(&folder.path().join("none"), &seen).unwrap(), None);
    }
}
