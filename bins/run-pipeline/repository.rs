//! The repository around a pipeline: where it begins, and the other pipelines in it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run_pipeline::content::cache;
use crate::run_pipeline::content::ignore::{Ignore, is_passed_over};
use crate::run_pipeline::declare::file::FILE;

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

/// Folders below `root` that hold a pipeline, sorted. Left alone, as DVC does it: what `.gitignore` or `.dvcignore` name,
/// repositories inside of this one, and the outs in `written`.
pub fn pipelines(root: &Path, written: &[PathBuf]) -> Vec<PathBuf> {
    let ignored = [Ignore::new(root, ".dvcignore"), Ignore::new(root, ".gitignore")];
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_name() == FILE && path.is_file() {
                found.push(folder.clone());
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_folder || is_passed_over(&path) || written.contains(&path) {
                continue;
            }
            let is_other = path.join(".dvc").is_dir() || path.join(".git").exists();
            if !is_other && !ignored.iter().any(|ignored| ignored.hides_entry(&path, true)) {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether DVC leaves git alone here (`dvc init --no-scm`).
pub fn is_without_git(dvc: &Path) -> bool {
    cache::is_on(dvc, "core", "no_scm")
}
