//! Object headers: what an object is, in messages, and the links and attributes among them.

use super::bytes::{Bytes, UNDEFINED, lookup3};
use super::dense::Dense;

/// Messages that are read or passed over.
mod kind {
    pub const NIL: u8 = 0;
    pub const DATASPACE: u8 = 1;
    pub const LINK_INFO: u8 = 2;
    pub const DATATYPE: u8 = 3;
    pub const FILL_OLD: u8 = 4;
    pub const FILL: u8 = 5;
    pub const LINK: u8 = 6;
    pub const LAYOUT: u8 = 8;
    pub const GROUP_INFO: u8 = 10;
    pub const FILTERS: u8 = 11;
    pub const ATTRIBUTE: u8 = 12;
    pub const COMMENT: u8 = 13;
    pub const CONTINUATION: u8 = 16;
    pub const MODIFIED: u8 = 18;
    pub const ATTRIBUTE_INFO: u8 = 21;
    pub const REFERENCES: u8 = 22;
}

/// Blocks of one header; more come from damage.
const BLOCKS: usize = 4096;

/// The header of a group or data set, its messages as they lie in the file.
#[derive(Debug, Default)]
pub struct Object<'a> {
    messages: Vec<(u8, &'a [u8])>,
    /// It has a message that plain objects have not, or one that lies elsewhere.
    odd: bool,
}

/// A type of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Whole numbers in the order of bytes of this machine.
    Integer { bytes: usize, signed: bool },
    /// IEEE floats in that order.
    Float { bytes: usize },
    /// Texts of so many bytes.
    Text { bytes: usize },
    /// Lists of references to objects in the file.
    References,
    /// Anything else, of so many bytes.
    Other { bytes: usize },
}

/// An attribute as it is stored.
#[derive(Debug)]
pub struct Attribute<'a> {
    pub name: String,
    pub content: Content,
    /// Elements.
    pub count: usize,
    pub value: &'a [u8],
}

impl<'a> Object<'a> {
    /// The header of a plain object at an address.
    pub fn read(content: &'a [u8], address: u64) -> Option<Self> {
        Self::any(content, address).filter(|object| !object.odd)
    }

    /// The header at an address, without what makes an object odd.
    pub fn any(content: &'a [u8], address: u64) -> Option<Self> {
        let mut at = Bytes::at(content, address)?;
        if at.take(5)? != b"OHDR\x02" {
            return None;
        }
        let flags = at.u8()?;
        at.take(if flags & 0x20 == 0 { 0 } else { 16 } + if flags & 0x10 == 0 { 0 } else { 4 })?;
        let size = at.number(1 << (flags & 3))?;
        let begin = usize::try_from(address).ok()?;
        let end = at.place().checked_add(usize::try_from(size).ok()?)?;
        let mut object = Self::default();
        let mut blocks = vec![(begin, at.place(), end)];
        let mut next = 0;
        while let Some(&(begin, first, end)) = blocks.get(next) {
            let mut sum = Bytes::at(content, end as u64)?;
            if lookup3(content.get(begin..end)?) != sum.u32()? || blocks.len() > BLOCKS {
                return None;
            }
            let mut at = Bytes::of(content.get(first..end)?);
            let head = if flags & 4 == 0 { 4 } else { 6 };
            while at.left() >= head {
                let (kind, size, marks) = (at.u8()?, at.u16()?, at.u8()?);
                at.take(head - 4)?;
                let message = at.take(size.into())?;
                if kind == kind::CONTINUATION {
                    let mut at = Bytes::of(message);
                    let (from, size) = (usize::try_from(at.u64()?).ok()?, usize::try_from(at.u64()?).ok()?);
                    let end = from.checked_add(size)?.checked_sub(4)?;
                    if content.get(from..end)?.get(..4)? != b"OCHK" {
                        return None;
                    }
                    blocks.push((from, from + 4, end));
                } else {
                    object.add(kind, marks, message);
                }
            }
            next += 1;
        }
        Some(object)
    }

