//! Arrays between stages: safetensors files.
//!
//! A file is an eight-byte header length, a JSON header and the data. [`TensorFile`] maps it and hands slices out
//! without copying. The header is not believed: lengths, types, shapes, overlaps and holes are checked once, when the
//! file is opened, so that everything behind it may rely on them. [`write`] and [`TensorWriter`] give the same bytes
//! for the same content: names sorted, no time or version inside, and all metadata in the one key `podium`.
//!
//! Own code, because the crate `safetensors` writes what lies in memory whole, where prepared arrays are larger than memory:
//! [`TensorWriter`] holds a quarter of a MiB a tensor, whatever its size. The format is the same: golden files were written by the
//! library of Python.

mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use super::dtype::{Dtype, Element};
pub use writer::{Declaration, TensorView, TensorWriter, write};

use super::map::{self, Mapped};
use crate::error::{Error, Result};

/// Longest header that is parsed: room for some 200,000 tensors.
const HEADER_LIMIT: u64 = 32 << 20;
/// Longest shape that is accepted.
const RANK_LIMIT: usize = 32;
/// The metadata key that holds our JSON.
const METADATA_KEY: &str = "podium";

/// A safetensors file, mapped into memory, with a checked header.
#[derive(Debug)]
pub struct TensorFile {
    mapped: Mapped,
    tensors: BTreeMap<String, Entry>,
    texts: BTreeMap<String, String>,
    metadata: Option<Value>,
}

#[derive(Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    end: usize,
    /// A copy at an aligned address, made when numbers of a misaligned tensor are asked for. Our writers align all
    /// tensors; some other ones do not.
    aligned: OnceLock<Vec<u64>>,
}

