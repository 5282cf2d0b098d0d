//! The one way to write a file: temporary file in the same folder, write, flush, sync, rename, sync the folder.
//!
//! A reader therefore sees the old file or the new one, never a mixture, and a process that is killed at any
//! system call leaves nothing but a temporary (`.podium-tmp-*`) that [`sweep`] removes. The content hash
//! is taken while writing; readers compare it with the manifest.

mod tree;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use crate::error::{Error, Result};
use tree::Tree;

/// Bytes that are read before they are hashed.
const HASHED_AT_ONCE: u64 = 4 << 20;
/// Bytes of a file after which the system is asked to bring them to the disk.
const WRITTEN_AT_ONCE: u64 = 16 << 20;
/// Beginning of the names of temporaries.
const TEMPORARY: &str = ".podium-tmp-";

/// A file that was published: where, how long, and the hash of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Path as given by the caller.
    pub path: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 of the content, 64 hexadecimal digits.
    pub blake3: String,
}

/// A file being written. It appears under its name only in [`AtomicFile::commit`]; dropped before, it vanishes.
pub struct AtomicFile {
    target: PathBuf,
    temporary: TempPath,
    writer: BufWriter<Hashed>,
    /// Whether a library was told the name, and may have written past us.
    named: AtomicBool,
}

/// A file whose content is hashed as it is written, for as long as no byte of it is written twice.
struct Hashed {
    file: File,
    tree: Tree,
    place: u64,
    /// Bytes that the system was not yet asked to bring to the disk.
    waiting: u64,
}

impl Write for Hashed {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.file.write(data)?;
        self.tree.write(self.place, &data[..count]);
        self.place += count as u64;
        self.waiting += count as u64;
        if self.waiting >= WRITTEN_AT_ONCE {
            self.waiting = 0;
            begin_writing(&self.file);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Hashed {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.place = self.file.seek(to)?;
        Ok(self.place)
    }
}

impl AtomicFile {
    /// Opens a temporary beside `target`, creating the folder where needed.
    pub fn create(target: impl AsRef<Path>) -> Result<Self> {
        let target = target.as_ref().to_path_buf();
        let folder = folder_of(&target);
        create_folder(&folder)?;
        let temporary = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(permissions())
            .tempfile_in(&folder)
            .map_err(|e| Error::io("creating a temporary file in", &folder, e))?;
        // In parts: the writer of the whole would add the temporary's name to every error.
        let (file, temporary) = temporary.into_parts();
        let file = Hashed { file, tree: Tree::default(), place: 0, waiting: 0 };
        Ok(Self { target, temporary, writer: BufWriter::with_capacity(1 << 20, file), named: AtomicBool::new(false) })
    }

    /// Path of the temporary, for libraries that open files by name (netCDF). Do not keep it.
    pub fn temporary_path(&self) -> &Path {
        self.named.store(true, Ordering::Relaxed);
        &self.temporary
    }

    /// Publishes the file: flush, sync, hash, rename, sync the folder.
    pub fn commit(self) -> Result<Written> {
        let Self { target, temporary, writer, named } = self;
        let Hashed { file, tree, .. } =
            writer.into_inner().map_err(|e| Error::io("writing", &target, e.into_error()))?;
        drop(file);
        // Re-opening also sees what a library wrote under a replaced inode.
        let content = File::open(&temporary).map_err(|e| Error::io("reading back", &target, e))?;
        content.sync_all().map_err(|e| Error::io("syncing", &target, e))?;
        let length = content.metadata().map_err(|e| Error::io("reading back", &target, e))?.len();
        // Writers may have gone back to patch a header, and libraries write by path: then the file is read again.
        let known = if named.load(Ordering::Relaxed) { None } else { tree.finish(length) };
        let (bytes, blake3) = match known {
            Some(hash) => (length, hash.to_hex().to_string()),
            None => hash_reader(content).map_err(|e| Error::io("reading back", &target, e))?,
        };
        temporary.persist(&target).map_err(|e| Error::io("renaming to", &target, e.error))?;
        sync_folder(&folder_of(&target))?;
        Ok(Written { path: target, bytes, blake3 })
    }
}

impl Write for AtomicFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writer.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.writer.seek(to)
    }
}

/// Writes `content` under `path`.
pub fn write(path: impl AsRef<Path>, content: &[u8]) -> Result<Written> {
    write_with(path, |out| out.write_all(content))
}

/// Writes what `fill` produces under `path`. An error of `fill` leaves the old file untouched.
pub fn write_with(path: impl AsRef<Path>, fill: impl FnOnce(&mut AtomicFile) -> io::Result<()>) -> Result<Written> {
    let mut file = AtomicFile::create(&path)?;
    fill(&mut file).map_err(|e| Error::io("writing", &path, e))?;
    file.commit()
}

/// Length and hash of a file that exists already.
pub fn hash_file(path: impl AsRef<Path>) -> Result<Written> {
    let file = File::open(&path).map_err(|e| Error::opening(&path, e))?;
    let (bytes, blake3) = hash_reader(file).map_err(|e| Error::io("reading", &path, e))?;
    Ok(Written { path: path.as_ref().to_path_buf(), bytes, blake3 })
}

