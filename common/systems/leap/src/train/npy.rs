//! The out-of-fold array as upstream publishes it: `oof.npy`, f32 `[rows, 368]`.

use std::io::Write;
use std::path::Path;

use common::Result;
use common::durable::{self, Written};
use common::store::tensors::TensorFile;

/// Copies `predictions` of an out-of-fold file into an `.npy` file (format 1.0, C order).
pub fn write_npy(oof: &Path, npy: &Path) -> Result<Written> {
    let file = TensorFile::open(oof)?;
    let shape = file.shape("predictions")?.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // Magic, version and length take 10 bytes; the data begin at a multiple of 64 after a line feed.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', padded - header.len() - 1));
    header.push('\n');
    let values = file.bytes("predictions")?;
    durable::write_with(npy, |out| {
        out.write_all(b"\x93NUMPY\x01\x00")?;
        out.write_all(&(padded as u16).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        out.write_all(values)
    })
}
