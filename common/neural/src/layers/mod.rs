//! Layers that more than one model uses. Names and shapes of their parameters are those of the published
//! `state_dict`s; initial values are the library defaults, which models overwrite where they were published otherwise.
//!
//! Forward functions panic, as libtorch does, when a shape does not fit: shapes follow from the model's config, not
//! from data, and each binary turns such a panic into an error.

mod activation;
mod again;
mod attention;
mod batch_norm;
mod conv;
mod linear;
mod lstm;
mod mamba;
mod norm;
mod recurrent;

pub use activation::Activation;
pub use again::again;
pub use attention::{MultiheadAttention, TransformerEncoderLayer};
pub use batch_norm::{BatchNorm1d, MOMENTUM};
pub use conv::{Conv1dSame, depthwise};
pub use linear::{Linear, linear, linear_add, linear_gelu};
pub use lstm::BiLstm;
pub use mamba::{Form, Mamba, MambaConfig};
pub use norm::{LayerNorm, shared_moments};
pub use recurrent::{all_seen, seen};

use tch::Tensor;

/// A whole model: one tensor in, one tensor out.
pub trait Network {
    /// The output for a batch. `train` switches dropout on.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor;
}
