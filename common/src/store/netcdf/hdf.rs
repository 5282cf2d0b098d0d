//! netCDF-4 files (HDF5) through the C library. Its calls are served one at a time by a lock of the process.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use netcdf::AttributeValue;
use netcdf::types::{FloatType, IntType, NcVariableType};

use super::{Attribute, Catalogue, Dimension, Float, NcType, Variable};

/// Deflate shrinks by 1032 at most, so a variable that claims more comes from a damaged header.
const DEFLATE_LIMIT: usize = 1100;
/// What any file may hold: unwritten parts of a variable take no space on disk.
const ALWAYS_ALLOWED: usize = 64 << 20;

/// An open file of the C library.
#[derive(Debug)]
pub(super) struct Hdf {
    file: netcdf::File,
    /// Bytes that one variable can hold in a file of this length.
    limit: usize,
}

impl Hdf {
    /// Opens a file of `length` bytes and lists its root group. An error is the text after the path.
    pub(super) fn open(path: &Path, length: usize) -> Result<(Catalogue, Self), String> {
        // An absolute path cannot be taken for a URL by the library.
        let absolute = std::path::absolute(path).map_err(|e| e.to_string())?;
        guarded(|| {
            let file = netcdf::open(absolute).map_err(|e| e.to_string())?;
            let catalogue = catalogue(&file)?;
            let limit = length.saturating_mul(DEFLATE_LIMIT).max(ALWAYS_ALLOWED);
            Ok((catalogue, Self { file, limit }))
        })
    }

    pub(super) fn read<T: Float>(&self, variable: &Variable, values: &mut Vec<T>) -> Result<(), String> {
        let bytes = variable.shape.iter().try_fold(variable.kind.size(), |n, &d| n.checked_mul(d));
        if bytes.is_none_or(|bytes| bytes > self.limit) {
            return Err(format!("it has the impossible shape {:?}", variable.shape));
        }
        values.clear();
        if variable.elements() == 0 {
            return Ok(());
        }
        values.resize(variable.elements(), T::default());
        guarded(|| {
            let found = self.file.variable(&variable.name).ok_or("the variable vanished")?;
            found.get_values_into(values, ..).map_err(|e| e.to_string())
        })
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
