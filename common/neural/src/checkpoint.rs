//! Checkpoints: folders that appear whole or not at all.
//!
//! A checkpoint is filled under a temporary name; its `manifest.json`, with size and hash of every file, is written
//! last; then the folder takes its name in one system call. A folder without a manifest therefore does not exist for
//! [`Checkpoints::newest`], and a folder whose files do not match its manifest is passed over with a message. An older
//! checkpoint goes only after the newer one stands and was verified.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::durable::{self, Written};
use common::{Error, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Commit record of a checkpoint.
pub const MANIFEST: &str = "manifest.json";

/// Suffix of a folder that was moved aside where the file system cannot exchange two folders.
const ASIDE: &str = ".old";

/// What `manifest.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout version of the folder.
    pub version: u32,
    /// Optimizer steps done since the start of the run: the age of the checkpoint.
    pub global_step: u64,
    /// Hash of the config of the run that wrote it; a run resumes only its own checkpoints.
    pub config_hash: String,
    /// What a person wants to know: epoch, score.
    pub summary: Value,
    /// Every file of the folder but this one.
    pub files: BTreeMap<String, FileRecord>,
}

/// Size and hash of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3, hexadecimal.
    pub blake3: String,
}

/// A checkpoint that verified.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its folder.
    pub folder: PathBuf,
    /// Its commit record.
    pub manifest: Manifest,
}

/// Identity of a checkpoint about to be written.
#[derive(Debug, Clone)]
pub struct Label {
    /// Optimizer steps done.
    pub global_step: u64,
    /// Hash of the run's config.
    pub config_hash: String,
    /// What a person wants to know.
    pub summary: Value,
}

/// The checkpoints of one run.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// Layout version written by this program.
    pub const VERSION: u32 = 1;

    /// Opens (and creates) the folder that holds the checkpoints, and removes what killed runs left. The run's lock
    /// must be held.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        durable::create_folder(&folder)?;
        durable::sweep(&folder)?;
        Ok(Self { folder })
    }

    /// The folder of all checkpoints.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the checkpoint `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the checkpoint `name`, replacing one of that name at once. `fill` writes its files into the folder it
    /// is given, durably, and returns them.
    pub fn save(&self, name: &str, label: Label, fill: impl FnOnce(&Path) -> Result<Vec<Written>>) -> Result<PathBuf> {
        let temporary = tempfile::Builder::new()
            .prefix(".podium-tmp-")
            .tempdir_in(&self.folder)
            .map_err(|e| Error::io("creating a temporary folder in", &self.folder, e))?;
        let mut files = BTreeMap::new();
        for written in fill(temporary.path())? {
            let file = written.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(file, FileRecord { bytes: written.bytes, blake3: written.blake3 });
        }
        let Label { global_step, config_hash, summary } = label;
        let manifest = Manifest { version: Self::VERSION, global_step, config_hash, summary, files };
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| Error::failed(format!("writing `{MANIFEST}` of the checkpoint `{name}`: {e}")))?;
        durable::write(temporary.path().join(MANIFEST), &text)?;
        let target = self.path(name);
        publish(temporary.path(), &target)?;
        durable::sync_folder(&self.folder)?;
        // After an exchange the temporary holds the replaced checkpoint; without one it is gone.
        let _ = temporary.close();
        self.discard(&format!("{name}{ASIDE}"))?;
        Ok(target)
    }

    /// Removes the checkpoint `name`, at once: a killed removal leaves a temporary, not half a checkpoint.
    pub fn discard(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(());
        }
        let temporary = tempfile::Builder::new()
            .prefix(".podium-tmp-")
            .tempdir_in(&self.folder)
            .map_err(|e| Error::io("creating a temporary folder in", &self.folder, e))?;
        rename(&path, &temporary.path().join("removed"))?;
        temporary.close().map_err(|e| Error::io("removing", &path, e))
    }

    /// Removes all checkpoints: a run that starts anew would otherwise find those of the run before it. Where the folder is
    /// a link, only the link goes: what it leads to may belong to others.
    pub fn clear(&self) -> Result<()> {
        if self.folder.is_symlink() {
            let to = fs::canonicalize(&self.folder).unwrap_or_default();
            tracing::warn!("`{}` is a link to `{}`, which is left as it is", self.folder.display(), to.display());
            fs::remove_file(&self.folder).map_err(|e| Error::io("removing", &self.folder, e))?;
            return durable::create_folder(&self.folder);
        }
        for name in self.names()? {
            self.discard(&name)?;
        }
        Ok(())
    }

    /// Names of all checkpoints, sorted.
    pub fn names(&self) -> Result<Vec<String>> {
        let name = |folder: &PathBuf| folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut names: Vec<String> = self.list()?.iter().map(name).collect();
        names.sort();
        Ok(names)
    }

    /// The checkpoint with the most steps that verifies, and why others were passed over.
    pub fn newest(&self) -> Result<(Option<Found>, Vec<Error>)> {
        let mut candidates = vec![];
        let mut rejected = vec![];
        for path in self.list()? {
            match read_manifest(&path) {
                Ok(manifest) => candidates.push((manifest.global_step, path)),
                Err(error) => rejected.push(error),
            }
        }
        // Among checkpoints of the same age any will do; the name decides, so that the choice is always the same.
        candidates.sort();
        while let Some((_, folder)) = candidates.pop() {
            match verify(&folder) {
                Ok(manifest) => return Ok((Some(Found { folder, manifest }), rejected)),
                Err(error) => rejected.push(error),
            }
        }
        Ok((None, rejected))
    }

    /// The folders that hold a manifest.
    fn list(&self) -> Result<Vec<PathBuf>> {
        let reading = |e| Error::io("reading the folder", &self.folder, e);
        let mut folders = vec![];
        for entry in fs::read_dir(&self.folder).map_err(reading)? {
            let path = entry.map_err(reading)?.path();
            if path.join(MANIFEST).is_file() {
                folders.push(path);
            }
        }
        Ok(folders)
    }
}

