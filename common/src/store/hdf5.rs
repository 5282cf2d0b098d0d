//! HDF5 files whose one-dimensional data sets hold a list of numbers an element: particle events.
//!
//! The library converts silently (a float read as an integer is truncated), so types are asked for first and read as
//! what they are. Its calls are served one at a time by a lock of the process: read once, in blocks, in one thread.

mod writer;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use hdf5::types::{FloatSize, IntSize, TypeDescriptor, VarLenArray};

pub use writer::ListWriter;

use super::map::Mapped;
use super::nearest;
use crate::error::{Error, Result};

/// An open HDF5 file.
#[derive(Debug)]
pub struct ListFile {
    path: PathBuf,
    bytes: u64,
    file: hdf5::File,
}

/// The numbers that the elements of a data set hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

/// A one-dimensional data set of variable-length lists.
#[derive(Debug)]
pub struct Lists {
    path: PathBuf,
    name: String,
    set: hdf5::Dataset,
    kind: Kind,
    len: usize,
    /// More numbers than the file has bytes for come from damage.
    most: usize,
}

impl ListFile {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing or no HDF5 file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // The kind of file is asked first: the library's message for a folder or a missing file helps nobody.
        let bytes = Mapped::open(path)?.bytes().len() as u64;
        let file = guarded(|| hdf5::File::open(path)).map_err(|problem| {
            Error::input(path, format!("is no sound HDF5 file: {problem}"))
                .hint("fetch the file again; an interrupted download often leaves its end missing")
        })?;
        Ok(Self { path: path.to_path_buf(), bytes, file })
    }

    /// The path as given to [`ListFile::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the data sets at the root, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = guarded(|| self.file.member_names()).unwrap_or_default();
        names.sort();
        names
    }

    /// Whether there is a data set of this name at the root.
    pub fn contains(&self, name: &str) -> bool {
        self.names().iter().any(|n| n == name)
    }

    /// A data set of lists of numbers.
    ///
    /// # Errors
    /// [`Error::Input`] where there is none of this name, or it holds something else.
    pub fn lists(&self, name: &str) -> Result<Lists> {
        let names = self.names();
        if !names.iter().any(|n| n == name) {
            let close = nearest(name, names.iter().map(String::as_str));
            let listed = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            let found = if names.is_empty() { "nothing".to_string() } else { listed };
            let error = Error::input(&self.path, format!("has no data set `{name}`; it holds {found}"));
            return Err(match close {
                Some(close) => error.hint(format!("did you mean `{close}`?")),
                None => error,
            });
        }
        let bad = |problem: String| Error::input(&self.path, format!("data set `{name}`: {problem}"));
        let set = guarded(|| self.file.dataset(name)).map_err(bad)?;
        let descriptor = guarded(|| set.dtype()?.to_descriptor()).map_err(bad)?;
        let kind = kind(&descriptor)
            .ok_or_else(|| bad(format!("holds `{descriptor}`, expected lists of variable length of numbers")))?;
        let len = match guarded(|| set.get_shape()).map_err(bad)?.as_slice() {
            [len] => *len,
            shape => return Err(bad(format!("has shape {shape:?}, expected one dimension"))),
        };
        // An element takes at least the 16 bytes that say where its list is.
        if len as u64 > self.bytes / 8 {
            return Err(bad(format!("claims {len} elements in a file of {} bytes", self.bytes)));
        }
        let most = self.bytes as usize;
        Ok(Lists { path: self.path.clone(), name: name.into(), set, kind, len, most })
    }
}

fn kind(descriptor: &TypeDescriptor) -> Option<Kind> {
    let TypeDescriptor::VarLenArray(inner) = descriptor else { return None };
    Some(match **inner {
        TypeDescriptor::Float(FloatSize::U4) => Kind::F32,
        TypeDescriptor::Float(FloatSize::U8) => Kind::F64,
        TypeDescriptor::Integer(IntSize::U1) => Kind::I8,
        TypeDescriptor::Integer(IntSize::U2) => Kind::I16,
        TypeDescriptor::Integer(IntSize::U4) => Kind::I32,
        TypeDescriptor::Integer(IntSize::U8) => Kind::I64,
        TypeDescriptor::Unsigned(IntSize::U1) => Kind::U8,
        TypeDescriptor::Unsigned(IntSize::U2) => Kind::U16,
        TypeDescriptor::Unsigned(IntSize::U4) => Kind::U32,
        TypeDescriptor::Unsigned(IntSize::U8) => Kind::U64,
        _ => return None,
    })
}

impl Lists {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the lists hold floats.
    pub fn is_float(&self) -> bool {
        matches!(self.kind, Kind::F32 | Kind::F64)
    }

    /// Gives the lists of a range of elements to `each`, in order, as f32: wider floats are rounded.
    ///
    /// # Errors
    /// [`Error::Input`] where the lists hold integers, a place is damaged, or `each` complains (with a text that the
    /// element's place is put before).
    pub fn floats(&self, range: Range<usize>, mut each: impl FnMut(usize, &[f32]) -> Result<(), String>) -> Result<()> {
        match self.kind {
            Kind::F32 => self.read::<f32>(range, |i, list| each(i, list)),
            Kind::F64 => {
                let mut buffer: Vec<f32> = vec![];
                self.read::<f64>(range, |i, list| {
                    buffer.clear();
                    buffer.extend(list.iter().map(|&v| v as f32));
                    each(i, &buffer)
                })
            }
            _ => Err(self.wrong("integers", "floats")),
        }
    }

