//! Hashes that were taken before, so that a file that nobody touched is not read again.
//!
//! A file counts as untouched when size, inode, modification and change time (ns) are the same. A time that lies less
//! than a clock tick before the reading says nothing (the file may change again within the tick), so such a hash is
//! not kept. After a crash of the machine a file may have its new times and its old bytes: unless the cache was
//! written after a sync, it is only valid for the boot that it was written in.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Result, durable};

use super::ignore::{self, Ignore};

/// The kernel stamps files with a clock that moves at least this often.
const TICK_NS: i128 = 50_000_000;
const HEADER: &str = "podium-seen 1";

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    inode: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            size: metadata.size(),
            inode: metadata.ino(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// True when the last change lies far enough back for the next one to get another time.
    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128);
        let last = self.modified_ns.max(self.changed_ns);
        last + TICK_NS < now
    }
}

/// The hashes, shared by all threads.
#[derive(Debug)]
pub struct Seen {
    file: PathBuf,
    known: Mutex<HashMap<PathBuf, (Stamp, String)>>,
    changed: AtomicBool,
    ignore: Option<Ignore>,
}

impl Seen {
    /// Reads the cache of a pipeline; an unreadable one is an empty one.
    pub fn open(file: PathBuf) -> Self {
        let known = fs::read_to_string(&file).ok().and_then(|text| parse(&text)).unwrap_or_default();
        Self { file, known: Mutex::new(known), changed: AtomicBool::new(false), ignore: None }
    }

    /// The same with the `.dvcignore` files at and below `root`: what they name does not belong to a folder.
    pub fn within(self, root: &Path) -> Self {
        Self { ignore: Some(Ignore::new(root, ".dvcignore")), ..self }
    }

    /// True for what does not count as content of the folder that it lies in.
    pub fn ignores(&self, path: &Path, is_folder: bool) -> bool {
        match &self.ignore {
            Some(ignore) => ignore.hides_entry(path, is_folder),
            None => is_folder && ignore::is_passed_over(path),
        }
    }

    /// The hashes that are kept beside a pipeline, with what its DVC repository ignores.
    pub fn of(pipeline: &Path) -> Self {
        let seen = Self::open(pipeline.join(crate::run_pipeline::state::FOLDER).join("seen"));
        match crate::run_pipeline::repository::dvc_root(pipeline) {
            Some(root) => seen.within(&root),
            None => seen,
        }
    }

    /// The hash of a file in this state, if it was taken before.
    pub fn get(&self, path: &Path, stamp: &Stamp) -> Option<String> {
        let known = self.known.lock().ok()?;
        known.get(path).filter(|(seen, _)| seen == stamp).map(|(_, hash)| hash.clone())
    }

    /// Keeps a hash that was taken while the file had this state from beginning to end.
    pub fn put(&self, path: &Path, stamp: Stamp, hash: &str) {
        if !stamp.is_settled() {
            return;
        }
        if let Ok(mut known) = self.known.lock() {
            known.insert(path.to_path_buf(), (stamp, hash.to_string()));
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Writes what is new. `synced`: everything that was hashed is on the disk by now.
    pub fn save(&self, synced: bool) -> Result<()> {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let Ok(known) = self.known.lock() else { return Ok(()) };
        let mut lines: Vec<String> = known.iter().filter_map(|(path, (stamp, hash))| line(path, stamp, hash)).collect();
        lines.sort();
        let boot = if synced { "any".to_string() } else { boot() };
        let text = format!("{HEADER}\t{boot}\n{}", lines.concat());
        durable::write(&self.file, text.as_bytes()).map(|_| ())
    }
}

/// Names this boot of the machine.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| "none".into(), |id| id.trim().to_string())
}

fn line(path: &Path, stamp: &Stamp, hash: &str) -> Option<String> {
    let path = path.to_str().filter(|p| !p.contains(['\t', '\n']))?;
    let Stamp { size, inode, modified_ns, changed_ns } = stamp;
    Some(format!("{hash}\t{size}\t{inode}\t{modified_ns}\t{changed_ns}\t{path}\n"))
}

fn parse(text: &str) -> Option<HashMap<PathBuf, (Stamp, String)>> {
    let mut lines = text.lines();
    let (header, valid_for) = lines.next()?.split_once('\t')?;
    if header != HEADER || (valid_for != "any" && valid_for != boot()) {
        return None;
    }
    let mut known = HashMap::new();
    for line in lines {
        let mut parts = line.splitn(6, '\t');
        let hash = parts.next().filter(|h| h.len() == 32)?.to_string();
        let size = parts.next()?.parse().ok()?;
        let inode = parts.next()?.parse().ok()?;
        let modified_ns = parts.next()?.parse().ok()?;
        let changed_ns = parts.next()?.parse().ok()?;
        known.insert(PathBuf::from(parts.next()?), (Stamp { size, inode, modified_ns, changed_ns }, hash));
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_survive_saving_and_a_changed_file_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        durable::write(&path, b"abc").unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let seen = Seen::open(folder.path().join("seen"));
        seen.put(&path, stamp, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(seen.get(&path, &stamp), None, "a file of this very moment may still change unnoticed");
        std::thread::sleep(std::time::Duration::from_millis(80));
        seen.put(&path, stamp, "900150983cd24fb0d6963f7d28e17f72");
        seen.save(false).unwrap();
        let again = Seen::open(folder.path().join("seen"));
        assert_eq!(again.get(&path, &stamp).as_deref(), Some("900150983cd24fb0d6963f7d28e17f72"));
        durable::write(&path, b"abd").unwrap();
        assert_eq!(again.get(&path, &Stamp::of(&fs::metadata(&path).unwrap())), None);
    }
}
