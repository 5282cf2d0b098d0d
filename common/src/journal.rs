//! What a prepare folder holds already, so that a run that was killed goes on where it stopped.
//!
//! `progress.json` names every finished array file with its hash and a key over all that it was made from. A file is
//! kept when the key is the same and its content still has the hash; everything else is made anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::durable::{self, Written};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// One finished set of files: the rows of one part of the raw data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Hash over the sources' names and lengths and the options that shape the arrays.
    pub key: String,
    /// Rows in each of the files.
    pub rows: u64,
    /// Raw steps or rows read.
    pub sources: u64,
    /// Raw files left out, with the reason.
    pub skipped: Vec<String>,
    /// Manifest name of each output -> path below the folder, length, hash.
    pub outputs: BTreeMap<String, Written>,
}

/// The journal of one output folder.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    sets: BTreeMap<String, Finished>,
}

const FILE: &str = "progress.json";

impl Journal {
    /// Reads the journal of `folder`; `fresh` starts a new one.
    pub fn open(folder: &Path, fresh: bool) -> Result<Self> {
        let path = folder.join(FILE);
        let sets = match std::fs::read(&path) {
            // A journal that cannot be read only costs work.
            Ok(text) if !fresh => serde_json::from_slice(&text).unwrap_or_default(),
            Ok(_) => BTreeMap::new(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(Error::io("reading", &path, e)),
        };
        Ok(Self { folder: folder.to_path_buf(), sets })
    }

    /// The set as finished by an earlier run, if it is still what `key` asks for.
    pub fn kept(&self, set: &str, key: &str) -> Option<&Finished> {
        let finished = self.sets.get(set).filter(|f| f.key == key)?;
        let intact = finished.outputs.values().all(|w| {
            durable::hash_file(self.folder.join(&w.path))
                .is_ok_and(|found| found.blake3 == w.blake3 && found.bytes == w.bytes)
        });
        intact.then_some(finished)
    }

    /// Records a finished set. Its files must have been published.
    pub fn record(&mut self, set: &str, finished: Finished) -> Result<&Finished> {
        self.sets.insert(set.to_string(), finished);
        self.save()?;
        Ok(&self.sets[set])
    }

    /// Keeps only the sets that this run asked for and writes the journal; it then describes the folder.
    pub fn close(mut self, wanted: impl Fn(&str) -> bool) -> Result<Written> {
        self.sets.retain(|name, _| wanted(name));
        self.save()
    }

    fn save(&self) -> Result<Written> {
        let mut text =
            serde_json::to_vec_pretty(&self.sets).map_err(|e| Error::failed(format!("writing `{FILE}`: {e}")))?;
        text.push(b'\n');
        durable::write(self.folder.join(FILE), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_kept_only_with_the_same_key_and_intact_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut written = durable::write(folder.path().join("a/x"), b"rows").unwrap();
        written.path = "a/x".into();
        let finished = Finished {
            key: "k".into(),
            rows: 1,
            sources: 1,
            skipped: vec![],
            outputs: BTreeMap::from([("a/x".to_string(), written)]),
        };
        Journal::open(folder.path(), false).unwrap().record("x", finished.clone()).unwrap();
        let journal = Journal::open(folder.path(), false).unwrap();
        assert_eq!(journal.kept("x", "k"), Some(&finished));
        assert_eq!(journal.kept("x", "other"), None);
        assert_eq!(Journal::open(folder.path(), true).unwrap().kept("x", "k"), None);
        durable::write(folder.path().join("a/x"), b"rowz").unwrap();
        assert_eq!(journal.kept("x", "k"), None);
    }
}
