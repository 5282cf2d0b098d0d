//! HDF5 files whose one-dimensional data sets hold a list of numbers an element: particle events.
//!
//! The library converts silently (a float read as an integer is truncated), so types are asked for first and read as
//! what they are. Its calls are served one at a time by a lock of the process, so it says only where things lie; the lists are
//! then read by our own threads ([`heap`]), but for what is odd.

mod filters;
mod heap;
mod joined;
mod native;
mod origin;
pub(super) mod plain;
mod state;
mod stored;
mod writer;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hdf5::LinkType;
use hdf5::datatype::ByteOrder;
use hdf5::file::OpenMode;
use hdf5::types::{FloatSize, IntSize, TypeDescriptor, VarLenArray};

pub(super) use heap::{Objects, objects};
pub(super) use state::in_use;
pub(super) use stored::Stored;
pub use writer::ListWriter;

use self::heap::Heap;
use super::map::{Mapped, Plain};
use crate::error::{Error, Result};
use crate::near::nearest;

/// An open HDF5 file.
#[derive(Debug)]
pub struct ListFile {
    path: PathBuf,
    file: hdf5::File,
    content: Arc<Mapped>,
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
    /// Its lists without the library, where nothing about them is odd.
    heap: Option<Heap>,
    kind: Kind,
    len: usize,
    /// More numbers than the file has bytes for come from damage.
    most: usize,
    /// The files that hold a part of it.
    files: Vec<PathBuf>,
}

impl ListFile {
    /// Opens a file for reading. One that a writer shares with readers (SWMR), or left so when it died, is read too.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing, no HDF5 file, or open for writing elsewhere.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // The kind of file is asked first: the library's message for a folder or a missing file helps nobody.
        let mapped = Mapped::open(path)?;
        let shared = state::state(mapped.bytes()) == state::State::Shared;
        let mode = if shared { OpenMode::ReadSWMR } else { OpenMode::Read };
        let file = guarded(|| hdf5::File::open_as(path, mode)).map_err(|problem| {
            state::in_use(path, mapped.bytes()).unwrap_or_else(|| {
                Error::input(path, format!("is no sound HDF5 file: {problem}"))
                    .hint("fetch the file again; an interrupted download often leaves its end missing")
            })
        })?;
        Ok(Self { path: path.to_path_buf(), file, content: Arc::new(mapped) })
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

    /// Whether a name, that may lead through groups, is there.
    pub fn holds(&self, name: &str) -> bool {
        guarded(|| Ok(self.file.link_exists(name))).unwrap_or(false)
    }

    /// The name at the root that `name` was probably meant to be.
    pub fn nearest(&self, name: &str) -> Option<String> {
        nearest(name, self.names().iter().map(String::as_str)).map(String::from)
    }

    /// A data set of lists of numbers; `name` may lead through groups (`data/point`) and links.
    ///
    /// # Errors
    /// [`Error::Input`] where there is none of this name, or it holds something else.
    pub fn lists(&self, name: &str) -> Result<Lists> {
        let bad = |problem: String| Error::input(&self.path, format!("data set `{name}`: {problem}"));
        if !self.holds(name) {
            return Err(self.absent(name));
        }
        let set = guarded(|| self.file.dataset(name)).map_err(|problem| match self.linked(name) {
            true => bad("is a link to a place that is not there".into())
                .hint("put the file that it leads to back where it was when this one was made"),
            false => bad(problem),
        })?;
        let heap = guarded(|| Ok(self.heap(&set))).and_then(|heap| heap).map_err(bad)?;
        let origin =
            origin::origin(&self.path, &set, heap.is_some()).map_err(|(problem, hint)| bad(problem).hint(hint))?;
        let descriptor = guarded(|| set.dtype()?.to_descriptor()).map_err(|problem| {
            bad(format!("holds numbers of a type that is not read ({problem})"))
                .hint("write them as floats of 32 or 64 bits, and whole numbers as integers")
        })?;
        let kind = kind(&descriptor)
            .ok_or_else(|| bad(format!("holds `{descriptor}`, expected lists of variable length of numbers")))?;
        let len = match guarded(|| set.get_shape()).map_err(bad)?.as_slice() {
            [len] => *len,
            shape => return Err(bad(format!("has shape {shape:?}, expected one dimension"))),
        };
        // An element takes at least the 16 bytes that say where its list is.
        if len as u64 > origin.bytes / 8 {
            return Err(bad(format!("claims {len} elements in a file of {} bytes", origin.bytes)));
        }
        let (most, files) = (origin.bytes as usize, origin.files.into_iter().collect());
        Ok(Lists { path: self.path.clone(), name: name.into(), set, heap, kind, len, most, files })
    }

