//! Finding raw files: a folder and all below it, a file, a pattern, a list of these.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use common::store::leftovers;
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Endings of files that can be read.
pub const ENDINGS: [&str; 5] = ["h5", "hdf5", "npy", "npz", "parquet"];
/// Folders within one another at most: links may lead in a circle.
const DEPTH: usize = 16;

/// Where the files of a set are, below the raw folder or anywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Files {
    /// A folder, searched with all below it; a file; a pattern (`train/**/*_v2.h5`, `run[0-3]?.npy`); or a text file that
    /// lists such, one a line (`@train.txt`).
    One(String),
    /// Several of these.
    Many(Vec<String>),
}

impl Files {
    fn entries(&self) -> &[String] {
        match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        }
    }
}

/// A file, and the name that what is made of it goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Its path below the folder that all files of the set lie in, without its ending unless another file has the same.
    pub name: String,
    /// Its path below the raw folder, or as it was given.
    pub source: String,
}

/// The files of a set in the order of their names. `missing` adds to messages where files were expected.
///
/// Differs: upstream takes them in the order of the file system, which differs between machines.
pub fn files(raw: &Path, set: &Files, missing: &dyn Fn(Error) -> Error) -> Result<Vec<Found>> {
    let mut found = BTreeSet::new();
    for entry in set.entries() {
        one(raw, entry, &mut found, missing, 0)?;
    }
    // Names are told apart below the folder that all files lie in; the ending stays where two differ by nothing else.
    let common = found.iter().filter_map(|path| path.parent()).fold(None, |common: Option<PathBuf>, folder| {
        Some(common.map_or_else(|| folder.to_path_buf(), |common| shared(&common, folder)))
    });
    let below = |path: &Path| path.strip_prefix(common.as_deref().unwrap_or(raw)).unwrap_or(path).to_path_buf();
    let stem = |path: &Path| below(path).with_extension("");
    let mut taken: BTreeMap<PathBuf, usize> = BTreeMap::new();
    found.iter().for_each(|path| *taken.entry(stem(path)).or_default() += 1);
    let named = |path: PathBuf| {
        let name = if taken.get(&stem(&path)) == Some(&1) { stem(&path) } else { below(&path) };
        let source = path.strip_prefix(raw).unwrap_or(&path).to_string_lossy().into_owned();
        Found { name: name.to_string_lossy().into_owned(), source, path }
    };
    Ok(found.iter().cloned().map(named).collect())
}

/// The folder that both lie in.
fn shared(a: &Path, b: &Path) -> PathBuf {
    a.components().zip(b.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

fn one(
    raw: &Path,
    entry: &str,
    found: &mut BTreeSet<PathBuf>,
    missing: &dyn Fn(Error) -> Error,
    depth: usize,
) -> Result<()> {
    if let Some(list) = entry.strip_prefix('@') {
        let path = raw.join(list);
        if depth > 0 {
            return Err(Error::input(&path, "is a list within a list of files"));
        }
        let text = common::store::foreign::read_text(&path)?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            one(raw, line, found, missing, depth + 1)?;
        }
        return Ok(());
    }
    let path = raw.join(entry);
    let before = found.len();
    if path.is_dir() {
        walk(&path, found, 0)?;
        if found.len() == before {
            let others = ENDINGS[1..].iter().map(|e| format!("`.{e}`")).collect::<Vec<_>>().join(", ");
            return Err(missing(Error::input(&path, format!("holds no `.h5` file, and none of {others}"))));
        }
        return Ok(());
    }
    if entry.contains(['*', '?', '[']) && !path.exists() {
        // The folder above the first part with a sign is searched; the rest must match.
        let plain: PathBuf = path
            .components()
            .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
            .map(Component::as_os_str)
            .collect();
        let parts = |path: &Path| -> Vec<String> {
            path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
        };
        let pattern = parts(path.strip_prefix(&plain).unwrap_or(&path));
        let mut all = BTreeSet::new();
        if plain.is_dir() {
            walk(&plain, &mut all, 0)?;
        }
        found.extend(
            all.into_iter().filter(|path| matches(&pattern, &parts(path.strip_prefix(&plain).unwrap_or(path)))),
        );
        if found.len() == before {
            return Err(missing(Error::input(&path, "no file matches this pattern")));
        }
        return Ok(());
    }
    if path.is_file() {
        found.insert(path);
        return Ok(());
    }
    Err(missing(Error::opening(&path, std::io::Error::from(std::io::ErrorKind::NotFound))))
}

/// All readable files below a folder, without hidden ones, copies, and the indexes of the original.
fn walk(at: &Path, found: &mut BTreeSet<PathBuf>, depth: usize) -> Result<()> {
    for entry in std::fs::read_dir(at).map_err(|e| Error::opening(at, e))? {
        let entry = entry.map_err(|e| Error::io("listing", at, e))?;
        let hidden = leftovers::hidden(&entry.file_name().to_string_lossy());
        if !hidden && depth < DEPTH && entry.path().is_dir() {
            walk(&entry.path(), found, depth + 1)?;
        }
    }
    let readable = |name: &str| {
        let ending = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        // Folders were walked above, whatever their names.
        ENDINGS.contains(&ending.as_str()) && !name.ends_with("_points.npy") && !at.join(name).is_dir()
    };
    found.extend(leftovers::data_files(at, readable)?);
    Ok(())
}

/// Whether the parts of a path match those of a pattern; `**` stands for any folders.
fn matches(pattern: &[String], parts: &[String]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            matches(rest, parts) || parts.split_first().is_some_and(|(_, behind)| matches(pattern, behind))
        }
        (Some((first, rest)), Some((part, behind))) => {
            let (first, part): (Vec<char>, Vec<char>) = (first.chars().collect(), part.chars().collect());
            glob(&first, &part) && matches(rest, behind)
        }
        _ => false,
    }
}

