//! What a prepare folder holds already, so that a run that was killed goes on where it stopped: one rule for all systems.
//!
//! `progress.json` names every finished set of files with its hashes and a key over all that it was made from: the recipe
//! and the content of the raw files. A set is kept when the key is the same and its files still have their hashes;
//! everything else is made anew. Content decides, not names, sizes or dates: a raw file that was replaced is another one.
//!
//! Hashing what did not change is saved by `.sources.jsonl`, which remembers the hash of a raw file together with
//! device, inode, length and both times of change. Where all of them agree the content is that of then; a file that had
//! changed within two seconds of being hashed is not remembered, because a later change might bear the same times. It
//! goes when the journal is closed.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::durable::{self, Written};
use crate::stage::{Artifact, Stage, lies_below};
use crate::verified::Stamp;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// One finished set of files: the rows of one part of the raw data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Hash over the recipe, and the names and content of the sources: [`Sources::key`].
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

/// The raw files of a set.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Hash over the recipe, and the names and content of all files.
    pub key: String,
    files: Vec<(String, Artifact)>,
}

impl Sources {
    /// Names the files among the inputs of a stage.
    pub fn note(&self, stage: &mut Stage) -> Result<()> {
        self.files.iter().try_for_each(|(name, file)| stage.read(name, file.clone()))
    }
}

/// The journal of one output folder. It may be shared between threads.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    sets: Mutex<BTreeMap<String, Finished>>,
    seen: Mutex<Seen>,
    /// The first files of sets, by their content.
    firsts: Mutex<BTreeMap<String, PathBuf>>,
}

const FILE: &str = "progress.json";
const SEEN: &str = ".sources.jsonl";
/// A change this soon after another may bear the same times.
const SETTLED: Duration = Duration::from_secs(2);

/// Raw files that were hashed. There may be hundreds of thousands, so that neither paths nor texts are held.
#[derive(Debug, Default)]
struct Seen {
    hashes: HashMap<Place, (Stamp, blake3::Hash)>,
    /// Lines that are not on disk yet.
    unsaved: String,
}

/// Stands for a path: the first half of its hash, in which no two of any number of files agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place([u8; 16]);

impl Place {
    fn of(path: &Path) -> Self {
        let hash = blake3::hash(path.as_os_str().as_bytes());
        Self(std::array::from_fn(|i| hash.as_bytes()[i]))
    }
}

