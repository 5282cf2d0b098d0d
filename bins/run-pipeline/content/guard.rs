//! DVC's lock of a repository (`.dvc/tmp/lock`): DVC holds it while it writes `dvc.lock`, and so do we.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::cli::signals;
use common::{Error, Result, durable, stage};

/// After this time the user hears what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Held until it is dropped.
#[derive(Debug)]
pub struct Guard {
    _file: File,
}

impl Guard {
    /// Waits for the lock of the repository whose `.dvc` folder this is.
    pub fn take(dvc: &Path) -> Result<Self> {
        let path = dvc.join("tmp").join("lock");
        durable::create_folder(dvc.join("tmp"))?;
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(|e| Error::io("opening", &path, e))?;
        let since = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                // DVC takes the same kind of lock: where there are none, it does without, too.
                Err(TryLockError::Error(e)) if stage::has_no_locks(&e) => break,
                Err(TryLockError::Error(e)) => return Err(Error::io("locking", &path, e)),
            }
            if since.elapsed() > PATIENCE && !told {
                told = true;
                tracing::warn!("waiting for dvc, which holds `{}`", path.display());
            }
            signals::check("the stage ran and is not in the lock; it runs again")?;
            sleep(Duration::from_millis(20));
        }
        Ok(Self { _file: file })
    }
}
