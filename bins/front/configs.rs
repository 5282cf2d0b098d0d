//! `podium configs`: the configs and pipelines that come along, copied to where they can be changed.

use std::path::{Path, PathBuf};

use common::{Error, Result, durable, share};
use tracing::{info, warn};

/// Copies every shipped file below `folder`. Files that are there already stay; those with other content are named.
///
/// # Errors
/// Outside of an installation, and where something cannot be written.
pub fn copy(folder: &Path) -> Result<()> {
    let share = share::folder().ok_or_else(|| {
        Error::usage("this program is not part of an installation that brings configs along")
            .hint("in a checkout they lie in `configs` and `pipelines`")
    })?;
    let (mut copied, mut kept) = (0, Vec::new());
    for name in share::FOLDERS {
        for file in files(&share.join(name))? {
            let place = folder.join(file.strip_prefix(&share).unwrap_or(&file));
            let content = std::fs::read(&file).map_err(|e| Error::io("reading", &file, e))?;
            match std::fs::read(&place) {
                Ok(there) if there == content => {}
                Ok(_) => kept.push(place),
                Err(_) => {
                    let parent = place.parent().unwrap_or(folder);
                    std::fs::create_dir_all(parent).map_err(|e| Error::io("making", parent, e))?;
                    durable::write(&place, &content)?;
                    copied += 1;
                }
            }
        }
    }
    kept.iter().for_each(|place| warn!("`{}` differs from the shipped one and stays as it is", place.display()));
    info!("{copied} files copied into `{}`", folder.display());
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io("listing", folder, e))? {
        let path = entry.map_err(|e| Error::io("listing", folder, e))?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
