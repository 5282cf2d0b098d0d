//! Writing netCDF: the classic kinds by hand, netCDF-4 through the C library. All files are published durably.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::{Attribute, NcKind};
use crate::durable::{AtomicFile, Written};
use crate::error::{Error, Result};

/// Values of a variable to be written, row-major.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum NcValues<'a> {
    F64(&'a [f64]),
    F32(&'a [f32]),
    I32(&'a [i32]),
}

impl NcValues<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::I32(v) => v.len(),
        }
    }

    fn code(&self) -> u32 {
        match self {
            Self::I32(_) => 4,
            Self::F32(_) => 5,
            Self::F64(_) => 6,
        }
    }

    fn bytes(&self) -> usize {
        self.len() * if matches!(self, Self::F64(_)) { 8 } else { 4 }
    }
}

/// A netCDF file to be: dimensions, then variables with their values, then [`NcWriter::write`].
#[derive(Debug)]
pub struct NcWriter<'a> {
    kind: NcKind,
    deflate: Option<u8>,
    dimensions: Vec<(String, usize)>,
    variables: Vec<Pending<'a>>,
    attributes: BTreeMap<String, Attribute>,
}

#[derive(Debug)]
struct Pending<'a> {
    name: String,
    dims: Vec<usize>,
    values: NcValues<'a>,
    attributes: BTreeMap<String, Attribute>,
}

impl<'a> NcWriter<'a> {
    /// An empty file of a kind.
    pub fn new(kind: NcKind) -> Self {
        Self { kind, deflate: None, dimensions: vec![], variables: vec![], attributes: BTreeMap::new() }
    }

    /// Compresses all variables with dimensions; only netCDF-4 can.
    pub fn deflate(&mut self, level: u8) -> &mut Self {
        self.deflate = Some(level.min(9));
        self
    }

    /// Adds a dimension.
    pub fn dimension(&mut self, name: &str, len: usize) -> Result<&mut Self> {
        if self.dimensions.iter().any(|(n, _)| n == name) {
            return Err(Error::failed(format!("the netCDF dimension `{name}` is added twice")));
        }
        if len == 0 || (self.kind != NcKind::Cdf5 && self.kind != NcKind::Hdf5 && i32::try_from(len).is_err()) {
            return Err(Error::failed(format!("the netCDF dimension `{name}` cannot have the length {len}")));
        }
        self.dimensions.push((name.to_owned(), len));
        Ok(self)
    }

    /// Adds a variable over known dimensions, slowest first; none for a scalar.
    pub fn variable(&mut self, name: &str, dims: &[&str], values: NcValues<'a>) -> Result<&mut Self> {
        if self.variables.iter().any(|v| v.name == name) {
            return Err(Error::failed(format!("the netCDF variable `{name}` is added twice")));
        }
        let mut ids = Vec::new();
        for dim in dims {
            let id = self.dimensions.iter().position(|(n, _)| n == dim);
            ids.push(id.ok_or_else(|| Error::failed(format!("the netCDF dimension `{dim}` was not added")))?);
        }
        let expected: usize = ids.iter().map(|&i| self.dimensions[i].1).product();
        if values.len() != expected {
            let problem = format!("the netCDF variable `{name}` has {} values, expected {expected}", values.len());
            return Err(Error::failed(problem));
        }
        self.variables.push(Pending { name: name.to_owned(), dims: ids, values, attributes: BTreeMap::new() });
        Ok(self)
    }

    /// Adds an attribute to a variable, or to the file where `variable` is empty. Numbers become doubles, but take
    /// the type of the variable for `_FillValue` and `missing_value`, as the format asks.
    pub fn attribute(&mut self, variable: &str, name: &str, value: Attribute) -> Result<&mut Self> {
        let attributes = if variable.is_empty() {
            &mut self.attributes
        } else {
            let found = self.variables.iter_mut().find(|v| v.name == variable);
            let missing = || Error::failed(format!("the netCDF variable `{variable}` was not added"));
            &mut found.ok_or_else(missing)?.attributes
        };
        attributes.insert(name.to_owned(), value);
        Ok(self)
    }

