//! Casts around recurrent layers that are recorded: autocast makes them inside of such a layer, where no recording sees them.

use tch::{Device, Kind, Tensor};

use crate::shim;

/// The number format that a recurrent layer of a recording is to compute in, where it is not that of its tensors.
fn format(device: Device) -> Option<Kind> {
    if !shim::recording() {
        return None;
    }
    let autocast = shim::autocast(device).unwrap_or_else(|e| panic!("{e}"));
    autocast.on.then_some(if autocast.half { Kind::Half } else { Kind::BFloat16 })
}

/// A tensor that goes into a recurrent layer.
pub fn seen(tensor: &Tensor) -> Tensor {
    format(tensor.device()).map_or_else(|| tensor.shallow_clone(), |kind| tensor.to_kind(kind))
}

/// Its weights.
pub fn all_seen(weights: &[Tensor]) -> Vec<Tensor> {
    weights.iter().map(seen).collect()
}
