//! Whether an HDF5 file is whole as it lies there: what its first block says of writers, and who holds it.
//!
//! A file that a program has open for writing, or whose writer died, is marked in its superblock and the library refuses
//! it. That is no damage: fetching it again would not help. A file marked for one writer and many readers (SWMR) is
//! sound at any time, and is read as such.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::Error;

/// First bytes of an HDF5 file; a block of the user's may lie before it, at a power of two from 512 on.
const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Version of the superblock from which on it says whether the file is being written.
const MARKED_FROM: u8 = 3;

/// What the superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No HDF5 file at all.
    Other,
    /// Closed.
    Closed,
    /// Open for writing, or left so by a writer that died.
    Writing,
    /// The same by a writer that lets others read meanwhile.
    Shared,
}

/// The state of a file by its content.
pub fn state(content: &[u8]) -> State {
    let mut at = 0;
    while let Some(rest) = content.get(at..) {
        if let Some(block) = rest.strip_prefix(SIGNATURE) {
            // Version, sizes of offsets and lengths, marks.
            return match block {
                [version, _, _, marks, ..] if *version >= MARKED_FROM && marks & 1 == 1 => {
                    if marks & 4 == 4 {
                        State::Shared
                    } else {
                        State::Writing
                    }
                }
                _ => State::Closed,
            };
        }
        at = if at == 0 { 512 } else { at * 2 };
    }
    State::Other
}

/// The error of a file that another program works on, if that is why it cannot be opened.
pub fn in_use(path: &Path, content: &[u8]) -> Option<Error> {
    if state(content) == State::Other {
        return None;
    }
    // The lock of the library: exclusive while a file is written.
    let locked = File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    let marked = state(content) != State::Closed;
    let (problem, hint) = match (locked, marked) {
        (true, _) => (
            "is open for writing in another program, which holds its lock",
            "close it there, or read a copy of it; locks of network file systems that hang are passed over with \
             `HDF5_USE_FILE_LOCKING=FALSE`",
        ),
        (false, true) => (
            "is marked as open for writing: a program has it open, or died before it closed it",
            "close it there; where no program has it open any more, `h5clear -s FILE` removes the mark, or copy what it \
             holds with `h5repack`",
        ),
        (false, false) => return None,
    };
    Some(Error::input(path, problem).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_behind_a_block_of_the_users_too() {
        let marked = |version: u8, marks: u8| [SIGNATURE, &[version, 8, 8, marks, 0, 0]].concat();
        assert_eq!(state(&marked(3, 0)), State::Closed);
        assert_eq!(state(&marked(3, 1)), State::Writing);
        assert_eq!(state(&marked(3, 5)), State::Shared);
        // Older superblocks have other things there.
        assert_eq!(state(&marked(0, 5)), State::Closed);
        assert_eq!(state(&[vec![0; 1024], marked(3, 1)].concat()), State::Writing);
        assert_eq!(state(b"no"), State::Other);
        assert_eq!(state(&[]), State::Other);
    }
}
