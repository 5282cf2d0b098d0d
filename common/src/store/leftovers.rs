//! What lies in a data folder beside its data: hidden files, second copies that browsers and editors make (`a (1).h5`,
//! `a-checkpoint.h5`), downloads that were not finished (`a.h5.part`).
//!
//! A copy holds rows twice, an unfinished download is a file that lacks. Both are left out, and said: once in a process.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// What programs put behind the name of a copy, before its ending.
const MARKS: [&str; 5] = ["-checkpoint", " - Copy", " copy", "_copy", " - copy"];
/// Ends of names of downloads that go on, or went wrong.
const UNFINISHED: [&str; 8] =
    [".crdownload", ".part", ".partial", ".download", ".opdownload", ".filepart", ".aria2", ".incomplete"];

/// Whether a file or folder is nobody's data: hidden, or what macOS packs beside files.
pub fn hidden(name: &str) -> bool {
    name.starts_with('.') || name == "__MACOSX"
}

/// The files of a folder that are its data, sorted: not in folders below, not hidden, no copies of others there. `wanted`
/// says by its name whether a file is read; a folder of such a name is told.
///
/// # Errors
/// [`Error::Input`] where the folder cannot be listed.
pub fn data_files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::opening(folder, e))?;
    let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|e| Error::io("listing", folder, e))?;
    let (folders, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.path().is_dir());
    for name in folders.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        if !hidden(&name) && wanted(&name) {
            tell(&folder.join(&name), "a folder, as programs write that make a table in parts; join them to one file");
        }
    }
    let files = files.into_iter();
    let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    Ok(sift(folder, names, wanted).into_iter().map(|name| folder.join(name)).collect())
}

/// The names among those of a folder's files that are data, sorted; what is left out is told.
pub fn sift(folder: &Path, names: Vec<String>, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let all: BTreeSet<String> = names.into_iter().filter(|name| !hidden(name)).collect();
    let mut data = Vec::new();
    for name in &all {
        if let Some(whole) = UNFINISHED.iter().find_map(|end| name.strip_suffix(end)) {
            if wanted(whole) {
                tell(&folder.join(name), "an unfinished download");
            }
        } else if let Some(original) = originals(name).into_iter().find(|original| all.contains(original)) {
            if wanted(&original) {
                tell(&folder.join(name), &format!("by its name a copy of `{original}` beside it"));
            }
        } else if wanted(name) {
            data.push(name.clone());
        }
    }
    data
}

/// The names that a name may have been before a program marked it as a copy.
fn originals(name: &str) -> Vec<String> {
    // A mark stands before an ending, or at the end of the name.
    let without = |from: usize, to: usize| {
        let ends = name[to..].is_empty() || name[to..].starts_with('.');
        (ends && from > 0).then(|| format!("{}{}", &name[..from], &name[to..]))
    };
    let numbered = name.match_indices(" (").filter_map(|(at, open)| {
        let digits = &name[at + open.len()..];
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        let closed = length > 0 && digits[length..].starts_with(')');
        closed.then(|| without(at, at + open.len() + length + 1)).flatten()
    });
    let marked =
        MARKS.iter().flat_map(|mark| name.match_indices(mark)).filter_map(|(at, mark)| without(at, at + mark.len()));
    numbered.chain(marked).collect()
}

fn tell(path: &Path, why: &str) {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_path_buf()) {
        tracing::warn!("left out: `{}`: {why}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_files_that_are_there_are_left_out_and_others_are_not() {
        let of = |name: &str| originals(name).first().cloned();
        for copy in ["a (1).csv.gz", "a (27).csv.gz", "a-checkpoint.csv.gz", "a - Copy.csv.gz", "a copy.csv.gz"] {
            assert_eq!(of(copy).as_deref(), Some("a.csv.gz"), "{copy}");
        }
        for other in ["a (b).h5", "a(1).h5", "a ().h5", "a (1)b.h5", "-checkpoint.h5", "a copying.h5", "run_2.h5"] {
            assert_eq!(of(other), None, "{other}");
        }
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let folder = Path::new("x");
        let found = names(&["b (1).h5", "a.h5", "a (1).h5", ".a.h5", "._a.h5", "c.h5.crdownload", "notes.txt"]);
        assert_eq!(sift(folder, found, |name| name.ends_with(".h5")), ["a.h5", "b (1).h5"]);
    }

    #[test]
    fn the_data_of_a_folder_are_its_own_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.h5", "a.h5", "a-checkpoint.h5", ".ipynb_checkpoints/a.h5", "below/c.h5"] {
            crate::durable::write(folder.path().join(name), b"x").unwrap();
        }
        let found = data_files(folder.path(), |name| name.ends_with(".h5")).unwrap();
        assert_eq!(found, [folder.path().join("a.h5"), folder.path().join("b.h5")]);
        assert!(data_files(&folder.path().join("none"), |_| true).is_err());
    }
}
