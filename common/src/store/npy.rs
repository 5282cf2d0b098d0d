//! numpy's `.npy` arrays and `.npz` archives of them.
//!
//! Arrays come out row-major and little-endian whatever the file has; nothing is copied where the file has it like
//! that already. Object arrays, which hold pickles, are read only on request ([`NpzFile::pickled`]) and never run.
//!
//! Own code, because the crates for it (`npyz`, `ndarray-npy`) read arrays into vectors and go through `zip`'s streams, twenty
//! times slower for stored arrays ([`super::zip`] has the figures), and know no object arrays, in which densities of hits lie.

mod rows;
mod texts;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::dtype::Element;
use super::map::{self, Mapped, Plain};
use super::pickle::Checkpoint;
use super::zip::{Zip, ZipWriter};
use crate::durable::{self, Written};
use crate::error::{Error, Result};
pub use rows::NpyRows;
pub use texts::npy_texts;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header that is parsed. That of a plain array has less than 200 bytes.
const HEADER_LIMIT: usize = 64 << 10;
/// Most bytes that an entry of an archive is inflated to.
const INFLATE_LIMIT: usize = 256 << 20;

/// Element type of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NpyKind {
    F64,
    F32,
    F16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl NpyKind {
    /// Bytes an element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    fn from_code(code: &str) -> Option<Self> {
        Some(match code {
            "f8" => Self::F64,
            "f4" => Self::F32,
            "f2" => Self::F16,
            "i8" => Self::I64,
            "i4" => Self::I32,
            "i2" => Self::I16,
            "i1" => Self::I8,
            "u8" => Self::U64,
            "u4" => Self::U32,
            "u2" => Self::U16,
            "u1" => Self::U8,
            "b1" => Self::Bool,
            _ => return None,
        })
    }
}

/// What the header of an array says.
#[derive(Debug, Clone)]
struct Header {
    kind: NpyKind,
    big_endian: bool,
    fortran: bool,
    shape: Vec<usize>,
}

/// An array, its header checked against its data.
#[derive(Debug)]
pub struct NpyArray {
    /// The file, and the entry where it is an archive.
    path: PathBuf,
    entry: String,
    header: Header,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// A mapped file, and where the elements begin.
    Mapped(Mapped, usize),
    Owned(Vec<u8>),
}

