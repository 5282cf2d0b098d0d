//! Where raw data comes from, for every system.

use std::path::PathBuf;

use common::stage::Manifest;
use common::{Error, Result};

use crate::args::Args;

/// `--raw`, or the folder `name` of the `simulate-data` stage that `upstream` leads to; none where neither is given.
pub fn raw_folder(args: &Args, upstream: Option<&Manifest>, name: &str) -> Result<Option<PathBuf>> {
    if let Some(raw) = &args.raw {
        if !raw.is_dir() {
            return Err(Error::input(raw, "no such folder")
                .hint("`prepare-data --help` says what `--raw` is expected to hold for each system"));
        }
        return Ok(Some(raw.clone()));
    }
    Ok(upstream.map(|m| m.find("simulate-data")).transpose()?.map(|m| m.folder.join(name)))
}
