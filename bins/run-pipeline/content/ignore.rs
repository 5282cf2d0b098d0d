//! Patterns of `.dvcignore` and `.gitignore`: which files and folders count as not there.
//!
//! Own code, because the crate for it (`ignore`) walks whole trees by git's rules, and DVC's differ: nested files of patterns
//! count below their folder only, and a folder that is ignored hides all that lies in it. What is read is the common form:
//! `*`, `?`, `[a-z]`, `**`, `/` at the front, in the middle and at the end, `!`, `#` and `\`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Folders that DVC never looks into, and our own, into which [`crate::run_pipeline::state::State`] puts a `.dvcignore`, so that DVC does
/// not either.
const ALWAYS: [&str; 4] = [".git", ".hg", ".dvc", crate::run_pipeline::state::FOLDER];

/// The patterns of all files of one name in a tree.
#[derive(Debug)]
pub struct Ignore {
    /// Patterns above this folder do not count.
    root: PathBuf,
    name: &'static str,
    read: Mutex<HashMap<PathBuf, Vec<Rule>>>,
}

#[derive(Debug, Clone)]
struct Rule {
    parts: Vec<String>,
    /// Counts in the folder of its file alone; else at any depth.
    anchored: bool,
    folders_only: bool,
    negated: bool,
}

impl Ignore {
    /// The patterns of files called `name` (`.dvcignore`) at and below `root`.
    pub fn new(root: &Path, name: &'static str) -> Self {
        Self { root: root.to_path_buf(), name, read: Mutex::default() }
    }

    /// True where the path, or a folder that it lies in, is ignored. Paths outside of the root never are.
    pub fn hides(&self, path: &Path, is_folder: bool) -> bool {
        let Ok(below) = path.strip_prefix(&self.root) else { return false };
        let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        (1..=parts.len()).any(|length| {
            let folder = is_folder || length < parts.len();
            (folder && ALWAYS.contains(&parts[length - 1].as_str())) || self.decides(&parts[..length], folder)
        })
    }

    /// As [`Self::hides`], for a path whose folders are known not to be hidden.
    pub fn hides_entry(&self, path: &Path, is_folder: bool) -> bool {
        let Ok(below) = path.strip_prefix(&self.root) else { return false };
        let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        !parts.is_empty() && ((is_folder && is_passed_over(path)) || self.decides(&parts, is_folder))
    }

    /// The last rule that fits decides; rules further down win over those above.
    fn decides(&self, parts: &[String], is_folder: bool) -> bool {
        for depth in (0..parts.len()).rev() {
            let folder = parts[..depth].iter().fold(self.root.clone(), |folder, part| folder.join(part));
            let below: Vec<&str> = parts[depth..].iter().map(String::as_str).collect();
            let Ok(mut read) = self.read.lock() else { return false };
            let rules = read
                .entry(folder)
                .or_insert_with_key(|folder| parse(&fs::read_to_string(folder.join(self.name)).unwrap_or_default()));
            if let Some(rule) = rules.iter().rev().find(|rule| rule.fits(&below, is_folder)) {
                return !rule.negated;
            }
        }
        false
    }
}

/// True for folders that never belong to anything.
pub fn is_passed_over(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| ALWAYS.iter().any(|known| name == *known))
}

fn parse(text: &str) -> Vec<Rule> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rule = |line: &str| {
        let (negated, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let line = line.strip_prefix('\\').filter(|rest| rest.starts_with(['#', '!'])).unwrap_or(line);
        let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        let anchored = line.contains('/');
        let parts = line.trim_start_matches('/').split('/').map(String::from).collect();
        Rule { parts, anchored, folders_only, negated }
    };
    lines.map(rule).filter(|rule| rule.parts.iter().any(|part| !part.is_empty())).collect()
}

impl Rule {
    fn fits(&self, path: &[&str], is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        let pattern: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        if self.anchored { fits(&pattern, path) } else { fits(&pattern, &path[path.len() - 1..]) }
    }
}

/// `**` stands for any number of folders; at the end for everything inside.
fn fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", [])), _) => !path.is_empty(),
        (Some((&"**", rest)), _) => (0..=path.len()).any(|skip| fits(rest, &path[skip..])),
        (Some((part, rest)), Some((name, below))) => {
            let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
            glob(&part, &name) && fits(rest, below)
        }
        _ => false,
    }
}

/// One name and a pattern of it.
fn glob(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|skip| glob(rest, &name[skip..])),
        ['?', rest @ ..] => !name.is_empty() && glob(rest, &name[1..]),
        ['\\', c, rest @ ..] => name.first() == Some(c) && glob(rest, &name[1..]),
        ['[', rest @ ..] => {
            // A `]` right behind the bracket (or its `!`) stands for itself.
            let skip = usize::from(matches!(rest.first(), Some('!' | '^'))) + 1;
            let Some(end) = rest.iter().skip(skip).position(|c| *c == ']').map(|at| at + skip) else {
                return name.first() == Some(&'[') && glob(rest, &name[1..]);
            };
            let Some(c) = name.first() else { return false };
            in_set(&rest[..end], *c) && glob(&rest[end + 1..], &name[1..])
        }
        [c, rest @ ..] => name.first() == Some(c) && glob(rest, &name[1..]),
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let (negated, mut set) = match set {
        ['!' | '^', rest @ ..] => (true, rest),
        set => (false, set),
    };
    let mut found = false;
    loop {
        match set {
            [] => return found != negated,
            [from, '-', to, rest @ ..] => {
                found |= (*from..=*to).contains(&c);
                set = rest;
            }
            [one, rest @ ..] => {
                found |= *one == c;
                set = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(patterns: &str, paths: &[&str]) -> Vec<bool> {
        let folder = tempfile::tempdir().unwrap();
        common::durable::write(folder.path().join(".x"), patterns.as_bytes()).unwrap();
        common::durable::write(folder.path().join("sub/.x"), b"only\n!kept.pyc\n").unwrap();
        let ignore = Ignore::new(folder.path(), ".x");
        paths
            .iter()
            .map(|path| ignore.hides(&folder.path().join(path.trim_end_matches('/')), path.ends_with('/')))
            .collect()
    }

    #[test]
    fn patterns_hide_what_gits_rules_hide() {
        let patterns = "__pycache__/\n*.pyc\n/top\na/**/z\ndata/*\n!data/keep\n# no\n[ab]?.t\n";
        let cases = [
            ("src/__pycache__/", true),
            ("src/__pycache__/a.txt", true),
            ("__pycache__", false),
            ("x/y.pyc", true),
            ("top", true),
            ("x/top", false),
            ("a/z", true),
            ("a/b/c/z", true),
            ("data/drop", true),
            ("data/keep", false),
            ("b1.t", true),
            ("c1.t", false),
            ("only", false),
            ("sub/only", true),
            ("sub/kept.pyc", false),
            ("x/.podium/seen", true),
            (".git/config", true),
        ];
        let paths = cases.map(|(path, _)| path);
        for (found, (path, expected)) in hidden(patterns, &paths).into_iter().zip(cases) {
            assert_eq!(found, expected, "{path}");
        }
    }
}