impl NpyArray {
    /// Maps a `.npy` file.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing, truncated, no array, or an array of something else than numbers.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mapped = Mapped::open(&path)?;
        let (header, begin) = parse(mapped.bytes()).map_err(|problem| Error::input(&path, problem))?;
        Ok(Self { path: path.as_ref().to_path_buf(), entry: String::new(), header, data: Data::Mapped(mapped, begin) })
    }

    /// Shape; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Element type.
    pub fn kind(&self) -> NpyKind {
        self.header.kind
    }

    /// Elements of exactly this type, row-major; without a copy where the file has them like that.
    ///
    /// # Errors
    /// [`Error::Input`] where the array is of another type: nothing is converted silently.
    pub fn elements<T: Element>(&self) -> Result<Cow<'_, [T]>> {
        let expected = format!("{:?}", T::DTYPE);
        if format!("{:?}", self.header.kind) != expected {
            return Err(self.bad(format!("is an array of {:?}, expected {expected}", self.header.kind)));
        }
        if !self.header.big_endian
            && !self.header.fortran
            && let Some(numbers) = map::cast(self.bytes())
        {
            return Ok(Cow::Borrowed(numbers));
        }
        Ok(Cow::Owned(map::copied(&self.row_major())))
    }

    /// All elements as f64, row-major. 64-bit integers beyond 2⁵³ are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        fn wide<T: Plain>(bytes: &[u8], convert: impl Fn(T) -> f64) -> Vec<f64> {
            map::copied(bytes).into_iter().map(convert).collect()
        }
        let bytes = &self.row_major();
        match self.header.kind {
            NpyKind::F64 => wide(bytes, |v: f64| v),
            NpyKind::F32 => wide::<f32>(bytes, f64::from),
            NpyKind::F16 => wide(bytes, |v: u16| half::f16::from_bits(v).to_f64()),
            NpyKind::I64 => wide(bytes, |v: i64| v as f64),
            NpyKind::I32 => wide::<i32>(bytes, f64::from),
            NpyKind::I16 => wide::<i16>(bytes, f64::from),
            NpyKind::I8 => wide::<i8>(bytes, f64::from),
            NpyKind::U64 => wide(bytes, |v: u64| v as f64),
            NpyKind::U32 => wide::<u32>(bytes, f64::from),
            NpyKind::U16 => wide::<u16>(bytes, f64::from),
            NpyKind::U8 => wide::<u8>(bytes, f64::from),
            NpyKind::Bool => wide(bytes, |v: u8| f64::from(v != 0)),
        }
    }

    /// All elements of an array of integers or bools, row-major.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        fn wide<T: Plain + TryInto<i64>>(bytes: &[u8]) -> Option<Vec<i64>> {
            map::copied::<T>(bytes).into_iter().map(|v| v.try_into().ok()).collect()
        }
        let bytes = &self.row_major();
        let values = match self.header.kind {
            NpyKind::I64 => wide::<i64>(bytes),
            NpyKind::I32 => wide::<i32>(bytes),
            NpyKind::I16 => wide::<i16>(bytes),
            NpyKind::I8 => wide::<i8>(bytes),
            NpyKind::U64 => wide::<u64>(bytes),
            NpyKind::U32 => wide::<u32>(bytes),
            NpyKind::U16 => wide::<u16>(bytes),
            NpyKind::U8 => wide::<u8>(bytes),
            NpyKind::Bool => Some(bytes.iter().map(|&b| i64::from(b != 0)).collect()),
            // Whole numbers, of a program that has no others.
            NpyKind::F64 | NpyKind::F32 | NpyKind::F16 => {
                let floats = self.to_f64();
                let fits = |v: &f64| v.fract() == 0.0 && v.abs() < 9_007_199_254_740_992.0;
                if let Some(at) = floats.iter().position(|v| !fits(v)) {
                    let found = format!("is an array of {:?} that holds {}", self.header.kind, floats[at]);
                    return Err(self.bad(format!("{found} at {at}, expected integers")));
                }
                Some(floats.into_iter().map(|v| v as i64).collect())
            }
        };
        values.ok_or_else(|| self.bad("holds an integer beyond 63 bits".into()))
    }

    fn bytes(&self) -> &[u8] {
        let length = self.header.kind.size() * self.header.shape.iter().product::<usize>();
        match &self.data {
            Data::Mapped(mapped, begin) => &mapped.bytes()[*begin..*begin + length],
            Data::Owned(bytes) => &bytes[bytes.len() - length..],
        }
    }

    /// The elements as little-endian bytes in row-major order.
    fn row_major(&self) -> Cow<'_, [u8]> {
        let (size, shape) = (self.header.kind.size(), &self.header.shape);
        let mut bytes = Cow::Borrowed(self.bytes());
        if self.header.fortran && shape.len() > 1 && !bytes.is_empty() {
            let source = bytes;
            let mut turned = Vec::with_capacity(source.len());
            let mut strides = vec![1; shape.len()];
            for axis in 1..shape.len() {
                strides[axis] = strides[axis - 1] * shape[axis - 1];
            }
            for element in 0..source.len() / size {
                let mut rest = element;
                let mut at = 0;
                for axis in (0..shape.len()).rev() {
                    at += rest % shape[axis] * strides[axis];
                    rest /= shape[axis];
                }
                turned.extend_from_slice(&source[at * size..(at + 1) * size]);
            }
            bytes = Cow::Owned(turned);
        }
        if self.header.big_endian && size > 1 {
            bytes.to_mut().chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        bytes
    }

    fn bad(&self, problem: String) -> Error {
        if self.entry.is_empty() {
            return Error::input(&self.path, problem);
        }
        Error::input(&self.path, format!("array `{}`: {problem}", self.entry))
    }
}