/// Hash of a file, and what tells that it is still the same, as a line on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    path: PathBuf,
    #[serde(flatten)]
    stamp: Stamp,
    blake3: String,
}

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
        // The last line of a killed run may be half a line.
        let text = std::fs::read_to_string(folder.join(SEEN)).unwrap_or_default();
        let records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
        let held = |record: Record| {
            Some((Place::of(&record.path), (record.stamp, blake3::Hash::from_hex(&record.blake3).ok()?)))
        };
        let hashes = records.filter_map(held).collect();
        let seen = Mutex::new(Seen { hashes, unsaved: String::new() });
        Ok(Self { folder: folder.to_path_buf(), sets: Mutex::new(sets), seen, firsts: Mutex::default() })
    }

    /// The raw files of a set, by name, as they are now; `recipe` says everything else that its files depend on.
    pub fn sources(&self, recipe: &str, files: &[(String, PathBuf)]) -> Result<Sources> {
        let files = files
            .par_iter()
            .map(|(name, path)| Ok((name.clone(), self.content(path)?)))
            .collect::<Result<Vec<(String, Artifact)>>>()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(recipe.as_bytes());
        for (name, file) in &files {
            hasher.update(format!("\0{name}\0{} {}", file.bytes, file.blake3).as_bytes());
        }
        Ok(Sources { key: hasher.finalize().to_hex().to_string(), files })
    }

    /// The other file whose content the first file of `sources` has as well, where one was told of before: what both hold
    /// counts twice. `path` is the first file as it was given, so that a link is another file than what it leads to.
    pub fn twin(&self, path: &Path, sources: &Sources) -> Option<PathBuf> {
        let (_, first) = sources.files.first()?;
        let mut firsts = lock(&self.firsts);
        let other = firsts.entry(first.blake3.clone()).or_insert_with(|| path.to_path_buf());
        (other != path).then(|| other.clone())
    }

    /// Length and hash of a raw file, hashed only where it may have changed since that was last done.
    fn content(&self, path: &Path) -> Result<Artifact> {
        let path = std::fs::canonicalize(path).map_err(|e| Error::opening(path, e))?;
        let stamp = || std::fs::metadata(&path).map(|m| Stamp::of(&m)).map_err(|e| Error::opening(&path, e));
        let (before, place) = (stamp()?, Place::of(&path));
        let known = lock(&self.seen).hashes.get(&place).copied();
        if let Some((_, hash)) = known.filter(|(stamp, _)| *stamp == before) {
            return Ok(Artifact { path, bytes: before.bytes(), blake3: hash.to_hex().to_string() });
        }
        let found = durable::hash_file(&path)?;
        let after = stamp()?;
        if after != before {
            return Err(Error::input(&path, "is being changed while it is read")
                .hint("wait until it is complete, then give the same command again"));
        }
        let mut seen = lock(&self.seen);
        if after.is_settled(SETTLED) {
            let record = Record { path: path.clone(), stamp: after, blake3: found.blake3.clone() };
            seen.unsaved += &format!("{}\n", serde_json::to_string(&record).unwrap_or_default());
        }
        if let Ok(hash) = blake3::Hash::from_hex(&found.blake3) {
            seen.hashes.insert(place, (after, hash));
        }
        Ok(Artifact { path, bytes: found.bytes, blake3: found.blake3 })
    }

    /// Refuses sources that were changed while a set was made of them.
    ///
    /// # Errors
    /// [`Error::Input`] naming the file.
    pub fn demand_unchanged(&self, sources: &Sources) -> Result<()> {
        for (_, file) in &sources.files {
            let now = std::fs::metadata(&file.path).map_err(|e| Error::opening(&file.path, e))?;
            let known = lock(&self.seen).hashes.get(&Place::of(&file.path)).copied();
            let same = known.is_some_and(|(stamp, _)| stamp == Stamp::of(&now));
            if !same && durable::hash_file(&file.path)?.blake3 != file.blake3 {
                return Err(Error::input(&file.path, "was changed while it was being prepared")
                    .hint("wait until it is complete, then give the same command again"));
            }
        }
        Ok(())
    }

    /// The set as finished by an earlier run, if it is still what `key` asks for.
    pub fn kept(&self, set: &str, key: &str) -> Option<Finished> {
        let finished = lock(&self.sets).get(set).filter(|f| f.key == key).cloned()?;
        let intact = finished.outputs.values().all(|w| {
            durable::hash_file(self.folder.join(&w.path))
                .is_ok_and(|found| found.blake3 == w.blake3 && found.bytes == w.bytes)
        });
        intact.then_some(finished)
    }

    /// Records a finished set. Its files must have been published, with paths below the folder.
    pub fn record(&self, set: &str, finished: Finished) -> Result<Finished> {
        self.record_all([(set.to_string(), finished.clone())])?;
        Ok(finished)
    }

    /// Records several finished sets at once.
    pub fn record_all(&self, finished: impl IntoIterator<Item = (String, Finished)>) -> Result<()> {
        lock(&self.sets).extend(finished);
        self.save().map(drop)
    }

    /// Keeps only the sets that this run asked for and writes the journal; it then describes the folder. Files of other
    /// sets, which an earlier run with other settings left, are removed.
    pub fn close(self, wanted: impl Fn(&str) -> bool) -> Result<Written> {
        let dropped = {
            let mut sets = lock(&self.sets);
            let all = std::mem::take(&mut *sets);
            let (kept, dropped): (BTreeMap<_, _>, BTreeMap<_, _>) = all.into_iter().partition(|(name, _)| wanted(name));
            *sets = kept;
            let needed: Vec<PathBuf> = sets.values().flat_map(|f| f.outputs.values().map(|w| w.path.clone())).collect();
            let paths = dropped.into_values().flat_map(|f| f.outputs.into_values().map(|w| w.path));
            paths.filter(|path| !needed.contains(path)).collect::<Vec<_>>()
        };
        let written = self.save()?;
        // It serves those who go on; a finished folder holds what follows from its raw files alone.
        let _ = std::fs::remove_file(self.folder.join(SEEN));
        for path in dropped.iter().filter(|path| lies_below(&self.folder, path)) {
            match std::fs::remove_file(self.folder.join(path)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("removing", path, e)),
                _ => {}
            }
        }
        Ok(written)
    }

    fn save(&self) -> Result<Written> {
        let lines = std::mem::take(&mut lock(&self.seen).unsaved);
        if !lines.is_empty() {
            // It only saves work, so it is not synced, and half a line does no harm.
            let path = self.folder.join(SEEN);
            let mut log =
                std::fs::File::options().create(true).append(true).open(&path).map_err(|e| Error::opening(&path, e))?;
            log.write_all(lines.as_bytes()).map_err(|e| Error::io("writing", &path, e))?;
        }
        let mut text = serde_json::to_vec_pretty(&*lock(&self.sets))
            .map_err(|e| Error::failed(format!("writing `{FILE}`: {e}")))?;
        text.push(b'\n');
        durable::write(self.folder.join(FILE), &text)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn finished(folder: &Path, name: &str, key: &str) -> Finished {
        let mut written = durable::write(folder.join(name), b"rows").unwrap();
        written.path = name.into();
        let outputs = BTreeMap::from([(name.to_string(), written)]);
        Finished { key: key.into(), rows: 1, sources: 1, skipped: vec![], outputs }
    }

    #[test]
    fn only_intact_sets_with_the_same_key_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let set = finished(folder.path(), "a/x", "k");
        Journal::open(folder.path(), false).unwrap().record("x", set.clone()).unwrap();
        let journal = Journal::open(folder.path(), false).unwrap();
        assert_eq!(journal.kept("x", "k"), Some(set));
        assert_eq!(journal.kept("x", "other"), None);
        assert_eq!(Journal::open(folder.path(), true).unwrap().kept("x", "k"), None);
        durable::write(folder.path().join("a/x"), b"rowz").unwrap();
        assert_eq!(journal.kept("x", "k"), None);
    }

    /// A raw file with times of long ago, as a copy that keeps them has.
    fn raw(path: &Path, content: &[u8]) {
        durable::write(path, content).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    }

    #[test]
    fn a_replaced_file_of_the_same_name_size_and_date_is_another_source() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raw.bin");
        let key = |recipe: &str| {
            let journal = Journal::open(folder.path(), false).unwrap();
            let sources = journal.sources(recipe, &[("raw".into(), path.clone())]).unwrap();
            journal.save().unwrap();
            sources.key
        };
        raw(&path, b"first");
        let first = key("r");
        assert_eq!(key("r"), first);
        assert_ne!(key("other recipe"), first);
        raw(&path, b"other");
        assert_ne!(key("r"), first);
        raw(&path, b"first");
        assert_eq!(key("r"), first, "the same content again is the same source");
    }

    #[test]
    fn what_did_not_change_is_not_read_again_and_what_is_too_new_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(folder.path()).unwrap().join("raw.bin");
        durable::write(&path, b"content").unwrap();
        let files = [("raw".to_string(), path.clone())];
        let journal = Journal::open(folder.path(), false).unwrap();
        let key = journal.sources("r", &files).unwrap().key;
        journal.save().unwrap();
        assert!(!folder.path().join(SEEN).exists(), "the file is younger than two seconds");
        // A record whose times agree is taken at its word.
        let about = std::fs::metadata(&path).unwrap();
        let record = Record { path: path.clone(), stamp: Stamp::of(&about), blake3: "0".repeat(64) };
        let line = format!("{}\n{{\"path\": half a li", serde_json::to_string(&record).unwrap());
        durable::write(folder.path().join(SEEN), line.as_bytes()).unwrap();
        let trusted = Journal::open(folder.path(), false).unwrap().sources("r", &files).unwrap();
        assert_ne!(trusted.key, key);
        assert_eq!(trusted.files[0].1.blake3, "0".repeat(64));
        // Another inode, another time of change: hashed.
        durable::write(&path, b"content").unwrap();
        assert_eq!(Journal::open(folder.path(), false).unwrap().sources("r", &files).unwrap().key, key);
    }

    #[test]
    fn files_of_sets_that_are_no_longer_wanted_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), false).unwrap();
        for name in ["a/old", "a/new"] {
            journal.record(name, finished(folder.path(), name, "k")).unwrap();
        }
        journal.close(|name| name == "a/new").unwrap();
        assert!(!folder.path().join("a/old").exists() && folder.path().join("a/new").exists());
        assert_eq!(Journal::open(folder.path(), false).unwrap().kept("a/old", "k"), None);
    }

    #[test]
    fn files_of_one_content_are_told_whatever_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), false).unwrap();
        let twin = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            raw(&path, content);
            let sources = journal.sources("", &[(name.to_string(), path.clone())]).unwrap();
            journal.twin(&path, &sources)
        };
        assert_eq!((twin("a", b"one"), twin("b", b"two"), twin("a", b"one")), (None, None, None));
        assert_eq!(twin("c", b"one"), Some(folder.path().join("a")));
    }

    #[test]
    fn a_source_that_changes_while_it_is_prepared_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raw.bin");
        raw(&path, b"first");
        let journal = Journal::open(folder.path(), false).unwrap();
        let sources = journal.sources("r", &[("raw".into(), path.clone())]).unwrap();
        journal.demand_unchanged(&sources).unwrap();
        raw(&path, b"other");
        assert!(journal.demand_unchanged(&sources).unwrap_err().to_string().contains("raw.bin"));
    }
}
