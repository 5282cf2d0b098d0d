//! Little-endian numbers one after the other, never beyond the end.

/// An address that leads nowhere.
pub const UNDEFINED: u64 = u64::MAX;

/// A place in a file, and what follows it.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a> {
    rest: &'a [u8],
    place: usize,
}

impl<'a> Bytes<'a> {
    /// From an address of the file on.
    pub fn at(content: &'a [u8], address: u64) -> Option<Self> {
        let place = usize::try_from(address).ok()?;
        Some(Self { rest: content.get(place..)?, place })
    }

    /// All of these bytes.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, place: 0 }
    }

    /// How far it came.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next so many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        (self.rest, self.place) = (rest, self.place + count);
        Some(taken)
    }

    /// A number of up to eight bytes.
    pub fn number(&mut self, width: usize) -> Option<u64> {
        let mut wide = [0; 8];
        wide.get_mut(..width)?.copy_from_slice(self.take(width)?);
        Some(u64::from_le_bytes(wide))
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.number(2).map(|n| n as u16)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.number(4).map(|n| n as u32)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.number(8)
    }
}

/// The bytes of a block before the checksum that it ends with. `size` counts both.
pub fn summed(content: &[u8], address: u64, size: usize) -> Option<&[u8]> {
    let (block, sum) = Bytes::at(content, address)?.take(size)?.split_last_chunk::<4>()?;
    (lookup3(block) == u32::from_le_bytes(*sum)).then_some(block)
}

/// What follows the signature and the version, 0, of a block that ends with its checksum.
pub fn block<'a>(content: &'a [u8], address: u64, size: usize, signature: &[u8; 4]) -> Option<Bytes<'a>> {
    let mut at = Bytes::of(summed(content, address, size)?);
    (at.take(4)? == signature && at.u8()? == 0).then_some(at)
}

/// Bob Jenkins' hash `lookup3`, by which the library checks what it wrote.
pub fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let (mut a, mut b, mut c) = (start, start, start);
    if bytes.is_empty() {
        return c;
    }
    let mut rest = bytes;
    let word = |bytes: &[u8], at: usize| {
        (0..4).fold(0u32, |n, i| n | u32::from(bytes.get(at + i).copied().unwrap_or(0)) << (8 * i))
    };
    let add = |bytes: &[u8], a: &mut u32, b: &mut u32, c: &mut u32| {
        *a = a.wrapping_add(word(bytes, 0));
        *b = b.wrapping_add(word(bytes, 4));
        *c = c.wrapping_add(word(bytes, 8));
    };
    while rest.len() > 12 {
        add(rest.get(..12).unwrap_or(rest), &mut a, &mut b, &mut c);
        a = a.wrapping_sub(c) ^ c.rotate_left(4);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(6);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(8);
        b = b.wrapping_add(a);
        a = a.wrapping_sub(c) ^ c.rotate_left(16);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(19);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(4);
        b = b.wrapping_add(a);
        rest = &rest[12..];
    }
    add(rest, &mut a, &mut b, &mut c);
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_its_author() {
        // His own test, of the second of the two results with both seeds 0.
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut at = Bytes::of(&[1, 2, 3]);
        assert_eq!((at.u16(), at.u16(), at.left(), at.u8(), at.u8()), (Some(0x201), None, 1, Some(3), None));
        assert!(Bytes::at(&[0; 4], 5).is_none() && Bytes::at(&[0; 4], UNDEFINED).is_none());
    }
}
