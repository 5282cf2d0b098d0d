//! What the library knows of a data set and its binding does not hand on.

use hdf5_sys::h5d::{H5D_CHUNK_IDX_BTREE, H5Dget_chunk_index_type};
use hdf5_sys::h5r::{H5R_type_t, H5Rcreate};

/// By what the chunks of a data set are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// A B-tree of version 1.
    Tree,
    /// An index of the latest formats, which is named in the object header at this address.
    Latest(u64),
}

/// None for a data set without chunks.
pub fn index(set: &hdf5::Dataset) -> Option<Index> {
    let mut kind = H5D_CHUNK_IDX_BTREE;
    // The old form of a reference to an object is the address of its header.
    let mut header = 0u64;
    let id = set.id();
    // SAFETY: both write one number to where they are told to, and the library is entered under its lock.
    let (kinds, headers) = hdf5::sync::sync(|| unsafe {
        let object = H5R_type_t::H5R_OBJECT1;
        (H5Dget_chunk_index_type(id, &raw mut kind), H5Rcreate((&raw mut header).cast(), id, c".".as_ptr(), object, -1))
    });
    match kind {
        _ if kinds < 0 => None,
        H5D_CHUNK_IDX_BTREE => Some(Index::Tree),
        _ => Some(Index::Latest(if headers < 0 { u64::MAX } else { header })),
    }
}
