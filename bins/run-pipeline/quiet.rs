//! Git is told to pass over the choice in force and its locks.
//!
//! A clone brings the folder of the usual size with empty locks, because DVC cannot do without them. They belong to the
//! clone from then on, and a run or another choice is no change for others: the index marks them (`skip-worktree`).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::run_pipeline::repository;

/// Marks the link to the choice in force, and the locks of choices, as far as git tracks them. Where that is not possible (no
/// git, an index that is in use) they show as changed, and nothing else is wrong.
pub fn keep(link: &Path) {
    let Some(folder) = link.parent().filter(|folder| repository::git_root(folder).is_some()) else { return };
    let system = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(folder).args(arguments).stderr(Stdio::null());
        command
    };
    // `H PATH` for each tracked file that is looked at.
    let Ok(listed) = git(&["ls-files", "-v", "-z"]).stdin(Stdio::null()).output() else { return };
    let listed = String::from_utf8_lossy(&listed.stdout);
    let is_own = |path: &&str| {
        let locks = path.strip_prefix(&system).is_some_and(|rest| rest.starts_with('@')) && path.ends_with(".lock");
        **path == *system || locks
    };
    let shown: Vec<&str> = listed.split('\0').filter_map(|line| line.strip_prefix("H ")).filter(is_own).collect();
    if shown.is_empty() {
        return;
    }
    let marked = git(&["update-index", "-z", "--skip-worktree", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .and_then(|mut git| {
            if let Some(mut paths) = git.stdin.take() {
                paths.write_all((shown.join("\0") + "\0").as_bytes())?;
            }
            git.wait()
        });
    match marked {
        Ok(status) if status.success() => tracing::debug!("git passes over {}", shown.join(", ")),
        _ => tracing::debug!("git could not be told to pass over {}", shown.join(", ")),
    }
}