/// A `.npz` archive: named arrays, stored or deflated.
#[derive(Debug)]
pub struct NpzFile {
    mapped: Mapped,
    /// Entry of the archive by the name of the array.
    entries: BTreeMap<String, String>,
}

impl NpzFile {
    /// Opens an archive and lists its arrays.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mapped = Mapped::open(&path)?;
        let zip = Zip::parse(mapped.bytes()).map_err(|problem| Error::input(&path, problem))?;
        let entries = zip.names().map(|name| (name.strip_suffix(".npy").unwrap_or(name).to_owned(), name.to_owned()));
        let entries = entries.collect();
        Ok(Self { mapped, entries })
    }

    /// Names of the arrays, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is an array of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The pickle that an array of objects holds, parsed and not run; its items are those of the array.
    pub fn pickled(&self, name: &str) -> Result<Checkpoint> {
        let path = self.mapped.path();
        let bad = |problem: String| Error::input(path, format!("array `{name}`: {problem}"));
        let entry = self.entries.get(name).ok_or_else(|| Error::input(path, format!("has no array `{name}`")))?;
        let zip = Zip::parse(self.mapped.bytes()).map_err(bad)?;
        let content = zip.read(entry, INFLATE_LIMIT).map_err(bad)?;
        let (text, begin) = header_text(&content).map_err(bad)?;
        if !text.contains("'|O'") {
            return Err(bad("is no array of objects".into()));
        }
        Checkpoint::of_pickle(path, &content[begin..])
    }

    /// Reads a list of texts; none where the array is one of something else.
    ///
    /// # Errors
    /// [`Error::Input`] where the array is damaged or has several columns.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        let path = self.mapped.path();
        let bad = |problem: String| Error::input(path, format!("array `{name}`: {problem}"));
        let entry = self.entries.get(name).ok_or_else(|| Error::input(path, format!("has no array `{name}`")))?;
        let zip = Zip::parse(self.mapped.bytes()).map_err(bad)?;
        texts::of(&zip.read(entry, INFLATE_LIMIT).map_err(bad)?).map_err(bad)
    }

    /// Reads an array, its checksum verified.
    pub fn read(&self, name: &str) -> Result<NpyArray> {
        let path = self.mapped.path();
        let Some(entry) = self.entries.get(name) else {
            return Err(Error::input(path, format!("has no array `{name}`")).did_you_mean(name, self.names()));
        };
        let bad = |problem: String| Error::input(path, format!("array `{name}`: {problem}"));
        let zip = Zip::parse(self.mapped.bytes()).map_err(bad)?;
        let content = zip.read(entry, INFLATE_LIMIT).map_err(bad)?;
        let (header, begin) = parse(&content).map_err(bad)?;
        let length = header.kind.size() * header.shape.iter().product::<usize>();
        let mut content = content.into_owned();
        content.truncate(begin + length);
        Ok(NpyArray { path: path.to_path_buf(), entry: name.to_owned(), header, data: Data::Owned(content) })
    }
}

/// The text of the header, and where it ends.
fn header_text(bytes: &[u8]) -> Result<(&str, usize), String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("does not begin with `\\x93NUMPY`, so this is no numpy array")?;
    let (width, length) = match rest {
        [1, _, a, b, ..] => (2, usize::from(u16::from_le_bytes([*a, *b]))),
        [2 | 3, _, a, b, c, d, ..] => (4, u32::from_le_bytes([*a, *b, *c, *d]) as usize),
        [version, _, ..] if !(1..=3).contains(version) => {
            return Err(format!("has the version {version} of the format, expected 1 to 3"));
        }
        _ => return Err("truncated: the header is not whole".into()),
    };
    if length > HEADER_LIMIT {
        return Err(format!("the header claims {length} bytes, expected at most {HEADER_LIMIT}"));
    }
    let begin = MAGIC.len() + 2 + width + length;
    let text = bytes.get(begin - length..begin).ok_or("truncated: the header is not whole")?;
    Ok((std::str::from_utf8(text).map_err(|_| "the header is no text")?, begin))
}