impl TensorFile {
    /// Maps a file and checks its header.
    ///
    /// # Errors
    /// [`Error::Input`] where the file is missing, truncated or not a sound safetensors file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mapped = Mapped::open(path)?;
        let bytes = mapped.bytes();
        let bad = |problem: String| {
            Error::input(mapped.path(), problem).hint("the file is damaged or no safetensors file; make it again")
        };
        let length = match bytes.first_chunk::<8>() {
            Some(first) => u64::from_le_bytes(*first),
            None => return Err(bad(format!("holds {} bytes, expected a safetensors header", bytes.len()))),
        };
        let rest = bytes.len() as u64 - 8;
        if length > HEADER_LIMIT {
            return Err(bad(format!("the header claims {length} bytes, expected at most {HEADER_LIMIT}")));
        }
        if length > rest {
            return Err(bad(format!("truncated: the header claims {length} bytes, only {rest} follow")));
        }
        let begin = 8 + length as usize;
        let header = &bytes[8..begin];
        if header.first() != Some(&b'{') {
            return Err(bad("the header does not begin with `{`, so this is no safetensors file".into()));
        }
        let header: Header = serde_json::from_slice(header).map_err(|e| bad(format!("reading the header: {e}")))?;
        let tensors = check(&header.tensors, bytes.len() - begin, begin).map_err(bad)?;
        let metadata = match header.texts.get(METADATA_KEY) {
            None => None,
            Some(text) => Some(
                serde_json::from_str(text)
                    .map_err(|e| bad(format!("metadata `{METADATA_KEY}` is not valid JSON: {e}")))?,
            ),
        };
        Ok(Self { tensors, texts: header.texts, metadata, mapped })
    }

    /// The path as given to [`TensorFile::open`].
    pub fn path(&self) -> &Path {
        self.mapped.path()
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Shape of a tensor; a scalar has none.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.entry(name)?.shape)
    }

    /// Element type of a tensor.
    pub fn dtype(&self, name: &str) -> Result<Dtype> {
        Ok(self.entry(name)?.dtype)
    }

    /// Content of a tensor: little-endian, row-major.
    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        let entry = self.entry(name)?;
        Ok(&self.mapped.bytes()[entry.start..entry.end])
    }

    /// Name, type, shape and content of a tensor, ready to be written again.
    pub fn view(&self, name: &str) -> Result<TensorView<'_>> {
        let Some((name, entry)) = self.tensors.get_key_value(name) else { return Err(self.missing(name)) };
        let bytes = &self.mapped.bytes()[entry.start..entry.end];
        Ok(TensorView { name, dtype: entry.dtype, shape: &entry.shape, bytes })
    }

    /// Elements of an F32 tensor, row-major.
    pub fn f32(&self, name: &str) -> Result<&[f32]> {
        self.elements(name)
    }

    /// Elements of an F64 tensor, row-major.
    pub fn f64(&self, name: &str) -> Result<&[f64]> {
        self.elements(name)
    }

    /// Elements of an I64 tensor, row-major.
    pub fn i64(&self, name: &str) -> Result<&[i64]> {
        self.elements(name)
    }

    /// Elements of an I32 tensor, row-major.
    pub fn i32(&self, name: &str) -> Result<&[i32]> {
        self.elements(name)
    }

    /// Elements of a U8 tensor, row-major.
    pub fn u8(&self, name: &str) -> Result<&[u8]> {
        self.elements(name)
    }

    /// Elements of a tensor without a copy, row-major.
    ///
    /// # Errors
    /// [`Error::Input`] where the tensor is missing or of another type: nothing is converted silently.
    pub fn elements<T: Element>(&self, name: &str) -> Result<&[T]> {
        let entry = self.entry(name)?;
        if entry.dtype != T::DTYPE {
            let problem = format!("tensor `{name}` is {}, expected {}", entry.dtype, T::DTYPE);
            return Err(Error::input(self.path(), problem));
        }
        let bytes = &self.mapped.bytes()[entry.start..entry.end];
        if let Some(numbers) = map::cast(bytes) {
            return Ok(numbers);
        }
        let copy = entry.aligned.get_or_init(|| {
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len().next_multiple_of(8), 0);
            map::copied(&padded)
        });
        map::cast(&map::bytes_of(copy)[..bytes.len()])
            .ok_or_else(|| Error::failed(format!("tensor `{name}` cannot be aligned in memory")))
    }

    /// Elements of a tensor whose shape must be `expected`; `None` stands for any length.
    pub fn elements_of_shape<T: Element>(&self, name: &str, expected: &[Option<usize>]) -> Result<&[T]> {
        let shape = self.shape(name)?;
        let fits = shape.len() == expected.len() && shape.iter().zip(expected).all(|(d, e)| e.is_none_or(|e| e == *d));
        if !fits {
            let sides: Vec<_> = expected.iter().map(|e| e.map_or("n".to_owned(), |e| e.to_string())).collect();
            let problem = format!("tensor `{name}` has shape {shape:?}, expected [{}]", sides.join(", "));
            return Err(Error::input(self.path(), problem));
        }
        self.elements(name)
    }

    /// The JSON under the metadata key `podium`.
    pub fn metadata(&self) -> Option<&Value> {
        self.metadata.as_ref()
    }

    /// A metadata text of another writer, such as `format`.
    pub fn metadata_text(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.tensors.get(name).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> Error {
        Error::input(self.path(), format!("has no tensor `{name}`")).did_you_mean(name, self.names())
    }
}

/// One tensor of the header, unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