/// `*`, `?` and `[a-z]`, `[!a-z]` within one name.
fn glob(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|skip| glob(rest, &name[skip..])),
        Some(('[', rest)) if rest.iter().skip(1).any(|c| *c == ']') => {
            let end = rest.iter().skip(1).position(|c| *c == ']').unwrap_or(0) + 1;
            let (set, behind) = (&rest[..end], &rest[end + 1..]);
            let (not, set) = if set[0] == '!' { (true, &set[1..]) } else { (false, set) };
            let Some((letter, others)) = name.split_first() else { return false };
            let mut at = 0;
            let mut inside = false;
            while at < set.len() {
                if at + 2 < set.len() && set[at + 1] == '-' {
                    inside |= (set[at]..=set[at + 2]).contains(letter);
                    at += 3;
                } else {
                    inside |= set[at] == *letter;
                    at += 1;
                }
            }
            inside != not && glob(behind, others)
        }
        Some((sign, rest)) => match name.split_first() {
            Some((letter, others)) => (*sign == '?' || sign == letter) && glob(rest, others),
            None => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_patterns_and_lists_find_the_same_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path();
        for name in [
            "train/b.h5",
            "train/a.h5",
            "train/a.hdf5",
            "train/sub/a.h5",
            "train/.hidden.h5",
            "train/._b.h5",
            "train/a_points.npy",
            "train/notes.txt",
            "train/b (1).h5",
            "train/__MACOSX/c.h5",
            "train/d.h5.part",
        ] {
            common::durable::write(raw.join(name), b"x").unwrap();
        }
        common::durable::write(raw.join("list.txt"), b"# ours\ntrain/a.h5\n\ntrain/sub/*.h5\n").unwrap();
        let names = |files: Files| -> Vec<String> {
            super::files(raw, &files, &|e| e).unwrap().into_iter().map(|found| found.name).collect()
        };
        let one = |entry: &str| names(Files::One(entry.into()));
        assert_eq!(one("train"), ["a.h5", "a.hdf5", "b", "sub/a"]);
        assert_eq!(one("train/**/*.h5"), ["a", "b", "sub/a"]);
        assert_eq!(one("train/[!a]?h5"), ["b"]);
        assert_eq!(one("@list.txt"), ["a", "sub/a"]);
        assert_eq!(names(Files::Many(vec!["train/b.h5".into(), "train/sub".into()])), ["b", "sub/a"]);
        let error = super::files(raw, &Files::One("train/z*.h5".into()), &|e| e).unwrap_err().to_string();
        assert!(error.contains("no file matches"), "{error}");
    }
}
