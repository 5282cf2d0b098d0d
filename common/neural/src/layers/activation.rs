//! Activation functions by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// An elementwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x * Phi(x)` in its exact form with the error function.
    #[serde(alias = "gelu_erf")]
    Gelu,
    /// `x * sigmoid(x)`.
    #[serde(alias = "silu")]
    Swish,
}

impl Activation {
    /// The function's values.
    pub fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu("none"),
            Self::Swish => x.silu(),
        }
    }
}
