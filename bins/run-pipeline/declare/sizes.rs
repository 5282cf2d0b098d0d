//! What the sizes of a pipeline decide when it is read: the values behind a file of `vars`, and where the lock lies.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use common::Result;

use super::tree::Node;

/// The sizes in force. `choice` knows them; what reads a `dvc.yaml` only asks.
pub trait Sizes: Debug {
    /// The values that a file of `vars` stands for; none for a file that is what it is.
    fn values(&self, file: &Path) -> Option<Result<Node>>;

    /// Where the lock of the pipeline in `folder` lies, and the name of its choice where it comes in several sizes.
    fn lock(&self, folder: &Path) -> (PathBuf, Option<String>);
}