    /// Publishes the file. Equal content gives equal bytes.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<Written> {
        let path = path.as_ref();
        let mut file = AtomicFile::create(path)?;
        if self.kind == NcKind::Hdf5 {
            self.write_hdf5(file.temporary_path())
                .map_err(|e| Error::io("writing", path, std::io::Error::other(e.to_string())))?;
        } else {
            let header = self.header()?;
            file.write_all(&header)
                .and_then(|()| self.variables.iter().try_for_each(|v| write_values(&mut file, v.values)))
                .map_err(|e| Error::io("writing", path, e))?;
        }
        file.commit()
    }

    /// The classic header, up to the first value.
    fn header(&self) -> Result<Vec<u8>> {
        let mut begins = vec![0; self.variables.len()];
        // Offsets have a fixed width, so a first pass with zeros tells the length of the header.
        let mut begin = self.header_with(&begins).len() as u64;
        for (place, variable) in begins.iter_mut().zip(&self.variables) {
            *place = begin;
            begin += variable.values.bytes() as u64;
        }
        if self.kind == NcKind::Cdf1 && begin > u64::from(u32::MAX >> 1) {
            return Err(Error::failed("a CDF-1 file cannot be longer than 2 GiB").hint("write CDF-2 or CDF-5"));
        }
        Ok(self.header_with(&begins))
    }

    fn header_with(&self, begins: &[u64]) -> Vec<u8> {
        let mut out = Encoder { wide: self.kind == NcKind::Cdf5, bytes: b"CDF".to_vec() };
        out.bytes.push(match self.kind {
            NcKind::Cdf1 => 1,
            NcKind::Cdf2 => 2,
            NcKind::Cdf5 | NcKind::Hdf5 => 5,
        });
        out.size(0); // records
        out.list(0x0a, self.dimensions.len());
        for (name, len) in &self.dimensions {
            out.text(name);
            out.size(*len);
        }
        out.attributes(&self.attributes, 6);
        out.list(0x0b, self.variables.len());
        for (variable, begin) in self.variables.iter().zip(begins) {
            out.text(&variable.name);
            out.size(variable.dims.len());
            for dim in &variable.dims {
                out.size(*dim);
            }
            out.attributes(&variable.attributes, variable.values.code());
            out.bytes.extend(variable.values.code().to_be_bytes());
            // What does not fit is written as the largest number; readers compute the size.
            let bytes = variable.values.bytes();
            if out.wide {
                out.size(bytes);
            } else {
                out.bytes.extend(u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes());
            }
            match self.kind {
                NcKind::Cdf1 => out.bytes.extend((*begin as u32).to_be_bytes()),
                _ => out.bytes.extend(begin.to_be_bytes()),
            }
        }
        out.bytes
    }

    fn write_hdf5(&self, path: &Path) -> Result<(), netcdf::Error> {
        let mut file = netcdf::create_with(path, netcdf::Options::NETCDF4)?;
        for (name, len) in &self.dimensions {
            file.add_dimension(name, *len)?;
        }
        for (name, value) in &self.attributes {
            match value {
                Attribute::Text(text) => file.add_attribute(name, text.as_str())?,
                Attribute::Numbers(numbers) => file.add_attribute(name, numbers.clone())?,
            };
        }
        for variable in &self.variables {
            let dims: Vec<_> = variable.dims.iter().map(|&i| self.dimensions[i].0.as_str()).collect();
            let name = variable.name.as_str();
            let mut out = match variable.values {
                NcValues::F64(_) => file.add_variable::<f64>(name, &dims)?,
                NcValues::F32(_) => file.add_variable::<f32>(name, &dims)?,
                NcValues::I32(_) => file.add_variable::<i32>(name, &dims)?,
            };
            if let Some(level) = self.deflate
                && !dims.is_empty()
            {
                out.set_compression(level.into(), true)?;
            }
            for (key, value) in &variable.attributes {
                match (value, is_fill(key), variable.values) {
                    (Attribute::Text(text), ..) => out.put_attribute(key, text.as_str())?,
                    (Attribute::Numbers(v), true, NcValues::F32(_)) if v.len() == 1 => {
                        out.put_attribute(key, v[0] as f32)?
                    }
                    (Attribute::Numbers(v), true, NcValues::I32(_)) if v.len() == 1 => {
                        out.put_attribute(key, v[0] as i32)?
                    }
                    (Attribute::Numbers(v), ..) if v.len() == 1 => out.put_attribute(key, v[0])?,
                    (Attribute::Numbers(v), ..) => out.put_attribute(key, v.clone())?,
                };
            }
            if dims.is_empty() {
                match variable.values {
                    NcValues::F64(v) => out.put_values(v, ())?,
                    NcValues::F32(v) => out.put_values(v, ())?,
                    NcValues::I32(v) => out.put_values(v, ())?,
                }
            } else {
                match variable.values {
                    NcValues::F64(v) => out.put_values(v, ..)?,
                    NcValues::F32(v) => out.put_values(v, ..)?,
                    NcValues::I32(v) => out.put_values(v, ..)?,
                }
            }
        }
        file.close()
    }
}

fn is_fill(name: &str) -> bool {
    matches!(name, "_FillValue" | "missing_value")
}