    fn add(&mut self, kind: u8, marks: u8, message: &'a [u8]) {
        // A message that is shared lies elsewhere.
        if marks & 2 != 0 {
            self.odd = true;
            return;
        }
        match kind {
            kind::NIL | kind::GROUP_INFO | kind::COMMENT | kind::MODIFIED | kind::REFERENCES => {}
            kind::FILL_OLD | kind::FILL => {}
            kind::DATASPACE
            | kind::LINK_INFO
            | kind::DATATYPE
            | kind::LINK
            | kind::LAYOUT
            | kind::FILTERS
            | kind::ATTRIBUTE
            | kind::ATTRIBUTE_INFO => self.messages.push((kind, message)),
            _ => self.odd = true,
        }
    }

    fn all(&self, kind: u8) -> impl Iterator<Item = &'a [u8]> {
        self.messages.iter().filter(move |(found, _)| *found == kind).map(|(_, message)| *message)
    }

    fn one(&self, kind: u8) -> Option<&'a [u8]> {
        let mut found = self.all(kind);
        found.next().filter(|_| found.next().is_none())
    }

    /// The message of layout, behind its version and class; none for what is no data set.
    pub fn layout(&self) -> Option<(u8, u8, Bytes<'a>)> {
        let mut at = Bytes::of(self.one(kind::LAYOUT)?);
        Some((at.u8()?, at.u8()?, at))
    }

    /// Names and addresses of what a group holds, in the order in which they were linked. None where one is no plain link.
    pub fn links(&self, content: &'a [u8]) -> Option<Vec<(String, u64)>> {
        let mut info = Bytes::of(self.one(kind::LINK_INFO)?);
        let (version, flags) = (info.u8()?, info.u8()?);
        if version != 0 || flags & 1 == 0 {
            return None; // the order is not known
        }
        info.u64()?;
        let (heap, names) = (info.u64()?, info.u64()?);
        let mut links = match heap {
            UNDEFINED => self.all(kind::LINK).map(link).collect::<Option<Vec<_>>>()?,
            _ => Dense::open(content, heap)?.all(names, 5)?.into_iter().map(link).collect::<Option<_>>()?,
        };
        links.sort_unstable_by_key(|(order, ..)| *order);
        Some(links.into_iter().map(|(_, name, address)| (name, address)).collect())
    }

    /// All attributes.
    pub fn attributes(&self, content: &'a [u8]) -> Option<Vec<Attribute<'a>>> {
        let mut found: Vec<_> = self.all(kind::ATTRIBUTE).map(attribute).collect::<Option<_>>()?;
        if self.all(kind::ATTRIBUTE_INFO).next().is_some() {
            let mut info = Bytes::of(self.one(kind::ATTRIBUTE_INFO)?);
            let (version, flags) = (info.u8()?, info.u8()?);
            info.take(if flags & 1 == 0 { 0 } else { 2 })?;
            let (heap, names) = (info.u64()?, info.u64()?);
            if version != 0 {
                return None;
            }
            if heap != UNDEFINED {
                for message in Dense::open(content, heap)?.all(names, 8)? {
                    found.push(attribute(message)?);
                }
            }
        }
        Some(found)
    }

    /// Type, extents and their limits of a data set; none for a group.
    pub fn elements(&self) -> Option<(Content, Vec<u64>, Vec<u64>)> {
        let (content, _) = datatype(self.one(kind::DATATYPE)?)?;
        let (shape, most) = dataspace(self.one(kind::DATASPACE)?)??;
        Some((content, shape, most))
    }

    /// The message of filters, where there is one.
    pub fn filters(&self) -> Option<&'a [u8]> {
        self.all(kind::FILTERS).next()
    }
}