/// Reads the commit record of a checkpoint folder and compares every file with it.
pub fn verify(folder: &Path) -> Result<Manifest> {
    let manifest = read_manifest(folder)?;
    for (name, expected) in &manifest.files {
        let path = folder.join(name);
        let found = durable::hash_file(&path)?;
        if (found.bytes, &found.blake3) != (expected.bytes, &expected.blake3) {
            return Err(Error::input(
                &path,
                format!(
                    "{} bytes with hash {}, expected {} bytes with hash {}",
                    found.bytes,
                    short(&found.blake3),
                    expected.bytes,
                    short(&expected.blake3)
                ),
            )
            .hint("the file changed after it was written; use another checkpoint of the run with `--resume PATH`"));
        }
    }
    Ok(manifest)
}

fn read_manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join(MANIFEST);
    let text = fs::read(&path).map_err(|e| Error::opening(&path, e))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|e| Error::input(&path, format!("not a checkpoint's manifest: {e}")))?;
    if manifest.version != Checkpoints::VERSION {
        return Err(Error::input(
            &path,
            format!("checkpoint layout version {}, expected {}", manifest.version, Checkpoints::VERSION),
        )
        .hint("resume with the version of the program that wrote it"));
    }
    if let Some(name) =
        manifest.files.keys().find(|name| Path::new(name).components().count() != 1 || name.as_str() == "..")
    {
        return Err(Error::input(&path, format!("file name `{name}`, expected a plain name")));
    }
    Ok(manifest)
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Gives the filled folder its name. An existing one is exchanged, so that at every moment one of the two stands there.
fn publish(temporary: &Path, target: &Path) -> Result<()> {
    if !target.exists() {
        return rename(temporary, target);
    }
    match renameat_with(CWD, temporary, CWD, target, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            // Some network file systems cannot exchange: for a moment the old one stands under another name, where
            // `newest` finds it too.
            let mut aside = target.as_os_str().to_owned();
            aside.push(ASIDE);
            let aside = PathBuf::from(aside);
            if aside.exists() {
                fs::remove_dir_all(&aside).map_err(|e| Error::io("removing", &aside, e))?;
            }
            rename(target, &aside)?;
            rename(temporary, target)
        }
        Err(error) => Err(Error::io("renaming to", target, error.into())),
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    // `durable` renames files; a folder is synced by its writers before it comes here.
    #[allow(clippy::disallowed_methods)]
    fs::rename(from, to).map_err(|e| Error::io("renaming to", to, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(step: u64) -> Label {
        Label { global_step: step, config_hash: "c".into(), summary: serde_json::json!({ "epoch": 1 }) }
    }

    fn save(checkpoints: &Checkpoints, name: &str, step: u64, content: &str) -> PathBuf {
        checkpoints.save(name, label(step), |f| Ok(vec![durable::write(f.join("model"), content.as_bytes())?])).unwrap()
    }

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_checkpoint_replaces_the_one_of_its_name_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        save(&checkpoints, "last", 1, "old");
        let path = save(&checkpoints, "last", 2, "new");
        assert_eq!(fs::read(path.join("model")).unwrap(), b"new");
        assert_eq!(entries(folder.path()), ["last"]);
        assert_eq!(verify(&path).unwrap().global_step, 2);
    }

    #[test]
    fn clearing_a_folder_that_is_a_link_removes_the_link_alone() {
        let (run, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        save(&Checkpoints::open(elsewhere.path()).unwrap(), "last", 1, "kept");
        std::os::unix::fs::symlink(elsewhere.path(), run.path().join("checkpoints")).unwrap();
        let checkpoints = Checkpoints::open(run.path().join("checkpoints")).unwrap();
        assert_eq!(checkpoints.names().unwrap(), ["last"]);
        checkpoints.clear().unwrap();
        assert_eq!(entries(elsewhere.path()), ["last"]);
        assert!(checkpoints.names().unwrap().is_empty() && !run.path().join("checkpoints").is_symlink());
    }

    #[test]
    fn a_failed_save_keeps_the_old_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        let path = save(&checkpoints, "last", 1, "old");
        let failed = checkpoints.save("last", label(2), |f| {
            durable::write(f.join("model"), b"half")?;
            Err(Error::failed("disk"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(path.join("model")).unwrap(), b"old");
        assert_eq!(entries(folder.path()), ["last"]);
    }

    #[test]
    fn the_newest_that_verifies_is_found_and_damaged_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        save(&checkpoints, "a", 1, "one");
        save(&checkpoints, "b", 3, "three");
        let damaged = save(&checkpoints, "c", 5, "five");
        durable::write(damaged.join("model"), b"fivE").unwrap();
        fs::create_dir(folder.path().join("unfinished")).unwrap();
        let (found, rejected) = checkpoints.newest().unwrap();
        assert_eq!(found.unwrap().manifest.global_step, 3);
        assert_eq!(rejected.len(), 1);
        let text = rejected[0].to_string();
        assert!(text.contains("c/model") && text.contains("expected 4 bytes"), "{text}");
    }

    #[test]
    fn a_missing_file_or_a_foreign_version_does_not_verify() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        let path = save(&checkpoints, "a", 1, "one");
        let text = fs::read_to_string(path.join(MANIFEST)).unwrap();
        durable::write(path.join(MANIFEST), text.replace("\"version\": 1", "\"version\": 9").as_bytes()).unwrap();
        assert!(verify(&path).unwrap_err().to_string().contains("version 9, expected 1"));
        durable::write(path.join(MANIFEST), text.replace("\"model\"", "\"../model\"").as_bytes()).unwrap();
        assert!(verify(&path).unwrap_err().to_string().contains("plain name"));
        durable::write(path.join(MANIFEST), text.as_bytes()).unwrap();
        fs::remove_file(path.join("model")).unwrap();
        assert!(verify(&path).is_err());
        checkpoints.discard("a").unwrap();
        assert_eq!(entries(folder.path()), [""; 0]);
    }
}
