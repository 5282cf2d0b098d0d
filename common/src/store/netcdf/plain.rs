//! netCDF-4 files without the library: what lies in the root group, by the rules that netCDF has for HDF5.
//!
//! A dimension is a data set that calls itself a scale; it is a variable too unless its name says otherwise. A variable lists its
//! dimensions by references to those data sets. Files with groups, types of their own, texts of variable length or anything else
//! that is not met in plain files are `None`, and the library reads them.

use std::collections::BTreeMap;

use super::{Catalogue, Dimension, NcType, Variable};
use crate::store::hdf5::plain::{self, Attribute, Bytes, Content, Object};
use crate::store::hdf5::{Objects, Stored, objects};

/// What a dimension that is no variable is called by netCDF.
const NO_VARIABLE: &[u8] = b"This is a netCDF dimension but not a netCDF variable.";
/// Prefix of a variable that has the name of a dimension but is none of its coordinates.
pub(super) const NO_COORDINATE: &str = "_nc4_non_coord_";
/// Attributes that netCDF keeps for itself.
const HIDDEN: [&str; 17] = [
    "CLASS",
    "DIMENSION_LIST",
    "NAME",
    "REFERENCE_LIST",
    "_ARRAY_DIMENSIONS",
    "_Codecs",
    "_Format",
    "_IsNetcdf4",
    "_NCProperties",
    "_Netcdf4Coordinates",
    "_Netcdf4Dimid",
    "_SuperblockVersion",
    "_nc3_strict",
    "_nczarr_array",
    "_nczarr_attr",
    "_nczarr_group",
    "_nczarr_superblock",
];

/// Where the object headers of variables lie.
#[derive(Debug)]
pub(super) struct Places(BTreeMap<String, u64>);

/// A data set of the root group.
struct Found<'a> {
    name: String,
    address: u64,
    kind: NcType,
    shape: Vec<usize>,
    unlimited: Vec<bool>,
    attributes: Vec<Attribute<'a>>,
}

impl Found<'_> {
    fn attribute(&self, name: &str) -> Option<&Attribute<'_>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    fn is_scale(&self) -> bool {
        self.attribute("CLASS").is_some_and(|class| class.value.starts_with(b"DIMENSION_SCALE"))
    }

    fn is_variable(&self) -> bool {
        !(self.is_scale() && self.attribute("NAME").is_some_and(|name| name.value.starts_with(NO_VARIABLE)))
    }
}

/// The collections of the global heap that were met: variables have theirs in common.
struct Heap<'a> {
    content: &'a [u8],
    /// Objects that a file can still hold.
    left: usize,
    known: BTreeMap<u64, Objects>,
}

impl Heap<'_> {
    /// The reference in an object of one.
    fn reference(&mut self, heap: u64, number: u32) -> Option<u64> {
        if !self.known.contains_key(&heap) {
            self.known.insert(heap, objects(self.content, heap, &mut self.left)?);
        }
        let (begin, bytes) = self.known.get(&heap)?.get(number)?;
        Bytes::of(self.content.get(begin..)?.get(..bytes)?).u64()
    }
}

/// Reads what the file holds.
pub(super) fn catalogue(content: &[u8]) -> Option<(Catalogue, Places)> {
    let root = plain::root(content)?;
    let mut sets = Vec::new();
    for (name, address) in root.links(content)? {
        let object = Object::read(content, address)?;
        let (kind, shape, most) = object.elements()?;
        if name.starts_with(NO_COORDINATE) {
            return None;
        }
        let shape = shape.into_iter().map(|d| usize::try_from(d).ok()).collect::<Option<Vec<_>>>()?;
        let unlimited = most.iter().map(|&most| most == u64::MAX).collect();
        let attributes = object.attributes(content)?;
        sets.push(Found {
            name,
            address, // A dimension that is no variable is stored as numbers that nobody reads.
            kind: nc_type(kind).unwrap_or(NcType::Other),
            shape,
            unlimited,
            attributes,
        });
    }
    // By address, as variables refer to them.
    let mut scales = BTreeMap::new();
    let mut dimensions = Vec::new();
    for set in sets.iter().filter(|set| set.is_scale()) {
        let ([len], [unlimited]) = (set.shape.as_slice(), set.unlimited.as_slice()) else { return None };
        // Dimensions that were numbered in another order than they were made are listed by their numbers.
        if let Some(number) = set.attribute("_Netcdf4Dimid")
            && (number.content != Content::Integer { bytes: 4, signed: true }
                || Bytes::of(number.value).u32()? as usize != dimensions.len())
        {
            return None;
        }
        scales.insert(set.address, dimensions.len());
        dimensions.push(Dimension { name: set.name.clone(), len: *len, unlimited: *unlimited });
    }
    let mut heap = Heap { content, left: content.len() / 16 + 1, known: BTreeMap::new() };
    let mut variables = Vec::new();
    let mut places = BTreeMap::new();
    for set in sets.iter().filter(|set| set.is_variable()) {
        if set.kind == NcType::Other {
            return None;
        }
        let dims = match set.is_scale() {
            true => vec![*scales.get(&set.address)?],
            false => listed(&mut heap, set, &scales)?,
        };
        for (&dimension, &extent) in dims.iter().zip(&set.shape) {
            let dimension = dimensions.get_mut(dimension)?;
            match dimension.unlimited {
                // As long as the longest variable along it.
                true => dimension.len = dimension.len.max(extent),
                false if dimension.len == extent => {}
                false => return None,
            }
        }
        let attributes = self::attributes(&set.attributes)?;
        places.insert(set.name.clone(), set.address);
        variables.push((set, dims, attributes));
    }
    let variables = variables.into_iter().map(|(set, dims, attributes)| Variable {
        name: set.name.clone(),
        dims: dims.iter().map(|&d| dimensions[d].name.clone()).collect(),
        shape: dims.iter().map(|&d| dimensions[d].len).collect(),
        kind: set.kind,
        attributes,
    });
    let variables = variables.collect();
    let attributes = self::attributes(&root.attributes(content)?)?;
    Some((Catalogue { dimensions, variables, attributes }, Places(places)))
}

