//! Where the numbers of a data set lie: in its file, in files that links or virtual data sets lead to, behind filters.
//!
//! The library fills in silently where a source of a virtual data set is missing, and names a filter that it lacks by a
//! number, so both are asked for before anything is read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hdf5::plist::dataset_create::Layout;

use super::stored::Stored;
use super::{guarded, joined};
use crate::store::map::Mapped;

/// What a data set needs.
pub(super) struct Origin {
    /// Bytes of all files that hold a part of it.
    pub bytes: u64,
    /// These files.
    pub files: BTreeSet<PathBuf>,
}

/// Finds where a data set of the file `path` lies; `direct` says that it is read without the library. An error is the text after the data set's name, and a hint.
pub(super) fn origin(path: &Path, set: &hdf5::Dataset, direct: bool) -> Result<Origin, (String, String)> {
    let filters = guarded(|| set.dcpl()?.get_filters()).map_err(|problem| (problem, String::new()))?;
    // What is read without the library needs none of its filters.
    if let Some(missing) = filters.iter().find(|filter| !direct && !filter.is_available()) {
        let (name, number) = (filter_name(missing.id()), missing.id());
        let hint = "write the file without it: `h5repack -f GZIP=4 OLD NEW`, where the filter is at hand, or in Python \
                    (`import hdf5plugin`); a folder of the filter's library can be named in `HDF5_PLUGIN_PATH`";
        return Err((format!("is packed with the filter {name} (number {number}), which is not at hand"), hint.into()));
    }
    // A link may have led to another file.
    let own = PathBuf::from(set.filename());
    let own = if own.as_os_str().is_empty() { path.to_path_buf() } else { own };
    let mut files = BTreeSet::from([own.clone()]);
    let create = guarded(|| set.dcpl());
    let create = create.map_err(|problem| (problem, String::new()))?;
    if guarded(|| create.get_layout()).is_ok_and(|layout| layout == Layout::Virtual) {
        let content = Mapped::open(&own).map_err(|error| (error.to_string(), String::new()))?;
        let sources = joined::sources(content.bytes());
        if sources.is_empty() {
            let hint = "write it as a plain one: `h5repack`, or a copy in Python";
            return Err(("is a virtual data set whose sources are not understood".into(), hint.into()));
        }
        for (name, set) in sources {
            let file = found(&own, &name).ok_or_else(|| absent(&name))?;
            followed(&file, &set).map_err(|problem| {
                let hint = "give the file the content back that it had when this one was made: `h5ls FILE` lists it";
                (format!("takes a part from the data set `{set}` of the file `{name}`: {problem}"), hint.into())
            })?;
            files.insert(file);
        }
    }
    for part in guarded(|| create.get_external()).unwrap_or_default() {
        files.insert(found(&own, &part.name).ok_or_else(|| absent(&part.name))?);
    }
    let bytes = files.iter().map(|file| std::fs::metadata(file).map_or(0, |m| m.len())).sum();
    Ok(Origin { bytes, files })
}

fn absent(name: &str) -> (String, String) {
    let problem = format!("takes a part from the file `{name}`, which is not there");
    (
        problem,
        "put that file back where it was when this one was made: a relative name is looked for beside this file".into(),
    )
}

/// Looks whether a data set of a source is there, and whether the library can follow its index of chunks. Those of numbered sources
/// are found as they are read.
fn followed(file: &Path, set: &str) -> Result<(), String> {
    if set.contains('%') {
        return Ok(());
    }
    // What cannot be opened, the library says itself when it reads.
    let Ok(opened) = guarded(|| hdf5::File::open(file)) else { return Ok(()) };
    let set = guarded(|| opened.dataset(set)).map_err(|_| "there is none")?;
    let content = Mapped::open(file).map_err(|error| error.to_string())?;
    Stored::of(&set, Path::new(&set.filename()), content.bytes()).map(|_| ())
}

/// The file that a name inside of `own` means, in the order of the library: beside it, or from the current folder.
fn found(own: &Path, name: &str) -> Option<PathBuf> {
    if name == "." {
        return Some(own.to_path_buf());
    }
    // Numbered sources: the first must be there.
    let name = name.replace("%b", "0").replace("%%", "%");
    let prefix = std::env::var_os("HDF5_VDS_PREFIX").map(PathBuf::from);
    let beside = own.parent().map(Path::to_path_buf).unwrap_or_default();
    let base = Path::new(&name).file_name().map(PathBuf::from).unwrap_or_default();
    let places = [prefix.unwrap_or_default().join(&name), beside.join(&name), PathBuf::from(&name), beside.join(base)];
    places.into_iter().find(|place| place.is_file())
}

fn filter_name(number: i32) -> &'static str {
    match number {
        4 => "szip",
        307 => "bzip2",
        32000 => "LZF",
        32001 => "Blosc",
        32004 => "LZ4",
        32008 => "bitshuffle",
        32013 => "ZFP",
        32015 => "Zstandard",
        32017 => "SZ",
        32026 => "Blosc2",
        _ => "of another program",
    }
}