/// Reads the header and says where the elements begin. The shape is compared with the length of the data.
fn parse(bytes: &[u8]) -> Result<(Header, usize), String> {
    let (text, begin) = header_text(bytes)?;
    let header = dictionary(text)?;
    let elements = header.shape.iter().filter(|&&d| d != 0).try_fold(1usize, |n, &d| n.checked_mul(d));
    let needed = elements.and_then(|n| n.checked_mul(header.kind.size()));
    let needed = needed.ok_or_else(|| format!("has the impossible shape {:?}", header.shape))?;
    let needed = if header.shape.contains(&0) { 0 } else { needed };
    let found = bytes.len() - begin;
    if found < needed {
        return Err(format!("truncated: shape {:?} needs {needed} bytes of data, found {found}", header.shape));
    }
    Ok((header, begin))
}

/// The header of an array of numbers.
fn dictionary(text: &str) -> Result<Header, String> {
    let (descr, fortran, shape) = described(text)?;
    let (order, code) = descr.split_at_checked(1).unwrap_or_default();
    let kind = NpyKind::from_code(code).filter(|_| matches!(order, "<" | ">" | "|" | "="));
    let kind = kind.ok_or_else(|| format!("has the dtype `{descr}`, expected numbers or bools"))?;
    Ok(Header { kind, big_endian: order == ">", fortran, shape })
}

/// Parses `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`: exactly these keys, in any order. Gives type, order
/// and shape.
fn described(text: &str) -> Result<(&str, bool, Vec<usize>), String> {
    let bad = || format!("the header `{}` is not understood", text.trim_end().chars().take(100).collect::<String>());
    let mut rest = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(bad)?.trim();
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, value) = rest.split_once(':').ok_or_else(bad)?;
        let value = value.trim_start();
        // Up to the comma that ends the value: that of a tuple or list comes behind its bracket.
        let end = match value.as_bytes().first() {
            Some(b'(') => value.find(')').map(|e| e + 1),
            Some(b'[') => value.rfind(']').map(|e| e + 1),
            Some(b'\'' | b'"') => value[1..].find(['\'', '"']).map(|e| e + 2),
            _ => value.find(',').or(Some(value.len())),
        };
        let (value, behind) = value.split_at(end.ok_or_else(bad)?);
        match key.trim().trim_matches(['\'', '"']) {
            "descr" => descr = Some(value),
            "fortran_order" => fortran = Some(value.trim()),
            "shape" => shape = Some(value),
            _ => return Err(bad()),
        }
        let behind = behind.trim_start();
        rest = if behind.is_empty() { behind } else { behind.strip_prefix(',').ok_or_else(bad)?.trim_start() };
    }
    let descr = descr.ok_or_else(bad)?.trim_matches(['\'', '"']);
    let fortran = match fortran {
        Some("True") => true,
        Some("False") => false,
        _ => return Err(bad()),
    };
    let inside = shape.and_then(|s| s.strip_prefix('(')?.strip_suffix(')')).ok_or_else(bad)?;
    let mut sides = Vec::new();
    for side in inside.split(',').map(str::trim).filter(|s| !s.is_empty()) {
        sides.push(side.trim_end_matches('L').parse().map_err(|_| bad())?);
    }
    if sides.len() > 32 {
        return Err(format!("has {} dimensions, expected at most 32", sides.len()));
    }
    Ok((descr, fortran, sides))
}

/// Writes numbers as a `.npy` file, row-major.
///
/// # Errors
/// [`Error::Failed`] where shape and number of elements differ, [`Error::Io`] from the system.
pub fn write_npy<T: Element>(path: impl AsRef<Path>, shape: &[usize], elements: &[T]) -> Result<Written> {
    let code = match std::any::type_name::<T>() {
        "f64" => "<f8",
        "f32" => "<f4",
        "i64" => "<i8",
        "i32" => "<i4",
        _ => "|u1",
    };
    publish(path.as_ref(), code, shape, elements.len(), map::bytes_of(elements))
}