impl Places {
    /// Where the numbers of a variable lie, if nothing about them is odd; an error where nobody should read them.
    pub(super) fn stored(&self, content: &[u8], variable: &Variable) -> Result<Option<Stored>, String> {
        let object = self.0.get(&variable.name).and_then(|&address| Object::read(content, address));
        match object.and_then(|object| Some((plain::Dataset::of(&object)?, object))) {
            Some((set, object)) => set.stored(&object, content),
            None => Ok(None),
        }
    }
}

/// The dimensions that a variable lists: for each of its own a list of one reference, which lies in the global heap.
fn listed(heap: &mut Heap, set: &Found, scales: &BTreeMap<u64, usize>) -> Option<Vec<usize>> {
    if set.shape.is_empty() {
        return Some(Vec::new());
    }
    let list = set.attribute("DIMENSION_LIST")?;
    if list.content != Content::References || list.count != set.shape.len() {
        return None;
    }
    let mut at = Bytes::of(list.value);
    let mut dims = Vec::new();
    for _ in 0..list.count {
        let (length, address, number) = (at.u32()?, at.u64()?, at.u32()?);
        let reference = heap.reference(address, number)?;
        dims.push(*scales.get(&reference).filter(|_| length == 1)?);
    }
    Some(dims)
}

fn nc_type(content: Content) -> Option<NcType> {
    Some(match content {
        Content::Integer { bytes: 1, signed: true } => NcType::I8,
        Content::Integer { bytes: 1, signed: false } => NcType::U8,
        Content::Integer { bytes: 2, signed: true } => NcType::I16,
        Content::Integer { bytes: 2, signed: false } => NcType::U16,
        Content::Integer { bytes: 4, signed: true } => NcType::I32,
        Content::Integer { bytes: 4, signed: false } => NcType::U32,
        Content::Integer { bytes: 8, signed: true } => NcType::I64,
        Content::Integer { bytes: 8, signed: false } => NcType::U64,
        Content::Float { bytes: 4 } => NcType::F32,
        Content::Float { bytes: 8 } => NcType::F64,
        Content::Text { bytes: 1 } => NcType::Text,
        _ => return None,
    })
}

/// Those that netCDF shows. None where one is of a kind that the library has to read.
fn attributes(stored: &[Attribute]) -> Option<BTreeMap<String, super::Attribute>> {
    let shown = stored.iter().filter(|attribute| !HIDDEN.contains(&attribute.name.as_str()));
    let value = |attribute: &Attribute| -> Option<super::Attribute> {
        let value = attribute.value;
        if let Content::Text { .. } = attribute.content {
            // Several texts stand beside each other in netCDF; an empty one has no characters.
            let text = value.split(|&byte| byte == 0).next().unwrap_or_default();
            return (attribute.count <= 1).then(|| super::Attribute::Text(String::from_utf8_lossy(text).into_owned()));
        }
        let kind = nc_type(attribute.content)?;
        let mut numbers = vec![0.0f64; attribute.count];
        super::numbers::put(kind, value, &mut numbers);
        (attribute.count > 0).then_some(super::Attribute::Numbers(numbers))
    };
    shown.map(|attribute| Some((attribute.name.clone(), value(attribute)?))).collect()
}