    /// The lists of a data set from the file itself, which a link may have led to. An error where nobody should read them.
    fn heap(&self, set: &hdf5::Dataset) -> Result<Option<Heap>, String> {
        let own = PathBuf::from(set.filename());
        let content = match own == Path::new(&self.file.filename()) {
            true => Arc::clone(&self.content),
            false => Arc::new(Mapped::open(&own).map_err(|e| e.to_string())?),
        };
        // A file that is being written changes under us.
        if state::state(content.bytes()) != state::State::Closed {
            return Ok(None);
        }
        let elements = Stored::of(set, &own, content.bytes())?;
        // The numbers of a list have the order of bytes that its type says; of single bytes it says none.
        let kind = set.dtype().map_err(|e| e.to_string())?;
        let plain = matches!(kind.byte_order(), ByteOrder::LittleEndian | ByteOrder::None);
        let elements = elements.filter(|_| plain && kind.size() == heap::ELEMENT);
        Ok(elements.and_then(|elements| Heap::of(&content, elements)))
    }

    /// Whether a name at the root is a link and no data set itself.
    fn linked(&self, name: &str) -> bool {
        let is = |link: &str, info: hdf5::LinkInfo| Ok((link == name).then_some(info.link_type != LinkType::Hard));
        guarded(|| self.file.find_link(hdf5::IndexType::default(), hdf5::IterationOrder::default(), is))
            .is_ok_and(|found| found == Some(true))
    }

    fn absent(&self, name: &str) -> Error {
        let names = self.names();
        let listed = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        let found = if names.is_empty() { "nothing".to_string() } else { listed };
        let error = Error::input(&self.path, format!("has no data set `{name}`; it holds {found}"));
        error.did_you_mean(name, names.iter().map(String::as_str))
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

    /// The files that hold a part of it: that which was opened, or those that its links and virtual data sets lead to.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
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
            // Energies that were cut to whole numbers would be taken for measured ones.
            _ => Err(self.wrong("integers", "floats")),
        }
    }

    /// The same of integers of any width, as i64; floats must be whole.
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
            Kind::F32 => self.read::<f32>(range, |i, list| {
                whole(list.iter().map(|&v| f64::from(v)), &mut buffer)?;
                each(i, &buffer)
            }),
            Kind::F64 => self.read::<f64>(range, |i, list| {
                whole(list.iter().copied(), &mut buffer)?;
                each(i, &buffer)
            }),
        }
    }

    fn read<T: hdf5::H5Type + Plain>(
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
        let told =
            |index, problem| Error::input(&self.path, format!("data set `{}`, element {index}: {problem}", self.name));
        if let Some(heap) = &self.heap {
            let each = |index, list: &[T]| each(index, list).map_err(|problem| (index, problem));
            return heap.each(range, each).map_err(|(index, problem)| told(index, problem));
        }
        let begin = range.start;
        let lists = guarded(|| self.set.read_slice_1d::<VarLenArray<T>, _>(range.clone())).map_err(|problem| {
            let place = format!("data set `{}`, elements {} to {}", self.name, range.start, range.end);
            Error::input(&self.path, format!("{place}: {problem}")).hint("fetch the file again: it is damaged there")
        })?;
        for (i, list) in lists.iter().enumerate() {
            let index = begin + i;
            if list.len() > self.most {
                return Err(told(index, format!("claims {} numbers", list.len())));
            }
            each(index, list).map_err(|problem| told(index, problem))?;
        }
        Ok(())
    }

    fn wrong(&self, found: &str, expected: &str) -> Error {
        Error::input(&self.path, format!("data set `{}` holds lists of {found}, expected {expected}", self.name))
    }
}

