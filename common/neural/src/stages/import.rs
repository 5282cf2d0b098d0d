//! What a system knows of files of weights, its own and the original's.

use std::path::Path;

use common::Result;
use serde_json::{Value, json};
use tch::Tensor;

use crate::export;
use crate::weights::{self, Allow, Choice};

/// The network that weights belong to.
pub struct Network {
    /// Name of its kind.
    pub name: &'static str,
    /// Its tensors, in the published order.
    pub state: Vec<(String, Tensor)>,
    /// What a new file says about itself.
    pub about: Value,
    /// How files with its tensors are read.
    pub allow: Allow,
    /// What the new file says where the names in the old one were those of other code.
    pub of_dialect: fn(&Value, Option<&str>) -> Result<Value>,
    /// What a `.ckpt` holds beside the tensors, so that the original takes it.
    pub original: fn(&Value) -> Result<Value>,
}

impl Network {
    /// A network whose files have no peculiarities.
    pub fn new(name: &'static str, state: Vec<(String, Tensor)>, about: Value) -> Self {
        let of_dialect = |about: &Value, _: Option<&str>| Ok(about.clone());
        Self { name, state, about, allow: Allow::default(), of_dialect, original: |_| Ok(json!({})) }
    }
}

/// A file of weights, and what was said about it.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// The file.
    pub file: &'a Path,
    /// Which part of it.
    pub choice: &'a Choice,
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
    pub of_config: fn(&Path, &[String], Weights) -> Result<Network>,
    /// Whether a file of weights says that it is of this system.
    pub says: fn(&Path) -> bool,
    /// The network that such a file says it is.
    pub of_file: fn(Weights) -> Result<Network>,
    /// Such networks as a module for other programs.
    pub export: fn(&export::Source) -> Result<export::Module<'static>>,
}

/// Whether a file of ours says that its weights are of `system`.
pub fn says_system(file: &Path, system: &str) -> bool {
    let own = file.extension().is_some_and(|e| e == "safetensors");
    own && matches!(weights::metadata(file), Ok(Some(about)) if about["system"] == system)
}
