//! The competition's data folder: which files lie where.
//!
//! ```text
//! data/sensor_geometry.csv  ice_transparency.txt  sample_submission.parquet  test_meta.parquet
//!      train/batch_<k>.parquet  train_meta.parquet  test/batch_<k>.parquet
//! ```
//!
//! The directions of the training events come in one `train_meta.parquet`, as the competition has it, or split by batch
//! as the published scripts want it: `train_meta/train_meta_<k>.parquet` or `train_meta/batch_<k>.parquet`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::store::leftovers;
use common::store::tables::ParquetFile;
use common::{Error, Result};

/// Name of the sensor table.
pub const GEOMETRY: &str = "sensor_geometry.csv";
/// Name of the ice table.
pub const ICE: &str = "ice_transparency.txt";
/// Name of the file that fixes the rows of a submission.
pub const SAMPLE: &str = "sample_submission.parquet";
/// Its names as others hand it on, the competition's first.
pub const SAMPLES: [&str; 3] = [SAMPLE, "sample_submission.csv", "sample_submission.csv.gz"];
/// Name of the row ranges of the test events.
pub const TEST_META: &str = "test_meta.parquet";
/// Upstream's event counts.
pub const NEVENTS: &str = "Nevents.pickle";

/// Directions of all training files in one table.
pub const TRAIN_META: &str = "train_meta.parquet";

const TREE: &str = "expected tree: `sensor_geometry.csv`, `ice_transparency.txt`, `train/batch_<k>.parquet`, `train_meta.parquet`, `test/batch_<k>.parquet`; docs/data.md says where to get it";

/// One pulse file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulseFile {
    /// `batch_<k>.parquet`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Its directions and row ranges; training only.
    pub meta: Option<Meta>,
}

/// Where the directions of a pulse file stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The table.
    pub path: PathBuf,
    /// Which rows of it, as (first, number); `None`: all.
    pub rows: Option<Vec<(usize, usize)>>,
}

impl PulseFile {
    /// The name without its ending: `batch_17`.
    pub fn stem(&self) -> &str {
        stem(&self.name)
    }
}

/// `batch_17` of `batch_17.parquet`.
pub fn stem(name: &str) -> &str {
    if is_parquet(name) { &name[..name.len() - ENDING.len()] } else { name }
}

const ENDING: &str = ".parquet";

/// Whether a name is that of a table of pulses, in either case of letters.
pub(crate) fn is_parquet(name: &str) -> bool {
    name.len().checked_sub(ENDING.len()).and_then(|at| name.get(at..)).is_some_and(|e| e.eq_ignore_ascii_case(ENDING))
}

/// A data folder.
#[derive(Debug, Clone)]
pub struct RawFolder(PathBuf);

impl RawFolder {
    /// The folder, which must hold these tables: those of sensors and ice, as far as a config does not name others.
    pub fn open(root: &Path, tables: &[&str]) -> Result<Self> {
        if !root.is_dir() {
            return Err(Error::input(root, "no such folder").hint(TREE));
        }
        for name in tables {
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
    /// [`Error::Input`] where there is none, or one lacks its directions.
    pub fn train(&self) -> Result<Vec<PulseFile>> {
        let mut files = self.pulses("train")?;
        let whole = self.0.join(TRAIN_META);
        let mut batches = None;
        for file in &mut files {
            let number = file.stem().strip_prefix("batch_").unwrap_or(file.stem());
            let folder = self.0.join("train_meta");
            let split = [format!("train_meta_{number}.parquet"), file.name.clone()].map(|name| folder.join(name));
            if split[0] != split[1] && split.iter().all(|path| path.is_file()) {
                let problem = format!("says the directions of `train/{}`, as does `{}`", file.name, split[1].display());
                return Err(Error::input(&split[0], problem).hint("keep one of them"));
            }
            file.meta = Some(if let Some(path) = split.iter().find(|path| path.is_file()) {
                Meta { path: path.clone(), rows: None }
            } else if whole.is_file() {
                if batches.is_none() {
                    batches = Some(batches_of(&whole)?);
                }
                let rows = number.parse().ok().and_then(|n: i64| batches.as_ref()?.get(&n).cloned());
                let rows = rows.ok_or_else(|| {
                    let problem =
                        format!("has no row of batch {number}, but `train/{}` needs its directions", file.name);
                    Error::input(&whole, problem).hint("take the meta file of the same download as the pulses")
                })?;
                Meta { path: whole.clone(), rows: Some(rows) }
            } else if let Some(other) = other_form(&self.0) {
                return Err(Error::input(&other, "directions of training events are read as parquet").hint(format!(
                    "write it as `{TRAIN_META}`, for example with pandas: `read_csv(..).to_parquet(.., index=False)`"
                )));
            } else {
                let problem = format!("does not exist, but `train/{}` needs its directions", file.name);
                return Err(Error::input(&split[0], problem).hint(
                    "get it, or the competition's `train_meta.parquet` (docs/data.md); or prepare without training files: `train=null`",
                ));
            });
        }
        Ok(files)
    }

    /// The test files, by name as text.
    pub fn test(&self) -> Result<Vec<PulseFile>> {
        self.pulses("test")
    }

    fn pulses(&self, part: &str) -> Result<Vec<PulseFile>> {
        let folder = self.0.join(part);
        let found = leftovers::data_files(&folder, is_parquet).map_err(|e| e.hint(TREE))?;
        let files: Vec<PulseFile> = found
            .into_iter()
            .map(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                PulseFile { name, path, meta: None }
            })
            .collect();
        if files.is_empty() {
            let problem = format!("holds no `batch_<k>.parquet`, but {}", listing(&folder));
            return Err(Error::input(&folder, problem).hint(TREE));
        }
        Ok(files)
    }
}

/// Rows of each batch in the table of all of them.
fn batches_of(path: &Path) -> Result<BTreeMap<i64, Vec<(usize, usize)>>> {
    const SLICE_ROWS: usize = 1 << 22;
    let file = ParquetFile::open(path)?;
    let mut batches: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
    let mut run: Option<(i64, usize, usize)> = None;
    for begin in (0..file.rows()).step_by(SLICE_ROWS) {
        let table = file.read(Some(&["batch_id"]), begin..begin + SLICE_ROWS)?;
        for (row, &batch) in table.whole("batch_id")?.iter().enumerate() {
            match &mut run {
                Some((known, _, n)) if *known == batch => *n += 1,
                _ => {
                    if let Some((known, first, n)) = run.replace((batch, begin + row, 1)) {
                        batches.entry(known).or_default().push((first, n));
                    }
                }
            }
        }
    }
    if let Some((known, first, n)) = run {
        batches.entry(known).or_default().push((first, n));
    }
    Ok(batches)
}

/// The table of all directions in a form that is not read.
fn other_form(root: &Path) -> Option<PathBuf> {
    let forms = ["train_meta.csv", "train_meta.csv.gz", "train_meta.csv.zip", "train_meta.feather"];
    forms.iter().map(|name| root.join(name)).find(|path| path.is_file())
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