struct Header {
    tensors: BTreeMap<String, Raw>,
    texts: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { tensors: BTreeMap::new(), texts: BTreeMap::new() };
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == "__metadata__" {
                        !std::mem::replace(&mut header.texts, map.next_value()?).is_empty()
                    } else {
                        let raw = map.next_value()?;
                        header.tensors.insert(name.clone(), raw).is_some()
                    };
                    if twice {
                        return Err(de::Error::custom(format!("`{name}` appears twice")));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Checks all tensors against each other and against `data` bytes of data, which begin at `begin` in the file.
fn check(raw: &BTreeMap<String, Raw>, data: usize, begin: usize) -> Result<BTreeMap<String, Entry>, String> {
    let mut tensors = BTreeMap::new();
    for (name, raw) in raw {
        let dtype = Dtype::from_name(&raw.dtype).ok_or_else(|| {
            let known: Vec<_> = Dtype::ALL.iter().map(|d| d.name()).collect();
            format!("tensor `{name}` has type `{}`, expected one of {}", raw.dtype, known.join(", "))
        })?;
        if raw.shape.len() > RANK_LIMIT {
            return Err(format!("tensor `{name}` has {} dimensions, expected at most {RANK_LIMIT}", raw.shape.len()));
        }
        let shape: Option<Vec<usize>> = raw.shape.iter().map(|&d| usize::try_from(d).ok()).collect();
        let size = shape.as_deref().and_then(|shape| dtype.bytes_for(shape));
        let (Some(shape), Some(size)) = (shape, size) else {
            return Err(format!("tensor `{name}` has the impossible shape {:?}", raw.shape));
        };
        let (start, end) = raw.data_offsets;
        if start > end || end > data as u64 {
            return Err(format!("tensor `{name}` occupies bytes {start}..{end}, but the data ends at {data}"));
        }
        if end - start != size as u64 {
            let found = end - start;
            return Err(format!("tensor `{name}` occupies {found} bytes, but {dtype} {shape:?} needs {size}"));
        }
        let (start, end) = (begin + start as usize, begin + end as usize);
        tensors.insert(name.clone(), Entry { dtype, shape, start, end, aligned: OnceLock::new() });
    }
    // The format asks for data without overlaps and holes; a hole could hide anything from a reader of the header.
    let mut order: Vec<_> = tensors.iter().map(|(name, e)| (e.start, e.end, name)).collect();
    order.sort_unstable();
    let mut reached = begin;
    for (start, end, name) in order {
        if start != reached {
            let what = if start < reached { "overlaps the tensor before it" } else { "leaves a hole before it" };
            return Err(format!("tensor `{name}` {what}: it begins at byte {start} of the file, expected {reached}"));
        }
        reached = end;
    }
    if reached != begin + data {
        return Err(format!("{} bytes of data belong to no tensor", begin + data - reached));
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file(header: &str, data: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        crate::durable::write(&path, &bytes).unwrap();
        (folder, path)
    }

    fn problem(header: &str, data: &[u8]) -> String {
        let (_folder, path) = file(header, data);
        TensorFile::open(&path).unwrap_err().to_string()
    }

    #[test]
    fn unsound_headers_are_refused_with_the_tensor_named() {
        let cases = [
            ("[]", "does not begin with `{`"),
            ("{", "EOF"),
            (r#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, "has type `F31`, expected one of F32"),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, "occupies 4 bytes, but F32 [2] needs 8"),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                "occupies bytes 4..8, but the data ends at 4",
            ),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, "occupies bytes 4..0"),
            (r#"{"a":{"dtype":"F32","shape":[9223372036854775807,0],"data_offsets":[0,0]}}"#, "impossible shape"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, "unknown field `x`"),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
                "`a` appears twice",
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#,
                "tensor `b` overlaps",
            ),
            (r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#, "tensor `a` leaves a hole"),
            (r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, "2 bytes of data belong to no tensor"),
            (
                r#"{"__metadata__":{"podium":"{"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                "metadata `podium` is not valid JSON",
            ),
        ];
        for (header, expected) in cases {
            let found = problem(header, &[0; 4]);
            assert!(found.contains(expected), "{header}: {found}");
        }
    }

    #[test]
    fn a_length_beyond_the_file_is_called_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for (bytes, expected) in [
            (&b""[..], "holds 0 bytes"),
            (&b"\x40\0\0\0\0\0\0\0{}"[..], "truncated: the header claims 64 bytes, only 2 follow"),
            (&[0xff; 16][..], "expected at most 33554432"),
        ] {
            crate::durable::write(&path, bytes).unwrap();
            let found = TensorFile::open(&path).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn misaligned_tensors_are_read_all_the_same() {
        // A header of odd length puts the data at an odd address.
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}  "#;
        let odd = &header[..header.len() - usize::from((header.len() + 8).is_multiple_of(2))];
        let data: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let (_folder, path) = file(odd, &data);
        let file = TensorFile::open(&path).unwrap();
        assert_eq!(file.f32("a").unwrap(), [1.5, -2.0]);
        assert_eq!(file.metadata_text("format"), Some("pt"));
        assert!(file.metadata().is_none());
    }

    #[test]
    fn another_type_or_shape_is_refused_and_a_near_name_is_suggested() {
        let (_folder, path) = file(r#"{"inputs":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]);
        let file = TensorFile::open(&path).unwrap();
        assert!(file.f64("inputs").unwrap_err().to_string().ends_with("tensor `inputs` is F32, expected F64"));
        let missing = file.f32("input").unwrap_err();
        assert_eq!(missing.hint_text().as_deref(), Some("did you mean `inputs`?"));
        let wrong = file.elements_of_shape::<f32>("inputs", &[None, Some(556)]).unwrap_err().to_string();
        assert!(wrong.ends_with("tensor `inputs` has shape [1], expected [n, 556]"), "{wrong}");
        assert_eq!(file.elements_of_shape::<f32>("inputs", &[None]).unwrap(), [0.0]);
    }
}
