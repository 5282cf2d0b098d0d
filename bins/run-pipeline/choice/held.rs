//! A choice that is in force stays so while somebody runs in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use common::{Error, Result, stage};

/// Keeps the choice of a system as it is while a run goes on.
pub struct Held {
    file: File,
    path: PathBuf,
}

impl Held {
    /// Opens the file beside the link of a choice, which nobody holds yet.
    pub fn open(link: &Path) -> Result<Self> {
        let path = link.with_extension("held");
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        Ok(Self { file: open.map_err(|e| Error::io("opening", &path, e))?, path })
    }

    /// Refuses where somebody else runs in the choice that is in force.
    pub fn alone(&self) -> Result<()> {
        self.answer(self.file.try_lock())?;
        // Two kinds of one lock: given back before the other one is taken.
        self.file
            .unlock()
            .or_else(|e| if stage::has_no_locks(&e) { Ok(()) } else { Err(e) })
            .map_err(|e| Error::io("unlocking", &self.path, e))
    }

    /// Holds the choice with all others that run in it, for as long as the answer lives.
    pub fn shared(self) -> Result<File> {
        self.answer(self.file.try_lock_shared())?;
        Ok(self.file)
    }

    fn answer(&self, answer: Result<(), TryLockError>) -> Result<()> {
        match answer {
            Ok(()) => Ok(()),
            Err(TryLockError::Error(e)) if stage::has_no_locks(&e) => Ok(()),
            Err(TryLockError::Error(e)) => Err(Error::io("locking", &self.path, e)),
            Err(TryLockError::WouldBlock) => {
                Err(Error::failed("a run of another size of these pipelines goes on; one at a time can be in force")
                    .hint("wait for it to end, or work in a second clone"))
            }
        }
    }
}
