//! Flags that only some stages have. A registry's entry says which of them its system reads; those that it does not read are
//! refused when they are given.

use std::path::PathBuf;

use clap::Args;

use crate::stage::Manifest;
use crate::{Error, Result};

/// A stage's own flags.
pub trait Flags: 'static {
    /// The flags of these that were given and that a system may leave unread, as they are typed: `--init`.
    fn given(&self) -> Vec<&'static str>;
}

/// A stage without flags of its own.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct NoFlags {}

impl Flags for NoFlags {
    fn given(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// Flags of `prepare-data`; every system reads them.
#[derive(Debug, Clone, Default)]
pub struct PrepareFlags {
    /// Folder of raw data.
    pub raw: Option<PathBuf>,
}

impl PrepareFlags {
    /// `--raw`, or the folder `name` of the `simulate-data` stage that `before` leads to; none where neither is given.
    ///
    /// # Errors
    /// When the folder does not exist or no such stage is found.
    pub fn raw_folder(&self, before: Option<&Manifest>, name: &str) -> Result<Option<PathBuf>> {
        if let Some(raw) = &self.raw {
            if !raw.is_dir() {
                return Err(Error::input(raw, "no such folder")
                    .hint("`prepare-data --help` says what `--raw` is expected to hold for each system"));
            }
            return Ok(Some(raw.clone()));
        }
        Ok(before.map(|m| m.find("simulate-data")).transpose()?.map(|m| m.folder.join(name)))
    }
}

impl Flags for PrepareFlags {
    fn given(&self) -> Vec<&'static str> {
        Vec::new()
    }
}
