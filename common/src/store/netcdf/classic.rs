//! The classic formats CDF-1, CDF-2 and CDF-5, parsed straight from the mapped file.
//!
//! The layout is that of the netCDF file format specification: a big-endian header of dimensions, attributes and
//! variables; then the fixed-size variables; then the records, each holding a slab of every record variable in turn.

use std::collections::{BTreeMap, BTreeSet};

use super::{Attribute, Catalogue, Dimension, Float, NcKind, NcType, Variable};
use crate::store::map::Mapped;

const DIMENSIONS: u32 = 0x0a;
const VARIABLES: u32 = 0x0b;
const ATTRIBUTES: u32 = 0x0c;

/// Where the data of a variable lies.
#[derive(Debug)]
struct Place {
    begin: usize,
    /// Bytes of the variable, or of its slab in one record.
    bytes: usize,
    records: Option<usize>,
    kind: NcType,
}

/// A classic file whose header was checked.
#[derive(Debug)]
pub(super) struct Classic {
    mapped: Mapped,
    kind: NcKind,
    places: Vec<Place>,
    /// Distance between the beginnings of two records.
    record_bytes: usize,
}

impl Classic {
    /// Parses the header and checks the place of every variable. An error is the text after the path.
    pub(super) fn parse(mapped: Mapped) -> Result<(Catalogue, Self), String> {
        let bytes = mapped.bytes();
        let kind = match bytes.get(3) {
            Some(1) => NcKind::Cdf1,
            Some(2) => NcKind::Cdf2,
            _ => NcKind::Cdf5,
        };
        let mut header = Header { bytes, at: 4, kind };
        let records = header.record_count()?;
        let dimensions = header.dimensions()?;
        let attributes = header.attributes()?;
        let raw = header.variables(&dimensions)?;

        // A record is the sum of all slabs, each padded to four bytes; a lone record variable is not padded.
        let slabs: Vec<_> = raw.iter().filter(|v| v.record).map(|v| v.bytes).collect();
        let record_bytes = match slabs[..] {
            [lone] => Some(lone),
            _ => slabs.iter().try_fold(0usize, |sum, slab| sum.checked_add(slab.checked_next_multiple_of(4)?)),
        };
        let record_bytes = record_bytes.ok_or("the size of a record overflows")?;
        let records = match records {
            Some(records) => records,
            // A writer that was still appending leaves the count open: the length of the file decides.
            None => {
                let first = raw.iter().filter(|v| v.record).map(|v| v.begin).min();
                first.map_or(0, |b| bytes.len().saturating_sub(b).checked_div(record_bytes).unwrap_or(0))
            }
        };

        let mut catalogue = Catalogue { dimensions, variables: Vec::new(), attributes };
        for dimension in catalogue.dimensions.iter_mut().filter(|d| d.unlimited) {
            dimension.len = records;
        }
        let mut places = Vec::new();
        for variable in raw {
            let last = match (variable.record, records) {
                (false, _) | (true, 1) => Some(0),
                (true, 0) => None,
                (true, n) => Some(record_bytes.checked_mul(n - 1).ok_or("the size of the records overflows")?),
            };
            let end = match last {
                Some(skipped) => {
                    let end = variable.begin.checked_add(skipped).and_then(|b| b.checked_add(variable.bytes));
                    end.ok_or_else(|| format!("the size of variable `{}` overflows", variable.name))?
                }
                None => 0,
            };
            if end > bytes.len() {
                return Err(format!(
                    "truncated: variable `{}` ends at byte {end}, but the file has {} bytes",
                    variable.name,
                    bytes.len()
                ));
            }
            let of = |i: &usize| &catalogue.dimensions[*i];
            places.push(Place {
                begin: variable.begin,
                bytes: variable.bytes,
                records: variable.record.then_some(records),
                kind: variable.kind,
            });
            catalogue.variables.push(Variable {
                name: variable.name,
                dims: variable.dims.iter().map(|i| of(i).name.clone()).collect(),
                shape: variable.dims.iter().map(|i| of(i).len).collect(),
                kind: variable.kind,
                attributes: variable.attributes,
            });
        }
        Ok((catalogue, Self { kind, places, record_bytes, mapped }))
    }

    pub(super) fn kind(&self) -> NcKind {
        self.kind
    }

    /// Decodes all elements of a variable. The places were checked by [`Classic::parse`].
    pub(super) fn read<T: Float>(&self, index: usize, values: &mut Vec<T>) -> Result<(), String> {
        let place = &self.places[index];
        values.clear();
        for record in 0..place.records.unwrap_or(1) {
            let begin = place.begin + record * self.record_bytes;
            decode(place.kind, &self.mapped.bytes()[begin..begin + place.bytes], values);
        }
        Ok(())
    }
}

