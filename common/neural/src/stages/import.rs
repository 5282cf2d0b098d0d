//! What a system knows of files of weights, its own and the original's.

use std::path::Path;

use common::Result;
use serde_json::Value;
use tch::Tensor;

use crate::weights;

/// The network that weights belong to.
pub struct Network {
    /// Name of its kind.
    pub name: &'static str,
    /// Its tensors, in the published order.
    pub state: Vec<(String, Tensor)>,
    /// What a new file says about itself.
    pub about: Value,
    /// What may stand before all names in a checkpoint of the original.
    pub prefix: &'static str,
}

/// How a system describes networks.
pub struct Import {
    /// Name of the system.
    pub system: &'static str,
    /// What the help says, as examples: each a line that says what it does and the indented command.
    pub examples: &'static str,
    /// Whether a config that names no `system` is one of this system: that of the published program.
    pub recognises: fn(&Path) -> Result<bool>,
    /// The network of a config of `train-model`, overrides applied; the file of weights may say more about it.
    pub of_config: fn(&Path, &[String], &Path) -> Result<Network>,
    /// Whether a file of weights says that it is of this system.
    pub says: fn(&Path) -> bool,
    /// The network that such a file says it is.
    pub of_file: fn(&Path) -> Result<Network>,
}

/// Whether a file of ours says that its weights are of `system`.
pub fn says_system(file: &Path, system: &str) -> bool {
    let own = file.extension().is_some_and(|e| e == "safetensors");
    own && matches!(weights::metadata(file), Ok(Some(about)) if about["system"] == system)
}
