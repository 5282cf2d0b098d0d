//! The networks, part by part. Names and shapes of parameters are those of the published checkpoints.

pub mod encoder;
pub mod mae;
pub mod norm;
pub mod packed;
pub mod plain;
pub mod pointnet;
pub mod positions;
pub mod recorded;
pub mod segmentation;
pub mod tokens;
pub mod transformer;

use common::{Error, Result};
use tch::Tensor;

/// All values of an f32 tensor, row by row.
pub fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.detach().to_device(tch::Device::Cpu).to_kind(tch::Kind::Float).contiguous();
    Vec::try_from(tensor.flatten(0, -1)).map_err(|e| Error::failed(format!("reading a tensor: {e}")))
}
