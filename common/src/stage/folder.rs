//! The folder of a stage: one process at a time, and a clean start for a run that replaces another.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Component, Path};

use super::{MANIFEST, Manifest};
use crate::durable;
use crate::error::{Error, Result};

const LOCK: &str = ".lock";

/// Locks a folder for this process. The lock ends with the process, however it ends.
pub fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = open.map_err(|e| Error::io("opening", &path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let pid = text.trim().parse().unwrap_or(0);
            return Err(Error::InUse { path: folder.to_path_buf(), pid, hint: None });
        }
        Err(TryLockError::Error(e)) if has_no_locks(&e) => {
            tracing::warn!(
                "`{}`: the file system has no locks ({e}), so nothing keeps a second run out of this folder",
                folder.display()
            );
        }
        Err(TryLockError::Error(e)) => return Err(Error::io("locking", &path, e)),
    }
    // The text only serves the message of the next run; the lock itself is the kernel's.
    let record = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    record.map_err(|e| Error::io("writing", &path, e))?;
    Ok(file)
}

/// True for the answers of file systems without locks: Lustre mounted without `flock`, NFS without its lock daemon.
pub fn has_no_locks(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::ENOLCK | libc::EOPNOTSUPP))
}

/// Removes what a finished stage wrote, its manifest first: from then on the folder counts as unfinished.
pub(super) fn clear(folder: &Path) -> Result<()> {
    let file = folder.join(MANIFEST);
    let text = fs::read_to_string(&file).map_err(|e| Error::opening(&file, e))?;
    fs::remove_file(&file).map_err(|e| Error::io("removing", &file, e))?;
    durable::sync_folder(folder)?;
    let Ok(old) = Manifest::parse(&file, &text) else { return Ok(()) };
    for artifact in old.outputs.values() {
        let path = folder.join(&artifact.path);
        if !lies_below(folder, &artifact.path) {
            tracing::warn!("`{}` lies outside of `{}` and is left as it is", path.display(), folder.display());
            continue;
        }
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("removing", &path, e)),
        }
    }
    Ok(())
}

/// Whether a path that a manifest gives stays in its folder: no `..`, no root, and no link among the folders on the way.
/// A link in the place of the file itself may be removed: that removes the link alone.
pub fn lies_below(folder: &Path, path: &Path) -> bool {
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let mut parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    plain && parents.all(|parent| !folder.join(parent).is_symlink())
}
