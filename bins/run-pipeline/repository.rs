//! The repository around a pipeline: where it begins.

use std::path::{Path, PathBuf};

/// The nearest folder at or above this one that is a DVC repository.
pub fn dvc_root(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|f| f.join(".dvc").is_dir()).map(Path::to_path_buf)
}

/// The nearest folder at or above this one that is a git repository (or a worktree of one).
pub fn git_root(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|f| f.join(".git").exists()).map(Path::to_path_buf)
}

/// Where the repository of a pipeline begins: DVC's if there is one, since DVC never looks beyond it, else git's. In a source
/// archive, which has neither, the working folder of the stages that lies highest above the pipeline, because that is what its
/// paths are relative to.
pub fn root<'a>(folder: &Path, wdirs: impl Iterator<Item = &'a Path>) -> PathBuf {
    let above = wdirs.filter(|wdir| folder.starts_with(wdir)).min_by_key(|wdir| wdir.components().count());
    dvc_root(folder).or_else(|| git_root(folder)).unwrap_or_else(|| above.unwrap_or(folder).to_path_buf())
}
