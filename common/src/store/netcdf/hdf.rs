//! netCDF-4 files (HDF5). The C library says what a file holds, and where; its calls are served one at a time by a lock of the
//! process. Numbers are read and inflated outside of it, by the thread that asks for them, but for what is odd: that the
//! library reads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use hdf5::Datatype;
use netcdf::AttributeValue;
use netcdf::types::{FloatType, IntType, NcVariableType};

use crate::store::hdf5::Stored;
use crate::store::map::Mapped;

use super::{Attribute, Catalogue, Dimension, Float, NcType, Variable};

/// An open file of the C library.
#[derive(Debug)]
pub(super) struct Hdf {
    /// The same file as the library below sees it, closed first.
    below: Option<hdf5::File>,
    file: netcdf::File,
    content: Mapped,
}

impl Hdf {
    /// Opens a file and lists its root group. An error is the text after the path, and the content.
    pub(super) fn open(path: &Path, content: Mapped) -> Result<(Catalogue, Self), (String, Mapped)> {
        let opened = std::path::absolute(path).map_err(|e| e.to_string()).and_then(|absolute| {
            guarded(|| {
                // An absolute path cannot be taken for a URL by the library.
                let file = netcdf::open(&absolute).map_err(|e| e.to_string())?;
                let below = hdf5::File::open(&absolute).ok();
                Ok((catalogue(&file)?, file, below))
            })
        });
        match opened {
            Ok((catalogue, file, below)) => Ok((catalogue, Self { below, file, content })),
            Err(problem) => Err((problem, content)),
        }
    }

    /// Where the numbers of a variable lie, if nothing about it is odd.
    fn stored(&self, variable: &Variable) -> Option<Stored> {
        guarded(|| {
            let Some(below) = &self.below else { return Ok(None) };
            let found = || -> hdf5::Result<Option<Stored>> {
                // A variable that has the name of a dimension but is none of its coordinates is stored under another name.
                if below.link_exists(&format!("_nc4_non_coord_{}", variable.name)) {
                    return Ok(None);
                }
                let set = below.dataset(&variable.name)?;
                let kind = match variable.kind {
                    NcType::I8 => Datatype::from_type::<i8>()?,
                    NcType::U8 => Datatype::from_type::<u8>()?,
                    NcType::I16 => Datatype::from_type::<i16>()?,
                    NcType::U16 => Datatype::from_type::<u16>()?,
                    NcType::I32 => Datatype::from_type::<i32>()?,
                    NcType::U32 => Datatype::from_type::<u32>()?,
                    NcType::I64 => Datatype::from_type::<i64>()?,
                    NcType::U64 => Datatype::from_type::<u64>()?,
                    NcType::F32 => Datatype::from_type::<f32>()?,
                    NcType::F64 => Datatype::from_type::<f64>()?,
                    NcType::Text | NcType::Other => return Ok(None),
                };
                // Equal types have the order of bytes of this machine, too.
                if set.dtype()? != kind {
                    return Ok(None);
                }
                Stored::of(&set, Path::new(&below.filename()), self.content.bytes().len())
            };
            found().map_err(|e| e.to_string())
        })
        .ok()
        .flatten()
        // A dimension without limit may be longer than what was written along it.
        .filter(|stored| stored.shape() == variable.shape)
    }

    pub(super) fn read<T: Float>(&self, variable: &Variable, values: &mut Vec<T>) -> Result<(), String> {
        let bytes = variable.shape.iter().try_fold(variable.kind.size(), |n, &d| n.checked_mul(d));
        if bytes.is_none_or(|bytes| bytes > Stored::limit(self.content.bytes().len())) {
            return Err(format!("it has the impossible shape {:?}", variable.shape));
        }
        values.clear();
        if variable.elements() == 0 {
            return Ok(());
        }
        values.resize(variable.elements(), T::default());
        if let Some(stored) = self.stored(variable) {
            return stored.runs(self.content.bytes(), |first, bytes| put(variable.kind, bytes, &mut values[first..]));
        }
        guarded(|| {
            let found = self.file.variable(&variable.name).ok_or("the variable vanished")?;
            found.get_values_into(values, ..).map_err(|e| e.to_string())
        })
    }
}

