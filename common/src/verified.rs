//! Files that need not be read again to be trusted.
//!
//! Content decides whether a file is what it was, and hashing it takes as long as reading it. A file of which device, inode,
//! length and both times of change are those of when it was hashed still has that content: nothing changes a file without moving
//! its time of change, but a change that follows within one tick of the clock of file systems. So a hash counts only where
//! the last change lay further back than that.
//!
//! A finished stage leaves such a record of its outputs beside them; a copy of the folder has other inodes and is read.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::durable::{self, Written};
use crate::error::Result;

/// Name of the record in a stage's folder.
pub const FILE: &str = ".verified.jsonl";
/// File systems stamp changes with a clock that moves at least this often.
pub const TICK: Duration = Duration::from_millis(50);
/// Bytes that are hashed in about a tick.
const WORTH_WAITING: u64 = 32 << 20;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i64,
    changed_ns: i64,
}

impl Stamp {
    /// The state of a file by its metadata.
    pub fn of(about: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, part: i64| seconds.saturating_mul(1_000_000_000).saturating_add(part);
        Self {
            device: about.dev(),
            inode: about.ino(),
            bytes: about.len(),
            modified_ns: nanoseconds(about.mtime(), about.mtime_nsec()),
            changed_ns: nanoseconds(about.ctime(), about.ctime_nsec()),
        }
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the last change lies at least this far back, so that another one would have another time.
    pub fn is_settled(&self, since: Duration) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i128::from(self.modified_ns.max(self.changed_ns)) < now.saturating_sub(since).as_nanos() as i128
    }
}

/// An output and its state when it had this hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    path: PathBuf,
    blake3: String,
    #[serde(flatten)]
    stamp: Stamp,
}

type Known = HashMap<PathBuf, (Stamp, String)>;

/// Records that were read by this process, by folder. An old one costs reading a file, no more.
static RECORDS: LazyLock<Mutex<HashMap<PathBuf, Known>>> = LazyLock::new(Mutex::default);
static READ_ALL: AtomicBool = AtomicBool::new(false);

/// From now on every file is read, whatever its state (`--verify`).
pub fn read_all() {
    READ_ALL.store(true, Ordering::Relaxed);
}

/// Leaves the record of a stage's outputs in its folder. Their paths are relative to it.
///
/// # Errors
/// Those of writing. A file that cannot be looked at is left out.
pub fn record(folder: &Path, outputs: &[Written]) -> Result<()> {
    let state = |output: &Written| std::fs::metadata(folder.join(&output.path)).ok().map(|m| Stamp::of(&m));
    // Waiting for a tick is worth it where reading would take longer.
    let unsettled = outputs.iter().filter_map(state).filter(|stamp| !stamp.is_settled(TICK));
    if unsettled.map(|stamp| stamp.bytes).sum::<u64>() >= WORTH_WAITING {
        std::thread::sleep(TICK);
    }
    let mut text = String::new();
    for output in outputs {
        if let Some(stamp) = state(output).filter(|stamp| stamp.is_settled(TICK) && stamp.bytes == output.bytes) {
            let line = Line { path: output.path.clone(), blake3: output.blake3.clone(), stamp };
            text += &format!("{}\n", serde_json::to_string(&line).unwrap_or_default());
        }
    }
    durable::write(folder.join(FILE), text.as_bytes()).map(drop)
}

/// Whether an output (path relative to the folder, length, hash) of the stage in `folder` is in the state in which it had that hash.
pub fn is_unchanged(folder: &Path, path: &Path, bytes: u64, blake3: &str) -> bool {
    if READ_ALL.load(Ordering::Relaxed) {
        return false;
    }
    let Ok(about) = std::fs::metadata(folder.join(path)) else { return false };
    let mut records = RECORDS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = records.entry(folder.to_path_buf()).or_insert_with(|| known(folder));
    known.get(path).is_some_and(|(stamp, known)| *stamp == Stamp::of(&about) && stamp.bytes == bytes && known == blake3)
}

fn known(folder: &Path) -> Known {
    let text = std::fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.map(|line| (line.path, (line.stamp, line.blake3))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untouched_file_is_trusted_and_a_touched_copied_or_rewritten_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let written = durable::write(folder.path().join(name), b"abc").unwrap();
            std::thread::sleep(TICK);
            Written { path: name.into(), ..written }
        };
        let outputs = ["same", "edited", "replaced", "gone", "other"].map(write);
        record(folder.path(), &outputs).unwrap();
        // Changed in place, with its old length and its old time of modification.
        let path = folder.path().join("edited");
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let edited = std::fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_at(&edited, b"x", 0).unwrap();
        edited.set_modified(modified).unwrap();
        write("replaced");
        std::fs::remove_file(folder.path().join("gone")).unwrap();
        let hash = blake3::hash(b"abc").to_hex().to_string();
        let trusted = |name: &str| is_unchanged(folder.path(), Path::new(name), 3, &hash);
        assert!(trusted("same"));
        assert!(!trusted("edited") && !trusted("replaced") && !trusted("gone"));
        // The manifest of another run.
        let other = blake3::hash(b"abd").to_hex().to_string();
        assert!(trusted("other") && !is_unchanged(folder.path(), Path::new("other"), 3, &other));
    }
}