/// Whole numbers that are stored as floats.
fn whole(floats: impl Iterator<Item = f64>, into: &mut Vec<i64>) -> Result<(), String> {
    into.clear();
    for value in floats {
        if value.fract() != 0.0 || value.abs() > 9_007_199_254_740_992.0 {
            return Err(format!("holds {value}, expected whole numbers"));
        }
        into.push(value as i64);
    }
    Ok(())
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
        let error = file.lists("point").unwrap().integers(0..5, |_, _| Ok(())).unwrap_err();
        assert!(error.to_string().contains("element 1: holds 1.5, expected whole numbers"), "{error}");
        let error = file.lists("point").unwrap().floats(3..9, |_, _| Ok(())).unwrap_err();
        assert!(error.to_string().contains("elements 3 to 9 of 5"), "{error}");
        let error = file.lists("point").unwrap().floats(2..3, |_, _| Err("too short".into())).unwrap_err();
        assert!(error.to_string().ends_with("data set `point`, element 2: too short"), "{error}");
    }

    /// A file whose data set `point` takes its elements from others, by a virtual data set.
    fn joined(folder: &Path, sources: &[&str]) -> PathBuf {
        let path = folder.join(format!("{}.h5", sources.concat()));
        let file = hdf5::File::create(&path).unwrap();
        let mut builder = file.new_dataset::<VarLenArray<f32>>().shape(5 * sources.len());
        for (i, source) in sources.iter().enumerate() {
            builder = builder.virtual_map(*source, "point", 5, .., 5 * sources.len(), 5 * i..5 * i + 5);
        }
        builder.create("point").unwrap();
        drop(file);
        path
    }

    #[test]
    fn virtual_data_sets_and_links_lead_to_other_files_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path());
        let file = ListFile::open(joined(folder.path(), &["a.h5", "a.h5"])).unwrap();
        let lists = file.lists("point").unwrap();
        let mut lengths = vec![];
        lists
            .floats(0..10, |_, list| {
                lengths.push(list.len());
                Ok(())
            })
            .unwrap();
        assert_eq!(lengths, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
        let names: Vec<_> = lists.files().iter().filter_map(|file| file.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.h5", "a.h5a.h5.h5"]);
        // The library would fill in empty lists.
        let file = ListFile::open(joined(folder.path(), &["a.h5", "gone.h5"])).unwrap();
        let error = file.lists("point").unwrap_err();
        assert!(error.to_string().contains("takes a part from the file `gone.h5`, which is not there"), "{error}");
        // So it would where the file lacks the data set.
        drop(hdf5::File::create(folder.path().join("empty.h5")).unwrap());
        let file = ListFile::open(joined(folder.path(), &["a.h5", "empty.h5"])).unwrap();
        let error = file.lists("point").unwrap_err();
        assert!(error.to_string().contains("the data set `point` of the file `empty.h5`: there is none"), "{error}");

        let path = folder.path().join("linked.h5");
        let linking = hdf5::File::create(&path).unwrap();
        linking.link_external("a.h5", "/point", "point").unwrap();
        linking.link_soft("/point", "soft").unwrap();
        linking.link_external("gone.h5", "/point", "gone").unwrap();
        drop(linking);
        let file = ListFile::open(&path).unwrap();
        assert_eq!((file.lists("point").unwrap().len(), file.lists("soft").unwrap().len()), (5, 5));
        let error = file.lists("gone").unwrap_err();
        assert!(error.to_string().contains("data set `gone`: is a link to a place that is not there"), "{error}");
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