/// Stored numbers as floats, at the beginning of `values`.
fn put<T: Float>(kind: NcType, bytes: &[u8], values: &mut [T]) {
    fn each<T: Float, const W: usize>(bytes: &[u8], values: &mut [T], wide: impl Fn([u8; W]) -> f64) {
        for (value, stored) in values.iter_mut().zip(bytes.as_chunks::<W>().0) {
            *value = T::rounded(wide(*stored));
        }
    }
    match kind {
        NcType::I8 => each(bytes, values, |b| f64::from(i8::from_le_bytes(b))),
        NcType::U8 => each(bytes, values, |b| f64::from(u8::from_le_bytes(b))),
        NcType::I16 => each(bytes, values, |b| f64::from(i16::from_le_bytes(b))),
        NcType::U16 => each(bytes, values, |b| f64::from(u16::from_le_bytes(b))),
        NcType::I32 => each(bytes, values, |b| f64::from(i32::from_le_bytes(b))),
        NcType::U32 => each(bytes, values, |b| f64::from(u32::from_le_bytes(b))),
        NcType::I64 => each(bytes, values, |b| i64::from_le_bytes(b) as f64),
        NcType::U64 => each(bytes, values, |b| u64::from_le_bytes(b) as f64),
        NcType::F32 => each(bytes, values, |b| f64::from(f32::from_le_bytes(b))),
        NcType::F64 => each(bytes, values, f64::from_le_bytes),
        NcType::Text | NcType::Other => {}
    }
}

/// The wrapper of the C library unwraps names that are no UTF-8: in a damaged file that is an error like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("a name in the file is damaged".into()))
}

fn catalogue(file: &netcdf::File) -> Result<Catalogue, String> {
    let dimensions = file.dimensions().map(|d| Dimension { name: d.name(), len: d.len(), unlimited: d.is_unlimited() });
    let mut catalogue = Catalogue { dimensions: dimensions.collect(), ..Catalogue::default() };
    catalogue.attributes = attributes(file.attributes())?;
    for variable in file.variables() {
        catalogue.variables.push(Variable {
            name: variable.name(),
            dims: variable.dimensions().iter().map(netcdf::Dimension::name).collect(),
            shape: variable.dimensions().iter().map(netcdf::Dimension::len).collect(),
            // A type of the file's own that the wrapper cannot describe holds no numbers either.
            kind: catch_unwind(AssertUnwindSafe(|| kind(&variable.vartype()))).unwrap_or(NcType::Other),
            attributes: attributes(variable.attributes())?,
        });
    }
    Ok(catalogue)
}

fn kind(kind: &NcVariableType) -> NcType {
    match kind {
        NcVariableType::Int(IntType::U8) => NcType::U8,
        NcVariableType::Int(IntType::U16) => NcType::U16,
        NcVariableType::Int(IntType::U32) => NcType::U32,
        NcVariableType::Int(IntType::U64) => NcType::U64,
        NcVariableType::Int(IntType::I8) => NcType::I8,
        NcVariableType::Int(IntType::I16) => NcType::I16,
        NcVariableType::Int(IntType::I32) => NcType::I32,
        NcVariableType::Int(IntType::I64) => NcType::I64,
        NcVariableType::Float(FloatType::F32) => NcType::F32,
        NcVariableType::Float(FloatType::F64) => NcType::F64,
        NcVariableType::Char | NcVariableType::String => NcType::Text,
        _ => NcType::Other,
    }
}

fn attributes<'a>(listed: impl Iterator<Item = netcdf::Attribute<'a>>) -> Result<BTreeMap<String, Attribute>, String> {
    let mut attributes = BTreeMap::new();
    for attribute in listed {
        match attribute.value() {
            Ok(value) => attributes.insert(attribute.name().to_owned(), converted(value)),
            // Of a type of the file's own, as the fill value of an enumeration: it says nothing about numbers.
            Err(netcdf::Error::TypeUnknown(_)) => None,
            Err(e) => return Err(format!("attribute `{}`: {e}", attribute.name())),
        };
    }
    Ok(attributes)
}

fn converted(value: AttributeValue) -> Attribute {
    use AttributeValue as V;
    fn all<T: Copy>(values: &[T], wide: impl Fn(T) -> f64) -> Attribute {
        Attribute::Numbers(values.iter().map(|&v| wide(v)).collect())
    }
    match value {
        V::Str(text) => Attribute::Text(text),
        V::Strs(texts) => Attribute::Text(texts.join("\n")),
        V::Uchar(v) => all(&[v], f64::from),
        V::Uchars(v) => all(&v, f64::from),
        V::Schar(v) => all(&[v], f64::from),
        V::Schars(v) => all(&v, f64::from),
        V::Ushort(v) => all(&[v], f64::from),
        V::Ushorts(v) => all(&v, f64::from),
        V::Short(v) => all(&[v], f64::from),
        V::Shorts(v) => all(&v, f64::from),
        V::Uint(v) => all(&[v], f64::from),
        V::Uints(v) => all(&v, f64::from),
        V::Int(v) => all(&[v], f64::from),
        V::Ints(v) => all(&v, f64::from),
        V::Ulonglong(v) => all(&[v], |v| v as f64),
        V::Ulonglongs(v) => all(&v, |v| v as f64),
        V::Longlong(v) => all(&[v], |v| v as f64),
        V::Longlongs(v) => all(&v, |v| v as f64),
        V::Float(v) => all(&[v], f64::from),
        V::Floats(v) => all(&v, f64::from),
        V::Double(v) => all(&[v], |v| v),
        V::Doubles(v) => all(&v, |v| v),
    }
}
