//! The out-of-fold array as upstream publishes it: `oof.npy`, f32 `[rows, 368]`.

use std::path::Path;

use common::Result;
use common::durable::Written;
use common::store::npy;
use common::store::tensors::TensorFile;

/// Copies `predictions` of an out-of-fold file into an `.npy` file.
pub fn write_npy(oof: &Path, target: &Path) -> Result<Written> {
    let file = TensorFile::open(oof)?;
    npy::write_npy(target, file.shape("predictions")?, file.f32("predictions")?)
}
