//! Where temporaries of readers lie: the system's folder for them, found once.

use std::path::{Path, PathBuf};

/// A folder for temporaries that vanish by themselves.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Beside the output where that folder exists already, which has the room for large files; else the system's.
    pub fn of(output: &Path) -> Self {
        Self(if output.is_dir() { output.into() } else { std::env::temp_dir() })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }
}
