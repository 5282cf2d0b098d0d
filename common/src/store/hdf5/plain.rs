//! What an HDF5 file holds, read from its bytes without the library, whose calls are served one at a time.
//!
//! Only what files in use are made of is read: version 2 of object headers, groups that know the order of their links, plain
//! numbers and texts, chunks under an index of any kind (file format specification 3.0). Every block that has a checksum is held
//! against it. Whatever is odd, or does not fit, is `None`: then the library reads the file, and says what is wrong with it. But
//! for indices of chunks that only the latest formats have: damage of those it follows without an end or out of the file, so that
//! is an error here ([`chunks`]).

mod arrays;
mod bytes;
mod chunks;
mod dataset;
mod dense;
mod object;
mod tree;

pub use bytes::Bytes;
pub use chunks::{Space, UNSOUND, chunks};
pub use dataset::Dataset;
pub use object::{Attribute, Content, Object};

use self::bytes::{UNDEFINED, lookup3};

const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

/// The object header of the root group.
pub fn root(content: &[u8]) -> Option<Object<'_>> {
    let mut at = Bytes::at(content, 0)?;
    if at.take(8)? != SIGNATURE {
        return None;
    }
    let address = match at.u8()? {
        0 => {
            let head = at.take(15)?;
            // Widths of addresses and lengths, and marks of a file that is being written.
            if head[4..6] != [8, 8] || head[11..15] != [0; 4] {
                return None;
            }
            let [base, _, end, _, _, root] = [at.u64()?, at.u64()?, at.u64()?, at.u64()?, at.u64()?, at.u64()?];
            (base == 0 && end <= content.len() as u64).then_some(root)?
        }
        2 | 3 => {
            let head = at.take(3)?;
            let [base, extension, end, root] = [at.u64()?, at.u64()?, at.u64()?, at.u64()?];
            let sound = lookup3(content.get(..at.place())?) == at.u32()?;
            let plain = head == [8, 8, 0] && base == 0 && extension == UNDEFINED && end <= content.len() as u64;
            (sound && plain).then_some(root)?
        }
        _ => return None,
    };
    Object::read(content, address)
}