    /// The same of integers of any width, as i64.
    pub fn integers(
        &self,
        range: Range<usize>,
        mut each: impl FnMut(usize, &[i64]) -> Result<(), String>,
    ) -> Result<()> {
        let mut buffer: Vec<i64> = vec![];
        macro_rules! read {
            ($kind:ty, $convert:expr) => {
                self.read::<$kind>(range, |i, list| {
                    buffer.clear();
                    buffer.extend(list.iter().map($convert));
                    each(i, &buffer)
                })
            };
        }
        match self.kind {
            Kind::I64 => self.read::<i64>(range, |i, list| each(i, list)),
            Kind::I32 => read!(i32, |&v| i64::from(v)),
            Kind::I16 => read!(i16, |&v| i64::from(v)),
            Kind::I8 => read!(i8, |&v| i64::from(v)),
            Kind::U8 => read!(u8, |&v| i64::from(v)),
            Kind::U16 => read!(u16, |&v| i64::from(v)),
            Kind::U32 => read!(u32, |&v| i64::from(v)),
            // Counts and identities; what lies beyond is nonsense that the caller's checks will name.
            Kind::U64 => read!(u64, |&v| i64::try_from(v).unwrap_or(i64::MAX)),
            Kind::F32 | Kind::F64 => Err(self.wrong("floats", "integers")),
        }
    }

    fn read<T: hdf5::H5Type + Copy>(
        &self,
        range: Range<usize>,
        mut each: impl FnMut(usize, &[T]) -> Result<(), String>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if range.end > self.len {
            let problem = format!("elements {} to {} of {}", range.start, range.end, self.len);
            return Err(Error::input(&self.path, format!("data set `{}`: {problem}", self.name)));
        }
        let begin = range.start;
        let lists = guarded(|| self.set.read_slice_1d::<VarLenArray<T>, _>(range.clone())).map_err(|problem| {
            let place = format!("data set `{}`, elements {} to {}", self.name, range.start, range.end);
            Error::input(&self.path, format!("{place}: {problem}")).hint("fetch the file again: it is damaged there")
        })?;
        for (i, list) in lists.iter().enumerate() {
            let index = begin + i;
            let told =
                |problem| Error::input(&self.path, format!("data set `{}`, element {index}: {problem}", self.name));
            if list.len() > self.most {
                return Err(told(format!("claims {} numbers", list.len())));
            }
            each(index, list).map_err(told)?;
        }
        Ok(())
    }

    fn wrong(&self, found: &str, expected: &str) -> Error {
        Error::input(&self.path, format!("data set `{}` holds lists of {found}, expected {expected}", self.name))
    }
}

/// The wrapper of the C library may panic on damaged files: that is an error like any other.
fn guarded<T>(work: impl FnOnce() -> hdf5::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(|e| e.to_string()),
        Err(_) => Err("the file is damaged".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path) -> PathBuf {
        let path = folder.join("a.h5");
        let mut writer = ListWriter::create(&path, &["point"], &["cluster"]).unwrap();
        for i in 0..5i32 {
            writer.append_floats("point", &vec![i as f32 + 0.5; i as usize]).unwrap();
            writer.append_integers("cluster", &[i, 2 * i]).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    #[test]
    fn lists_come_back_as_they_were_written_and_equal_content_gives_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let first = std::fs::read(&path).unwrap();
        let file = ListFile::open(&path).unwrap();
        assert_eq!(file.names(), ["cluster", "point"]);
        let (points, clusters) = (file.lists("point").unwrap(), file.lists("cluster").unwrap());
        let mut seen = vec![];
        points
            .floats(1..4, |i, list| {
                seen.push((i, list.to_vec()));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [(1, vec![1.5]), (2, vec![2.5; 2]), (3, vec![3.5; 3])]);
        let mut total = 0;
        clusters
            .integers(0..5, |_, list| {
                total += list.iter().sum::<i64>();
                Ok(())
            })
            .unwrap();
        assert_eq!((points.len(), total), (5, 30));
        std::fs::remove_file(&path).unwrap();
        assert!(std::fs::read(written(folder.path())).unwrap() == first);
    }

    #[test]
    fn wrong_names_types_and_ranges_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = ListFile::open(written(folder.path())).unwrap();
        let error = file.lists("points").unwrap_err();
        assert!(error.to_string().contains("no data set `points`; it holds `cluster`, `point`"), "{error}");
        assert_eq!(error.hint_text().unwrap(), "did you mean `point`?");
        let error = file.lists("cluster").unwrap().floats(0..1, |_, _| Ok(())).unwrap_err();
        assert!(error.to_string().contains("lists of integers, expected floats"), "{error}");
        let error = file.lists("point").unwrap().floats(3..9, |_, _| Ok(())).unwrap_err();
        assert!(error.to_string().contains("elements 3 to 9 of 5"), "{error}");
        let error = file.lists("point").unwrap().floats(2..3, |_, _| Err("too short".into())).unwrap_err();
        assert!(error.to_string().ends_with("data set `point`, element 2: too short"), "{error}");
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        crate::durable::write(&path, b"not hdf5 at all").unwrap();
        let error = ListFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("is no sound HDF5 file"), "{error}");
        let error = ListFile::open(folder.path().join("y.h5")).unwrap_err().to_string();
        assert!(error.ends_with("no such file or folder"), "{error}");
    }
}