/// Order, name and address of a hard link.
fn link(message: &[u8]) -> Option<(u64, String, u64)> {
    let mut at = Bytes::of(message);
    let (version, flags) = (at.u8()?, at.u8()?);
    if version != 1 || flags & 4 == 0 || (flags & 8 != 0 && at.u8()? != 0) {
        return None;
    }
    let order = at.u64()?;
    at.take(usize::from(flags >> 4 & 1))?;
    let length = usize::try_from(at.number(1 << (flags & 3))?).ok()?;
    let name = std::str::from_utf8(at.take(length)?).ok()?.to_owned();
    Some((order, name, at.u64()?))
}

fn attribute(message: &[u8]) -> Option<Attribute<'_>> {
    let mut at = Bytes::of(message);
    let (version, flags) = (at.u8()?, at.u8()?);
    let [name, kind, space] = [at.u16()?, at.u16()?, at.u16()?].map(usize::from);
    if !(1..=3).contains(&version) || (version > 1 && flags != 0) {
        return None;
    }
    at.take(usize::from(version == 3))?;
    let mut part = |size: usize| {
        let part = at.take(size)?;
        at.take(if version == 1 { size.next_multiple_of(8) - size } else { 0 })?;
        Some(part)
    };
    let name = std::str::from_utf8(part(name)?.split(|&byte| byte == 0).next()?).ok()?.to_owned();
    let (content, bytes) = datatype(part(kind)?)?;
    // A null space holds nothing.
    let count = match dataspace(part(space)?)? {
        Some((shape, _)) => shape.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))?,
        None => 0,
    };
    let value = at.take(count.checked_mul(bytes)?)?;
    Some(Attribute { name, content, count, value })
}

/// The type and the bytes of an element.
fn datatype(message: &[u8]) -> Option<(Content, usize)> {
    let mut at = Bytes::of(message);
    let class = at.u8()?;
    let marks = at.number(3)?;
    let bytes = usize::try_from(at.u32()?).ok()?;
    if !(1..=3).contains(&(class >> 4)) {
        return None;
    }
    let other = Content::Other { bytes };
    let content = match class & 0xf {
        0 => {
            let (offset, precision) = (at.u16()?, at.u16()?);
            let plain = marks & 1 == 0 && offset == 0 && usize::from(precision) == 8 * bytes;
            if plain && matches!(bytes, 1 | 2 | 4 | 8) {
                Content::Integer { bytes, signed: marks & 8 != 0 }
            } else {
                other
            }
        }
        1 => {
            let layout = at.take(12)?;
            // Offset and precision, then places and widths of exponent and mantissa, and the bias; the sign stands highest.
            let plain: &[u8] = match bytes {
                4 => &[0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0],
                8 => &[0, 0, 64, 0, 52, 11, 0, 52, 255, 3, 0, 0],
                _ => &[],
            };
            let sign = 8 * bytes as u64 - 1;
            if layout == plain && marks == (sign << 8 | 0x20) { Content::Float { bytes } } else { other }
        }
        3 => Content::Text { bytes },
        // A sequence of references to objects, as dimensions are listed.
        9 if marks & 0xf == 0 && at.u8()? & 0xf == 7 && at.number(3)? & 0xf == 0 && at.u32()? == 8 => {
            Content::References
        }
        _ => other,
    };
    Some((content, bytes))
}

/// Extents, and how far they may grow; `Some(None)` for a space that holds nothing.
#[allow(clippy::option_option, clippy::type_complexity, reason = "odd, nothing, or extents")]
fn dataspace(message: &[u8]) -> Option<Option<(Vec<u64>, Vec<u64>)>> {
    let mut at = Bytes::of(message);
    let (version, rank, flags) = (at.u8()?, at.u8()?, at.u8()?);
    match version {
        1 => at.take(5).map(|_| ())?,
        2 if at.u8()? == 2 => return Some(None),
        2 => {}
        _ => return None,
    }
    if rank > 32 || flags & 2 != 0 {
        return None;
    }
    let mut extents = || (0..rank).map(|_| at.u64()).collect::<Option<Vec<_>>>();
    let shape = extents()?;
    let most = if flags & 1 == 0 { shape.clone() } else { extents()? };
    Some(Some((shape, most)))
}