/// Opens a log for appending and cuts it back to `length`, creating it where `length` is zero. Logs are the one kind of
/// file that grows in place: a checkpoint remembers how long they were.
///
/// # Errors
/// [`Error::Input`] where the file is shorter than `length`: then it is not the log of that checkpoint.
pub fn appendable(path: impl AsRef<Path>, length: u64) -> Result<File> {
    let file = File::options().create(length == 0).append(true).open(&path).map_err(|e| Error::opening(&path, e))?;
    let found = file.metadata().map_err(|e| Error::io("reading", &path, e))?.len();
    if found < length {
        let problem = format!("has {found} bytes, but the checkpoint was taken when it had {length}");
        return Err(Error::input(&path, problem).hint("restore the file, or begin the run anew with `--force`"));
    }
    file.set_len(length).map_err(|e| Error::io("shortening", &path, e))?;
    Ok(file)
}

/// Creates a folder and all folders above it, so that they survive a power cut: each folder that got a new one is synced.
pub fn create_folder(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let missing: Vec<&Path> =
        path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    fs::create_dir_all(path).map_err(|e| Error::io("creating the folder", path, e))?;
    for new in missing.iter().rev() {
        match sync_folder(&folder_of(new)) {
            // A folder that may be written but not read cannot be synced.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {}
            other => other?,
        }
    }
    Ok(())
}

/// Folders below a stage's folder that [`sweep`] looks into.
const SWEEP_DEPTH: usize = 3;

/// Removes temporaries that killed runs left in `folder` and below it. Call it with the folder's lock held.
pub fn sweep(folder: impl AsRef<Path>) -> Result<()> {
    sweep_to_depth(folder.as_ref(), SWEEP_DEPTH)
}

/// Removes temporaries that lie in `folder` itself: for folders below which others may be writing.
pub fn sweep_flat(folder: impl AsRef<Path>) -> Result<()> {
    sweep_to_depth(folder.as_ref(), 0)
}

fn sweep_to_depth(folder: &Path, depth: usize) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        // The entry's own type: a link to a folder is not followed.
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|e| Error::io("removing", &path, e))?;
        } else if is_folder && depth > 0 {
            sweep_to_depth(&path, depth - 1)?;
        }
    }
    Ok(())
}

/// Gives a file a second name. Where the file system cannot, on another disk, it is copied.
///
/// # Errors
/// [`Error::Io`] naming the path.
pub fn link(from: &Path, to: &Path) -> Result<()> {
    let folder = folder_of(to);
    create_folder(&folder)?;
    match fs::remove_file(to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("removing", to, e)),
        _ => {}
    }
    if fs::hard_link(from, to).is_ok() {
        return sync_folder(&folder);
    }
    let mut file = File::open(from).map_err(|e| Error::opening(from, e))?;
    write_with(to, |out| io::copy(&mut file, out).map(drop)).map(drop)
}

/// Puts a file or link that is complete in the place of another one, in one step.
pub fn replace(from: &Path, to: &Path) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "this is the module that the others are sent to")]
    fs::rename(from, to).map_err(|e| Error::io("renaming to", to, e))?;
    sync_folder(&folder_of(to))
}

/// Makes a rename or removal in `folder` survive a power cut.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io("syncing the folder", folder, e))
}

/// Lets the system begin to bring a file to the disk, which it would put off for half a minute: else the sync at the end waits for all
/// of it, and nothing is computed meanwhile. File systems that know no such thing answer with an error that changes nothing.
fn begin_writing(file: &File) {
    // SAFETY: the descriptor is open for the whole call, which takes no pointers.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

fn hash_reader(mut reader: impl Read) -> io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    let mut block = Vec::with_capacity(HASHED_AT_ONCE as usize);
    let mut bytes = 0;
    loop {
        block.clear();
        match reader.by_ref().take(HASHED_AT_ONCE).read_to_end(&mut block)? as u64 {
            0 => return Ok((bytes, hasher.finalize().to_hex().to_string())),
            // One thread hashes as fast as a disk reads; what lies in memory is hashed by all of the pool.
            n if n == HASHED_AT_ONCE => hasher.update_rayon(&block),
            _ => hasher.update(&block),
        };
        bytes += block.len() as u64;
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// What a newly created file gets: read and write for all, less the umask (temporary files default to 0600).
fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o666)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.txt");
        write(&path, b"old").unwrap();
        let failed = write_with(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        });
        assert!(matches!(failed, Err(Error::Io { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn the_hash_is_that_of_the_file_however_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let many: Vec<u8> = (0..(HASHED_AT_ONCE as usize * 2 + 77)).map(|i| (i / 3) as u8).collect();
        let grown = write_with(folder.path().join("grown"), |out| {
            let at = many.len() / 3;
            out.write_all(&many[..at])?;
            assert_eq!(out.stream_position()?, at as u64);
            out.write_all(&many[at..])
        });
        let patched = write_with(folder.path().join("patched"), |out| {
            out.write_all(&[&[0; 9], &many[9..]].concat())?;
            out.seek(io::SeekFrom::Start(0))?;
            out.write_all(&many[..9])
        });
        let named = write_with(folder.path().join("named"), |out| {
            File::options().write(true).open(out.temporary_path())?.write_all(&many)
        });
        for written in [grown.unwrap(), patched.unwrap(), named.unwrap()] {
            assert_eq!(written.blake3, blake3::hash(&many).to_hex().to_string(), "{}", written.path.display());
            assert_eq!(written, hash_file(&written.path).unwrap());
        }
    }

    #[test]
    fn the_hash_is_that_of_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let written = write(folder.path().join("x"), b"podium").unwrap();
        assert_eq!(written.blake3, blake3::hash(b"podium").to_hex().to_string());
        assert_eq!(written.bytes, 6);
        assert_eq!(written, hash_file(&written.path).unwrap());
    }
}
