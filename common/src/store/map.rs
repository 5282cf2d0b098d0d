//! Mapping files into memory, and looking at bytes as numbers. All `unsafe` of the stores that is not a call of a C library lives here.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::foreign;
use crate::error::{Error, Result};

// Every format of ours is little-endian on disk and is handed out without a copy.
const _: () = assert!(cfg!(target_endian = "little"), "Podium needs a little-endian machine");

/// A whole file as one slice. Published files are never changed in place, so the content stays what was checked.
///
/// All binary formats are read through this door, so what a failed download left in a file's place is told here, whatever
/// the file was to be ([`super::foreign`]).
#[derive(Debug)]
pub struct Mapped {
    path: PathBuf,
    map: Mmap,
}

impl Mapped {
    /// Maps `path`. A missing file, a folder, a pipe or a pointer in place of the content is an input error.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        // The kind is asked before opening: opening a pipe would wait for a writer.
        let kind = std::fs::metadata(&path).map_err(|e| Error::opening(&path, e))?;
        if !kind.is_file() {
            let found = if kind.is_dir() { "a folder" } else { "a special file" };
            return Err(Error::input(&path, format!("is {found}, expected a file")));
        }
        let file = File::open(&path).map_err(|e| Error::opening(&path, e))?;
        // SAFETY: the map is read-only and private to this process. Should another process shorten the file meanwhile,
        // the kernel stops us with SIGBUS; our own writers replace files by renaming and never shorten them.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("mapping", &path, e))?;
        match foreign::told(&path, &map) {
            Some(error) => Err(error),
            None => Ok(Self { path, map }),
        }
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The path as given to [`Mapped::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }
}

mod sealed {
    pub trait Sealed {}
}

/// Numbers without padding for which every bit pattern is a value.
pub trait Plain: Copy + Default + Send + Sync + 'static + sealed::Sealed {}

macro_rules! plain {
    ($($kind:ty),*) => {$(impl sealed::Sealed for $kind {} impl Plain for $kind {})*};
}
plain!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

/// `bytes` as numbers; `None` where the address is not aligned or the length is no multiple of the size.
pub fn cast<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: `Plain` is sealed to primitive numbers, for which all bit patterns are valid.
    let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
    (before.is_empty() && after.is_empty()).then_some(numbers)
}

/// Numbers as the bytes that they are made of.
pub fn bytes_of<T: Plain>(numbers: &[T]) -> &[u8] {
    // SAFETY: `Plain` is sealed to primitive numbers, which have no padding; the length is that of the same memory.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), std::mem::size_of_val(numbers)) }
}

/// Copies bytes of any alignment into numbers. A tail shorter than one number is left out.
pub fn copied<T: Plain>(bytes: &[u8]) -> Vec<T> {
    let count = bytes.len() / size_of::<T>();
    let mut numbers = vec![T::default(); count];
    // SAFETY: as in `bytes_of`; every bit pattern written is a valid number.
    let target = unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast::<u8>(), count * size_of::<T>()) };
    target.copy_from_slice(&bytes[..count * size_of::<T>()]);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casting_needs_alignment_and_whole_numbers() {
        let numbers = [1.5f64, -2.0];
        let bytes = bytes_of(&numbers);
        assert_eq!(cast::<f64>(bytes), Some(&numbers[..]));
        assert!(cast::<f64>(&bytes[..12]).is_none());
        assert!(cast::<f64>(&bytes[1..9]).is_none());
        assert_eq!(copied::<f64>(&bytes[..12]), [1.5]);
        assert_eq!(cast::<f64>(&[]), Some(&[][..]));
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = Mapped::open(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("is a folder, expected a file"), "{error}");
        let error = Mapped::open(folder.path().join("x")).unwrap_err().to_string();
        assert!(error.ends_with("no such file or folder"), "{error}");
    }
}
