//! The files that a stage read. There may be hundreds of thousands of them, and they are kept until the stage ends: each
//! folder is held once and a hash as its bytes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::Artifact;
use crate::error::{Error, Result};

/// Inputs by name.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    files: BTreeMap<Box<str>, Kept>,
    folders: BTreeSet<Arc<Path>>,
}

/// An artifact in little memory.
#[derive(Debug)]
struct Kept {
    folder: Arc<Path>,
    file: Box<OsStr>,
    bytes: u64,
    blake3: [u8; 32],
}

impl Kept {
    fn artifact(&self) -> Artifact {
        Artifact {
            path: self.folder.join(&*self.file),
            bytes: self.bytes,
            blake3: blake3::Hash::from_bytes(self.blake3).to_hex().to_string(),
        }
    }
}

impl Inputs {
    /// Keeps a file; another of the same name is forgotten.
    ///
    /// # Errors
    /// [`Error::Input`] for a path without a file name and a hash that is none.
    pub(super) fn insert(&mut self, name: &str, artifact: &Artifact) -> Result<()> {
        let path = &artifact.path;
        let hash = blake3::Hash::from_hex(&artifact.blake3)
            .map_err(|e| Error::input(path, format!("`{}` is no BLAKE3 hash: {e}", artifact.blake3)))?;
        let (Some(folder), Some(file)) = (path.parent(), path.file_name()) else {
            return Err(Error::input(path, "is no file"));
        };
        let folder = match self.folders.get(folder) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<Path> = folder.into();
                self.folders.insert(Arc::clone(&new));
                new
            }
        };
        let kept = Kept { folder, file: file.into(), bytes: artifact.bytes, blake3: *hash.as_bytes() };
        self.files.insert(name.into(), kept);
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is a file of this name.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Leaves of `others` those that are not among the files here, whatever their names.
    pub(super) fn without_known(&self, mut others: Vec<(String, Artifact)>) -> Vec<(String, Artifact)> {
        if !others.is_empty() {
            let known: HashSet<(&Path, &OsStr)> =
                self.files.values().map(|kept| (&*kept.folder, &*kept.file)).collect();
            others.retain(|(_, artifact)| match (artifact.path.parent(), artifact.path.file_name()) {
                (Some(folder), Some(file)) => !known.contains(&(folder, file)),
                _ => true,
            });
        }
        others
    }

    /// In the order of their names.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = Artifact> + '_ {
        self.files.values().map(Kept::artifact)
    }

    /// All of them, as a manifest holds them.
    pub(super) fn to_map(&self) -> BTreeMap<String, Artifact> {
        self.files.iter().map(|(name, kept)| (name.to_string(), kept.artifact())).collect()
    }
}

impl Serialize for Inputs {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.files.len()))?;
        for (name, kept) in &self.files {
            map.serialize_entry(&**name, &kept.artifact())?;
        }
        map.end()
    }
}
