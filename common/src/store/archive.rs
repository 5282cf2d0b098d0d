//! Zip archives as they are downloaded: files in folders, read one by one without unpacking the archive to disk.
//!
//! A path may lead into an archive: `train_sample.zip/train_100_events/event000001000-hits.csv` is an entry of the file
//! `train_sample.zip`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Mapped;
use super::zip::{Directory, Zip};
use crate::error::{Error, Result};

/// Most bytes of one entry.
const LIMIT: usize = 4 << 30;
/// Archives that are kept open; their directories are read once.
const KEPT: usize = 4;

/// An open archive.
#[derive(Debug)]
pub struct Archive {
    mapped: Mapped,
    directory: Directory,
}

impl Archive {
    /// Opens a zip file.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that is no zip archive, is cut off, or holds what cannot be read (encrypted entries).
    pub fn open(path: &Path) -> Result<Self> {
        let mapped = Mapped::open(path)?;
        let directory = Zip::parse(mapped.bytes()).map_err(|problem| Error::input(path, problem))?.into_directory();
        Ok(Self { mapped, directory })
    }

    /// As [`Archive::open`], once for all readers of this process.
    pub fn shared(path: &Path) -> Result<Arc<Self>> {
        static OPEN: Mutex<Vec<Arc<Archive>>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = open.iter().find(|archive| archive.mapped.path() == path) {
            return Ok(Arc::clone(found));
        }
        let archive = Arc::new(Self::open(path)?);
        if open.len() == KEPT {
            open.remove(0);
        }
        open.push(Arc::clone(&archive));
        Ok(archive)
    }

    /// Names of its files, folders included (`train/event000001000-hits.csv`), without what other systems leave beside
    /// them (`__MACOSX`).
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.directory.names().filter(|name| !name.ends_with('/') && !name.starts_with("__MACOSX/"))
    }

    /// The content of a file.
    pub fn read(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let content = self.directory.read(self.mapped.bytes(), name, LIMIT);
        content.map_err(|problem| Error::input(self.mapped.path(), problem))
    }
}

/// Whether a path is a zip archive by its name, and a file.
pub fn is_zip(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip")) && path.is_file()
}

/// The archive that a path leads into, and the name of the entry there; the name is empty for the archive itself.
pub fn within(path: &Path) -> Option<(PathBuf, String)> {
    let archive = path.ancestors().find(|above| is_zip(above))?;
    let inside = path.strip_prefix(archive).ok()?;
    Some((archive.to_path_buf(), inside.to_string_lossy().into_owned()))
}

/// The file on disk that a path leads to or into.
pub fn on_disk(path: &Path) -> &Path {
    path.ancestors().find(|above| is_zip(above)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::zip::deflated_archive;

    #[test]
    fn entries_are_read_through_paths_that_lead_into_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.zip");
        crate::durable::write(&path, &deflated_archive("train/a.csv", b"hit_id\n1\n")).unwrap();
        let (archive, name) = within(&path.join("train/a.csv")).unwrap();
        assert_eq!((archive.as_path(), name.as_str()), (path.as_path(), "train/a.csv"));
        assert_eq!(on_disk(&path.join("train/a.csv")), path);
        let archive = Archive::shared(&archive).unwrap();
        assert_eq!(archive.files().collect::<Vec<_>>(), ["train/a.csv"]);
        assert_eq!(archive.read("train/a.csv").unwrap().as_ref(), b"hit_id\n1\n");
        assert!(archive.read("train/b.csv").unwrap_err().to_string().contains("no entry `train/b.csv`"));
        crate::durable::write(folder.path().join("bad.zip"), b"PK\x03\x04 cut").unwrap();
        assert!(Archive::open(&folder.path().join("bad.zip")).unwrap_err().to_string().contains("bad.zip"));
    }
}