fn write_values(out: &mut impl Write, values: NcValues<'_>) -> std::io::Result<()> {
    fn swapped<T: Copy, const N: usize>(
        out: &mut impl Write,
        values: &[T],
        be: fn(T) -> [u8; N],
    ) -> std::io::Result<()> {
        let mut block = Vec::with_capacity(values.len().min(4096) * N);
        for part in values.chunks(4096) {
            block.clear();
            block.extend(part.iter().flat_map(|&v| be(v)));
            out.write_all(&block)?;
        }
        Ok(())
    }
    match values {
        NcValues::F64(v) => swapped(out, v, f64::to_be_bytes),
        NcValues::F32(v) => swapped(out, v, f32::to_be_bytes),
        NcValues::I32(v) => swapped(out, v, i32::to_be_bytes),
    }
}

/// Encodes the classic header.
struct Encoder {
    wide: bool,
    bytes: Vec<u8>,
}

impl Encoder {
    fn size(&mut self, size: usize) {
        if self.wide {
            self.bytes.extend((size as u64).to_be_bytes());
        } else {
            self.bytes.extend((size as u32).to_be_bytes());
        }
    }

    /// An absent list is tagged with zero.
    fn list(&mut self, tag: u32, count: usize) {
        self.bytes.extend(if count == 0 { 0 } else { tag }.to_be_bytes());
        self.size(count);
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    fn text(&mut self, text: &str) {
        self.size(text.len());
        self.bytes.extend(text.as_bytes());
        self.pad();
    }

    /// `code` is the type of the variable, which the fill value shares.
    fn attributes(&mut self, attributes: &BTreeMap<String, Attribute>, code: u32) {
        self.list(0x0c, attributes.len());
        for (name, value) in attributes {
            self.text(name);
            match value {
                Attribute::Text(text) => {
                    self.bytes.extend(2u32.to_be_bytes());
                    self.text(text);
                }
                Attribute::Numbers(numbers) => {
                    let code = if is_fill(name) { code } else { 6 };
                    self.bytes.extend(code.to_be_bytes());
                    self.size(numbers.len());
                    for &number in numbers {
                        match code {
                            4 => self.bytes.extend((number as i32).to_be_bytes()),
                            5 => self.bytes.extend((number as f32).to_be_bytes()),
                            _ => self.bytes.extend(number.to_be_bytes()),
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::NcFile;
    use super::*;

    #[test]
    fn what_was_written_is_read_back_by_us_and_by_the_c_library() {
        let folder = tempfile::tempdir().unwrap();
        let t: Vec<f64> = (0..60 * 384).map(|i| f64::from(i) / 7.0).collect();
        let ps: Vec<f32> = (0..384).map(|i| i as f32 * 0.3).collect();
        for kind in [NcKind::Cdf1, NcKind::Cdf2, NcKind::Cdf5, NcKind::Hdf5] {
            let make = |name: &str| {
                let mut writer = NcWriter::new(kind);
                writer.deflate(4).dimension("ncol", 384).unwrap().dimension("lev", 60).unwrap();
                writer.variable("state_t", &["lev", "ncol"], NcValues::F64(&t)).unwrap();
                writer.variable("state_ps", &["ncol"], NcValues::F32(&ps)).unwrap();
                writer.variable("ymd", &[], NcValues::I32(&[10201])).unwrap();
                writer.attribute("state_t", "units", Attribute::Text("K".into())).unwrap();
                writer.attribute("", "levels", Attribute::Numbers(vec![1.5, 2.5])).unwrap();
                writer.write(folder.path().join(name)).unwrap()
            };
            let written = make("a.nc");
            assert_eq!(written.blake3, make("b.nc").blake3, "{kind:?}");
            let file = NcFile::open(&written.path).unwrap();
            assert_eq!(file.read_f64("state_t").unwrap(), t);
            assert_eq!(file.read_f32("state_ps").unwrap(), ps);
            assert_eq!(file.read_f64("ymd").unwrap(), [10201.0]);
            assert_eq!(file.attribute("levels"), Some(&Attribute::Numbers(vec![1.5, 2.5])));
            let library = netcdf::open(&written.path).unwrap();
            assert_eq!(library.variable("state_t").unwrap().get_values::<f64, _>(..).unwrap(), t);
            assert_eq!(library.variable("ymd").unwrap().get_values::<i32, _>(()).unwrap(), [10201]);
            let units = library.variable("state_t").unwrap().attribute_value("units").unwrap().unwrap();
            assert_eq!(units, netcdf::AttributeValue::Str("K".into()));
        }
    }

    #[test]
    fn shapes_are_checked_before_anything_is_written() {
        let mut writer = NcWriter::new(NcKind::Cdf5);
        writer.dimension("n", 2).unwrap();
        let wrong = writer.variable("a", &["n"], NcValues::F64(&[1.0])).unwrap_err().to_string();
        assert!(wrong.contains("has 1 values, expected 2"), "{wrong}");
        assert!(writer.variable("a", &["m"], NcValues::F64(&[1.0])).is_err());
        assert!(writer.dimension("n", 3).is_err());
    }
}
