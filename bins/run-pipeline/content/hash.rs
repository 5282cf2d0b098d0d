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
use crate::declare::text::json_string;

/// Bytes read at once.
const BLOCK: usize = 1 << 20;
/// Folders that DVC never looks into.
const PASSED_OVER: [&str; 3] = [".git", ".hg", ".dvc"];

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
        if kind.is_dir() {
            if !PASSED_OVER.contains(&name) {
                walk(&path, &format!("{prefix}{name}/"), seen, entries)?;
            }
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
    fn what_is_not_there_has_no_content() {
        let folder = tempfile::tempdir().unwrap();
        let seen = Seen::open(folder.path().join("seen"));
        assert_eq!(content(&folder.path().join("none"), &seen).unwrap(), None);
    }
}