/// Writes bools as a `.npy` file, row-major.
pub fn write_npy_bools(path: impl AsRef<Path>, shape: &[usize], elements: &[bool]) -> Result<Written> {
    let bytes: Vec<u8> = elements.iter().map(|&b| u8::from(b)).collect();
    publish(path.as_ref(), "|b1", shape, elements.len(), &bytes)
}

fn publish(path: &Path, code: &str, shape: &[usize], elements: usize, bytes: &[u8]) -> Result<Written> {
    let header = preamble(path, code, shape, elements, 0)?;
    durable::write_with(path, |out| {
        out.write_all(&header)?;
        out.write_all(bytes)
    })
}

/// Writes doubles in the form of a `.npy` file to anything, without copying them.
///
/// # Errors
/// Those of the writer; [`std::io::ErrorKind::InvalidInput`] where shape and number of elements differ.
pub fn write_npy_to(out: &mut impl std::io::Write, shape: &[usize], elements: &[f64]) -> std::io::Result<()> {
    let header = preamble(Path::new("a pipe"), "<f8", shape, elements.len(), 0)
        .map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidInput, e.to_string()))?;
    out.write_all(&header)?;
    out.write_all(map::bytes_of(elements))
}

/// Everything before the data, at least `least` bytes.
fn preamble(path: &Path, code: &str, shape: &[usize], elements: usize, least: usize) -> Result<Vec<u8>> {
    if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(elements) {
        let problem = format!("writing `{}`: {elements} elements do not fit the shape {shape:?}", path.display());
        return Err(Error::failed(problem));
    }
    let sides: Vec<_> = shape.iter().map(usize::to_string).collect();
    let comma = if sides.len() == 1 { "," } else { "" };
    let shape = format!("({}{comma})", sides.join(", "));
    let mut header = format!("{{'descr': '{code}', 'fortran_order': False, 'shape': {shape}, }}");
    // The data begins at a multiple of 64; the header ends with a line end.
    let size = |header: &str| MAGIC.len() + 4 + header.len() + 1;
    while size(&header) < least || !size(&header).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    Ok([MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat())
}

/// Numbers of one array of an archive, or the pickle of an array of objects.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum NpzData<'a> {
    F64(&'a [f64]),
    F32(&'a [f32]),
    I64(&'a [i64]),
    Bool(&'a [bool]),
    Pickle(&'a [u8]),
}

/// Writes a `.npz` archive of (name, shape, content), uncompressed, in this order.
pub fn write_npz(path: impl AsRef<Path>, arrays: &[(&str, &[usize], NpzData<'_>)]) -> Result<Written> {
    let path = path.as_ref();
    let mut contents = Vec::with_capacity(arrays.len());
    for (name, shape, data) in arrays {
        let flags: Vec<u8>;
        let (code, elements, bytes) = match data {
            NpzData::F64(v) => ("<f8", v.len(), map::bytes_of(v)),
            NpzData::F32(v) => ("<f4", v.len(), map::bytes_of(v)),
            NpzData::I64(v) => ("<i8", v.len(), map::bytes_of(v)),
            NpzData::Bool(v) => {
                flags = v.iter().map(|&b| u8::from(b)).collect();
                ("|b1", v.len(), flags.as_slice())
            }
            NpzData::Pickle(bytes) => ("|O", 1, *bytes),
        };
        let mut content = preamble(path, code, shape, elements, 0)?;
        content.extend_from_slice(bytes);
        contents.push((format!("{name}.npy"), content));
    }
    durable::write_with(path, |out| {
        let mut zip = ZipWriter::new(out);
        contents.iter().try_for_each(|(name, content)| zip.add(name, content))?;
        zip.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        durable::write(&path, &array(header, data)).unwrap();
        (folder, path)
    }

    fn array(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn written_arrays_are_read_back_without_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write_npy(&path, &[2, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let array = NpyArray::open(&path).unwrap();
        assert_eq!((array.shape(), array.kind()), (&[2, 3][..], NpyKind::F32));
        assert!(matches!(array.elements::<f32>().unwrap(), Cow::Borrowed([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])));
        assert!(array.elements::<f64>().unwrap_err().to_string().ends_with("is an array of F32, expected F64"));
        assert_eq!(std::fs::read(&path).unwrap().len(), 128 + 24);
        write_npy_bools(&path, &[2], &[true, false]).unwrap();
        assert_eq!(NpyArray::open(&path).unwrap().to_i64().unwrap(), [1, 0]);
        write_npy(&path, &[], &[7i64]).unwrap();
        assert_eq!(NpyArray::open(&path).unwrap().to_f64(), [7.0]);
        write_npy(&path, &[2], &[7.0f64, -1.0]).unwrap();
        assert_eq!(NpyArray::open(&path).unwrap().to_i64().unwrap(), [7, -1]);
        for wild in [0.5, f64::NAN, 1e16] {
            write_npy(&path, &[2], &[7.0f64, wild]).unwrap();
            let error = NpyArray::open(&path).unwrap().to_i64().unwrap_err().to_string();
            assert!(error.contains("at 1, expected integers"), "{error}");
        }
        assert!(write_npy(&path, &[3], &[7i64]).is_err());
    }

    #[test]
    fn other_byte_orders_and_fortran_order_are_turned() {
        let data: Vec<u8> = [1i16, 2, 3, 4, 5, 6].iter().flat_map(|v| v.to_be_bytes()).collect();
        let header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }  \n";
        let (_folder, path) = file(header, &data);
        let array = NpyArray::open(&path).unwrap();
        assert_eq!(array.to_i64().unwrap(), [1, 3, 5, 2, 4, 6]);
        assert_eq!(array.to_f64(), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    }

    #[test]
    fn impossible_headers_are_refused() {
        let cases = [
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }", "truncated: shape"),
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 2), }", "impossible shape"),
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", "is not understood"),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (), }", "has the dtype `|O`"),
            ("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", "has the dtype"),
            ("{'descr': '<f8', 'shape': (1,), }", "is not understood"),
            ("__import__('os').system('true')", "is not understood"),
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", "needs 16 bytes of data, found 8"),
        ];
        for (header, expected) in cases {
            let (_folder, path) = file(header, &[0; 8]);
            let found = NpyArray::open(&path).unwrap_err().to_string();
            assert!(found.contains(expected), "{header}: {found}");
        }
    }

    #[test]
    fn archives_are_read_stored_and_deflated() {
        let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (100,), }\n";
        let plain = array(header, map::bytes_of(&(0..100i64).collect::<Vec<_>>()));
        let mut bytes = Vec::new();
        let mut zip = crate::store::zip::ZipWriter::new(&mut bytes);
        zip.add("a.npy", &plain).unwrap();
        zip.add("b.npy", b"nothing").unwrap();
        zip.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        durable::write(&path, &bytes).unwrap();
        let npz = NpzFile::open(&path).unwrap();
        assert_eq!(npz.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(npz.read("a").unwrap().to_i64().unwrap(), (0..100).collect::<Vec<_>>());
        assert!(npz.read("b").unwrap_err().to_string().contains("array `b`: does not begin with"));
        let deflated = crate::store::zip::deflated_archive("a.npy", &plain);
        durable::write(folder.path().join("y.npz"), &deflated).unwrap();
        let again = NpzFile::open(folder.path().join("y.npz")).unwrap();
        assert_eq!(again.read("a").unwrap().to_i64().unwrap(), npz.read("a").unwrap().to_i64().unwrap());
        assert!(npz.read("c").unwrap_err().to_string().contains("has no array `c`"));
    }
}