/// Appends big-endian numbers.
fn decode<T: Float>(kind: NcType, bytes: &[u8], values: &mut Vec<T>) {
    macro_rules! numbers {
        ($number:ty) => {{
            let (chunks, _) = bytes.as_chunks::<{ size_of::<$number>() }>();
            values.extend(chunks.iter().map(|c| T::rounded(<$number>::from_be_bytes(*c) as f64)));
        }};
    }
    match kind {
        NcType::F64 => numbers!(f64),
        NcType::F32 => numbers!(f32),
        NcType::I8 => numbers!(i8),
        NcType::U8 => numbers!(u8),
        NcType::I16 => numbers!(i16),
        NcType::U16 => numbers!(u16),
        NcType::I32 => numbers!(i32),
        NcType::U32 => numbers!(u32),
        NcType::I64 => numbers!(i64),
        NcType::U64 => numbers!(u64),
        NcType::Text | NcType::Other => {}
    }
}

/// A variable as the header has it.
struct Raw {
    name: String,
    dims: Vec<usize>,
    record: bool,
    kind: NcType,
    attributes: BTreeMap<String, Attribute>,
    /// Bytes, of one record where there are records.
    bytes: usize,
    begin: usize,
}

/// A cursor over the header. Every count is compared with what is left of the file before anything is reserved.
struct Header<'a> {
    bytes: &'a [u8],
    at: usize,
    kind: NcKind,
}

