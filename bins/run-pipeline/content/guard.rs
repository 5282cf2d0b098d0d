//! DVC's lock of a repository (`.dvc/tmp/lock`): DVC holds it while it writes `dvc.lock`, and so do we. It is a lock of the
//! system on that file or, where `core.hardlink_lock` is set because the file system has none, a second name of a file of the holder's.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use common::cli::signals;
use common::{Error, Result, durable, stage};

use super::cache;

/// After this time the user hears what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// A second name counts no longer than this: its holder died. The lock is held for a few milliseconds.
const LIFETIME: Duration = Duration::from_secs(60);
/// What the clocks of two machines may differ, as in DVC.
const SLOP: Duration = Duration::from_secs(10);

/// Held until it is dropped.
#[derive(Debug)]
pub enum Guard {
    /// A lock of the system.
    Locked { _file: File },
    /// The lock is a second name of the claim.
    Named { lock: PathBuf, claim: PathBuf },
}

impl Guard {
    /// Waits for the lock of the repository whose `.dvc` folder this is.
    pub fn take(dvc: &Path) -> Result<Self> {
        let path = dvc.join("tmp").join("lock");
        durable::create_folder(dvc.join("tmp"))?;
        if cache::is_on(dvc, "core", "hardlink_lock") { Self::named(path) } else { Self::locked(&path) }
    }

    fn locked(path: &Path) -> Result<Self> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let file = open.map_err(|e| Error::io("opening", path, e))?;
        wait(path, || match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            // DVC takes the same kind of lock: where there are none, it does without, too.
            Err(TryLockError::Error(e)) if stage::has_no_locks(&e) => Ok(true),
            Err(TryLockError::Error(e)) => Err(Error::io("locking", path, e)),
        })?;
        Ok(Self::Locked { _file: file })
    }

    /// As `flufl.lock` does it for DVC: the claim says when it ends by its time, and who made it by its name.
    fn named(lock: PathBuf) -> Result<Self> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let now = SystemTime::now();
        let number = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{}|{}|{}|{number}", lock.display(), host.trim(), std::process::id());
        let claim = PathBuf::from(&name);
        let make = || -> io::Result<()> {
            let mut file = OpenOptions::new().create_new(true).write(true).open(&claim)?;
            file.write_all(name.as_bytes())?;
            file.set_modified(now + LIFETIME)
        };
        make().map_err(|e| Error::io("writing", &claim, e))?;
        let taken = wait(&lock, || match fs::hard_link(&claim, &lock) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let ends = fs::metadata(&lock).and_then(|found| found.modified());
                if ends.is_ok_and(|ends| ends + SLOP < SystemTime::now()) {
                    let _ = fs::remove_file(&lock); // another one may have been faster
                }
                Ok(false)
            }
            Err(e) => Err(Error::io("linking", &lock, e)),
        });
        if let Err(e) = taken {
            let _ = fs::remove_file(&claim);
            return Err(e);
        }
        Ok(Self::Named { lock, claim })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Self::Named { lock, claim } = self {
            let _ = fs::remove_file(lock);
            let _ = fs::remove_file(claim);
        }
    }
}

fn wait(path: &Path, mut taken: impl FnMut() -> Result<bool>) -> Result<()> {
    let since = Instant::now();
    let mut told = false;
    while !taken()? {
        if since.elapsed() > PATIENCE && !told {
            told = true;
            tracing::warn!("waiting for dvc, which holds `{}`", path.display());
        }
        signals::check("the stage ran and is not in the lock; it runs again")?;
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_lock_by_names_is_held_by_one_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        durable::write(folder.path().join("config"), b"[core]\n    hardlink_lock = true\n").unwrap();
        let tmp = folder.path().join("tmp");
        let guard = Guard::take(folder.path()).unwrap();
        assert_eq!(names(&tmp).len(), 2);
        let count = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let _guard = Guard::take(folder.path()).unwrap();
                count.load(std::sync::atomic::Ordering::SeqCst)
            });
            sleep(Duration::from_millis(100));
            count.store(1, std::sync::atomic::Ordering::SeqCst);
            drop(guard);
            assert_eq!(other.join().unwrap(), 1);
        });
        assert!(names(&tmp).is_empty());
        // The lock of a holder that died long ago is taken over.
        durable::write(tmp.join("lock"), b"").unwrap();
        File::options().write(true).open(tmp.join("lock")).unwrap().set_modified(SystemTime::now() - LIFETIME).unwrap();
        drop(Guard::take(folder.path()).unwrap());
        assert!(names(&tmp).is_empty());
    }
}
