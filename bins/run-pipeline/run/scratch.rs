//! Room in a rehearsal's scratch folder: networks of published sizes take more of it than a disk may have, so that what no stage
//! reads any more goes at once.

use std::fs;
use std::path::Path;

use crate::run_pipeline::declare::entries::{Dep, Out, Stage};

/// Files above this length go; manifests and configs are smaller.
const LARGE: u64 = 32 << 20;

/// Whether a rehearsal of `stage` may read `out`, which another stage wrote.
///
/// A dep that is a folder above the out (`runs` for `runs/a`) holds what other stages wrote as well. Where the commands name
/// some of what lies there and neither this out nor the folder as a whole, they read that alone.
pub fn reads(stage: &Stage, out: &Out) -> bool {
    let inside = |path: &Path| path.starts_with(&out.file);
    let may_read = |dep: &Dep| inside(&dep.file) || (out.file.starts_with(&dep.file) && is_meant(stage, dep, out));
    inside(&stage.wdir) || stage.params.iter().any(|params| inside(&params.file)) || stage.deps.iter().any(may_read)
}

/// Whether `out` is meant by a dep above it.
fn is_meant(stage: &Stage, dep: &Dep, out: &Out) -> bool {
    let Ok(below) = out.file.strip_prefix(&dep.file) else { return true };
    let folder = dep.path.trim_end_matches('/');
    let mut named = stage.commands_in_a_rehearsal().iter().flat_map(|command| named_in(command, folder)).peekable();
    // A program that is told of none reads what it likes.
    named.peek().is_none()
        || named.any(|path| {
            let is_open = path.contains(['*', '?', '[', '{', '$', '`', '\\']) || path.contains("..");
            is_open || Path::new(path).starts_with(below) || below.starts_with(path)
        })
}

/// The paths below `folder` that a command names, relative to it; empty for the folder itself. `runs-2/a` is not in `runs`.
fn named_in<'a>(command: &'a str, folder: &'a str) -> impl Iterator<Item = &'a str> {
    let ends = |c: char| c.is_whitespace() || "\"'=:,;|&<>()".contains(c);
    command.match_indices(folder).filter_map(move |(at, _)| {
        let begins = command[..at].chars().next_back().is_none_or(ends);
        let path = command[at + folder.len()..].split(ends).next().unwrap_or_default();
        (begins && (path.is_empty() || path.starts_with('/'))).then(|| path.trim_matches('/'))
    })
}

/// Removes the large files at or below a path: manifests and configs stay, by which later stages know what came before them.
pub fn thin_out(path: &Path) {
    let Ok(about) = fs::symlink_metadata(path) else { return };
    if about.is_dir() {
        fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| thin_out(&entry.path()));
    } else if about.is_file() && about.len() > LARGE {
        // What stays takes room, no more.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_pipeline::choice::Choices;
    use crate::run_pipeline::graph::Project;

    #[test]
    fn a_folder_above_stands_for_what_the_commands_name_of_it() {
        // Command of a reader of `runs` -> whether it may read `runs/a/one`, `runs/a/two`, `runs/b`.
        let cases = [
            ("blend x=runs/b", [false, false, true]),
            ("blend 'runs/a' > runs-2/b", [true, true, false]),
            ("blend runs/a/one/model:raw runs/b/", [true, false, true]),
            ("blend runs", [true; 3]),
            ("cd runs/ && cat b/x", [true; 3]),
            ("blend runs/*/model", [true; 3]),
            ("blend runs/b/../a/one", [true; 3]),
            ("for x in b; do blend runs/$x; done", [true; 3]),
            ("./blend.sh", [true; 3]),
            ("blend old/runs/b", [true; 3]),
        ];
        for (command, expected) in cases {
            let text = format!(
                "stages:\n  make: {{cmd: x, outs: [runs/a/one, runs/a/two, runs/b]}}\n  \
                 blend: {{cmd: \"{command}\", deps: [runs]}}\n  next: {{cmd: x, deps: [runs/a/one]}}\n"
            );
            let folder = tempfile::tempdir().unwrap();
            common::durable::write(folder.path().join("dvc.yaml"), text.as_bytes()).unwrap();
            let project = Project::read(folder.path(), &Choices::default().shared()).unwrap();
            let reader = |name: &str| &project.units[project.find(name).unwrap()[0]].stage;
            let outs = &reader("make").outs;
            let found: Vec<bool> = outs.iter().map(|out| reads(reader("blend"), out)).collect();
            assert_eq!(found, expected, "{command}");
            let exact: Vec<bool> = outs.iter().map(|out| reads(reader("next"), out)).collect();
            assert_eq!(exact, [true, false, false]);
        }
    }
}
