//! The competition's data folder: which files lie where.
//!
//! ```text
//! data/sensor_geometry.csv  ice_transparency.txt  sample_submission.parquet  test_meta.parquet
//!      train/batch_<k>.parquet  train_meta/train_meta_<k>.parquet  test/batch_<k>.parquet
//! ```

use std::path::{Path, PathBuf};

use common::{Error, Result};

/// Name of the sensor table.
pub const GEOMETRY: &str = "sensor_geometry.csv";
/// Name of the ice table.
pub const ICE: &str = "ice_transparency.txt";
/// Name of the file that fixes the rows of a submission.
pub const SAMPLE: &str = "sample_submission.parquet";
/// Name of the row ranges of the test events.
pub const TEST_META: &str = "test_meta.parquet";
/// Upstream's event counts.
pub const NEVENTS: &str = "Nevents.pickle";

const TREE: &str = "expected tree: `sensor_geometry.csv`, `ice_transparency.txt`, `train/batch_<k>.parquet`, `train_meta/train_meta_<k>.parquet`, `test/batch_<k>.parquet`; docs/data.md says where to get it";

/// One pulse file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulseFile {
    /// `batch_<k>.parquet`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Its directions and row ranges; training only.
    pub meta: Option<PathBuf>,
}

impl PulseFile {
    /// The name without its ending: `batch_17`.
    pub fn stem(&self) -> &str {
        stem(&self.name)
    }
}

/// `batch_17` of `batch_17.parquet`.
pub fn stem(name: &str) -> &str {
    name.strip_suffix(".parquet").unwrap_or(name)
}

/// A data folder.
#[derive(Debug, Clone)]
pub struct RawFolder(PathBuf);

impl RawFolder {
    /// The folder, which must hold the sensor and ice tables.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            return Err(Error::input(root, "no such folder").hint(TREE));
        }
        for name in [GEOMETRY, ICE] {
            if !root.join(name).is_file() {
                let found = listing(root);
                return Err(Error::input(root, format!("has no `{name}`, it holds {found}")).hint(TREE));
            }
        }
        Ok(Self(root.to_path_buf()))
    }

    /// A file below the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The training files in the published order: by name, as text.
    ///
    /// # Errors
    /// [`Error::Input`] where there is none, or one lacks its `train_meta` file.
    pub fn train(&self) -> Result<Vec<PulseFile>> {
        let mut files = self.pulses("train")?;
        for file in &mut files {
            let number = file.stem().strip_prefix("batch_").unwrap_or(file.stem());
            let meta = self.0.join("train_meta").join(format!("train_meta_{number}.parquet"));
            if !meta.is_file() {
                let problem = format!("does not exist, but `train/{}` needs its directions", file.name);
                return Err(Error::input(&meta, problem)
                    .hint("get the missing file (docs/data.md), or prepare without training files: `train=null`"));
            }
            file.meta = Some(meta);
        }
        Ok(files)
    }

    /// The test files, by name as text.
    pub fn test(&self) -> Result<Vec<PulseFile>> {
        self.pulses("test")
    }

    fn pulses(&self, part: &str) -> Result<Vec<PulseFile>> {
        let folder = self.0.join(part);
        let entries = std::fs::read_dir(&folder)
            .map_err(|e| Error::opening(&folder, e).hint(TREE))?
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Error::io("reading", &folder, e))?;
        let mut files: Vec<PulseFile> = entries
            .into_iter()
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.ends_with(".parquet").then(|| PulseFile { name, path: entry.path(), meta: None })
            })
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if files.is_empty() {
            return Err(Error::input(&folder, "holds no `batch_<k>.parquet`").hint(TREE));
        }
        Ok(files)
    }
}

fn listing(folder: &Path) -> String {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| format!("`{}`", entry.file_name().to_string_lossy()))
        .collect();
    names.sort();
    if names.len() > 8 {
        let more = names.len() - 8;
        names.truncate(8);
        names.push(format!("and {more} more"));
    }
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}