impl<'a> Header<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("truncated: the header goes on behind its {} bytes", self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "truncated".to_owned())
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_be_bytes)
    }

    /// A size or count: eight bytes in CDF-5, four elsewhere, never negative.
    fn size(&mut self) -> Result<usize, String> {
        let at = self.at;
        let size = if self.kind == NcKind::Cdf5 {
            i64::from_be_bytes(self.array()?)
        } else {
            i64::from(i32::from_be_bytes(self.array()?))
        };
        usize::try_from(size).map_err(|_| format!("the header has the negative size {size} at byte {at}"))
    }

    fn offset(&mut self) -> Result<usize, String> {
        let at = self.at;
        let offset = if self.kind == NcKind::Cdf1 {
            i64::from(u32::from_be_bytes(self.array()?))
        } else {
            i64::from_be_bytes(self.array()?)
        };
        usize::try_from(offset).map_err(|_| format!("the header has the negative offset {offset} at byte {at}"))
    }

    /// Number of records; `None` where the writer left it open.
    fn record_count(&mut self) -> Result<Option<usize>, String> {
        let width = if self.kind == NcKind::Cdf5 { 8 } else { 4 };
        if self.bytes.get(4..4 + width).is_some_and(|b| b.iter().all(|&b| b == 0xff)) {
            self.at += width;
            return Ok(None);
        }
        self.size().map(Some)
    }

    /// Tag and length of a list. An absent list is two zeros.
    fn list(&mut self, tag: u32, smallest: usize) -> Result<usize, String> {
        let at = self.at;
        let found = self.u32()?;
        let count = self.size()?;
        if found != tag && (found != 0 || count != 0) {
            return Err(format!("the header has the tag {found:#x} at byte {at}, expected {tag:#x}"));
        }
        let room = (self.bytes.len() - self.at) / smallest;
        if count > room {
            return Err(format!("truncated: the header claims {count} entries at byte {at}, at most {room} fit"));
        }
        Ok(count)
    }

    fn padded(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.take(count)?;
        self.take(count.wrapping_neg() % 4)?;
        Ok(taken)
    }

    fn name(&mut self) -> Result<String, String> {
        let at = self.at;
        let length = self.size()?;
        let name =
            std::str::from_utf8(self.padded(length)?).map_err(|_| format!("the name at byte {at} is no UTF-8"))?;
        if name.is_empty() {
            return Err(format!("the name at byte {at} is empty"));
        }
        Ok(name.to_owned())
    }

    fn kind(&mut self) -> Result<NcType, String> {
        let at = self.at;
        Ok(match self.u32()? {
            1 => NcType::I8,
            2 => NcType::Text,
            3 => NcType::I16,
            4 => NcType::I32,
            5 => NcType::F32,
            6 => NcType::F64,
            7 => NcType::U8,
            8 => NcType::U16,
            9 => NcType::U32,
            10 => NcType::I64,
            11 => NcType::U64,
            other => return Err(format!("the header has the unknown type {other} at byte {at}")),
        })
    }

    fn dimensions(&mut self) -> Result<Vec<Dimension>, String> {
        let count = self.list(DIMENSIONS, 8)?;
        let mut names = BTreeSet::new();
        let mut dimensions = Vec::new();
        for _ in 0..count {
            let name = self.name()?;
            let len = self.size()?;
            if !names.insert(name.clone()) {
                return Err(format!("the dimension `{name}` appears twice"));
            }
            dimensions.push(Dimension { name, len, unlimited: len == 0 });
        }
        if dimensions.iter().filter(|d| d.unlimited).count() > 1 {
            return Err("the header has more than one record dimension".into());
        }
        Ok(dimensions)
    }

    fn attributes(&mut self) -> Result<BTreeMap<String, Attribute>, String> {
        let count = self.list(ATTRIBUTES, 12)?;
        let mut attributes = BTreeMap::new();
        for _ in 0..count {
            let name = self.name()?;
            let kind = self.kind()?;
            let elements = self.size()?;
            let bytes = elements.checked_mul(kind.size()).ok_or("the size of an attribute overflows")?;
            let bytes = self.padded(bytes)?;
            let value = if kind == NcType::Text {
                Attribute::Text(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
            } else {
                let mut numbers = Vec::new();
                decode::<f64>(kind, bytes, &mut numbers);
                Attribute::Numbers(numbers)
            };
            attributes.insert(name, value);
        }
        Ok(attributes)
    }

    fn variables(&mut self, dimensions: &[Dimension]) -> Result<Vec<Raw>, String> {
        let count = self.list(VARIABLES, 28)?;
        let mut names = BTreeSet::new();
        let mut variables = Vec::new();
        for _ in 0..count {
            let name = self.name()?;
            if !names.insert(name.clone()) {
                return Err(format!("the variable `{name}` appears twice"));
            }
            let rank = self.size()?;
            let mut dims = Vec::new();
            for _ in 0..rank {
                let dim = self.size()?;
                let known = dimensions.get(dim).ok_or_else(|| {
                    format!("variable `{name}` has the dimension {dim}, but there are {}", dimensions.len())
                })?;
                if known.unlimited && !dims.is_empty() {
                    return Err(format!("variable `{name}` has the record dimension in an inner place"));
                }
                dims.push(dim);
            }
            let attributes = self.attributes()?;
            let kind = self.kind()?;
            // The stored size is redundant, and wrong by design for large variables: it is computed instead.
            self.size_of_variable()?;
            let begin = self.offset()?;
            let record = dims.first().is_some_and(|&d| dimensions[d].unlimited);
            let fixed = &dims[usize::from(record)..];
            let bytes = fixed.iter().try_fold(kind.size(), |n, &d| n.checked_mul(dimensions[d].len));
            let bytes = bytes.ok_or_else(|| format!("the size of variable `{name}` overflows"))?;
            variables.push(Raw { name, dims, record, kind, attributes, bytes, begin });
        }
        Ok(variables)
    }

    fn size_of_variable(&mut self) -> Result<(), String> {
        let width = if self.kind == NcKind::Cdf5 { 8 } else { 4 };
        self.take(width).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{NcFile, NcValues, NcWriter};
    use super::*;

    fn open(folder: &Path, bytes: &[u8]) -> crate::Result<NcFile> {
        let path = folder.join("x.nc");
        crate::durable::write(&path, bytes).unwrap();
        NcFile::open(path)
    }

    #[test]
    fn every_prefix_of_a_file_is_called_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = NcWriter::new(NcKind::Cdf2);
        writer.dimension("n", 3).unwrap();
        writer.variable("a", &["n"], NcValues::F64(&[1.0, 2.0, 3.0])).unwrap();
        let path = writer.write(folder.path().join("whole.nc")).unwrap().path;
        let whole = std::fs::read(path).unwrap();
        assert_eq!(open(folder.path(), &whole).unwrap().read_f64("a").unwrap(), [1.0, 2.0, 3.0]);
        for end in 4..whole.len() {
            let error = open(folder.path(), &whole[..end]).unwrap_err().to_string();
            assert!(error.contains("truncated"), "{end}: {error}");
        }
        assert!(open(folder.path(), &whole[..3]).unwrap_err().to_string().contains("expected a netCDF file"));
    }

    #[test]
    fn an_open_record_count_is_taken_from_the_length() {
        // CDF-1: one record dimension `t`, one record variable `v` of two-byte elements, three records.
        let mut bytes = b"CDF\x01\xff\xff\xff\xff".to_vec();
        for word in [DIMENSIONS, 1, 1] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(b"t\0\0\0\0\0\0\0");
        bytes.extend([0; 8]);
        for word in [VARIABLES, 1, 1] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(b"v\0\0\0");
        for word in [1, 0, 0, 0, 3, 2] {
            bytes.extend(u32::to_be_bytes(word));
        }
        let begin = bytes.len() as u32 + 4;
        bytes.extend(begin.to_be_bytes());
        bytes.extend([0, 1, 0, 2, 0xff, 0xfd]);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(open(folder.path(), &bytes).unwrap().read_f64("v").unwrap(), [1.0, 2.0, -3.0]);
    }
}
