//! Months that other runs of this stage prepared, one job a month: their arrays become arrays of this run by a second name for the
//! same file. Nothing is read again, and nothing takes more room.

use std::path::{Path, PathBuf};

use common::durable::{self, Written};
use common::stage::{Artifact, MANIFEST, Manifest, Stage};
use common::store::tensors::TensorFile;
use common::{Error, Result};

use super::places::PREVIOUS;
use super::scale::Scaler;
use crate::norm::{Chain, NORMALISATION};
use crate::raw::month::Month;

/// The arrays of one month.
#[derive(Debug)]
pub struct Part {
    /// Which month.
    pub month: Month,
    /// Rows of each of its files.
    pub rows: u64,
    /// Chain, manifest name, and the file as its stage wrote it.
    files: Vec<(Chain, String, Artifact)>,
}

/// The months below `folder`, each in the folder of a finished stage, in their order.
pub fn find(folder: &Path, chains: &[Chain]) -> Result<Vec<Part>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::opening(folder, e))?.flatten();
    let mut stages: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    stages.sort();
    let mut parts: Vec<Part> = Vec::new();
    for stage in &stages {
        let manifest = Manifest::read(&stage.to_string_lossy())?;
        if manifest.stage != "prepare-data" || manifest.system != crate::NAME {
            let problem =
                format!("is of `{} {}`, expected `prepare-data {}`", manifest.stage, manifest.system, crate::NAME);
            return Err(Error::input(stage.join(MANIFEST), problem));
        }
        let first = format!("{}/train_", chains.first().map_or("", |chain| chain.name()));
        for name in manifest.outputs.keys().filter_map(|name| name.strip_prefix(&first)) {
            let month = Month::parse(name).ok_or_else(|| {
                Error::input(stage, format!("holds the training rows `{name}`, expected a month like `01_02`"))
            })?;
            if let Some(other) = parts.iter().find(|part| part.month == month) {
                let other = other.files.first().map(|(.., file)| file.path.display().to_string()).unwrap_or_default();
                return Err(Error::input(stage, format!("holds the month {month}, which is in `{other}` already"))
                    .hint("name a folder that holds each month once in `train.prepared.folder`"));
            }
            let file = |chain: &Chain| -> Result<(Chain, String, Artifact)> {
                let output = format!("{chain}/train_{name}");
                let path = manifest.output(&output)?;
                let known = &manifest.outputs[&output];
                Ok((*chain, output, Artifact { path, ..known.clone() }))
            };
            let files = chains.iter().map(file).collect::<Result<Vec<_>>>()?;
            let rows = files.iter().map(|(.., file)| rows(&file.path)).collect::<Result<Vec<_>>>()?;
            match rows.as_slice() {
                [first, others @ ..] if others.iter().all(|rows| rows == first) => {
                    parts.push(Part { month, rows: *first, files });
                }
                _ => return Err(Error::input(stage, format!("has {rows:?} rows of the month {month} in its chains"))),
            }
        }
    }
    if parts.is_empty() {
        return Err(Error::input(folder, "holds no finished month")
            .hint("prepare months first, each with `train.netcdf.months=[MONTH] valid=null index=null test=null --out FOLDER/MONTH`"));
    }
    parts.sort_by_key(|part| part.month);
    Ok(parts)
}

fn rows(path: &Path) -> Result<u64> {
    let file = TensorFile::open(path)?;
    Ok(file.shape("inputs")?.first().copied().unwrap_or(0) as u64)
}

impl Part {
    /// Gives its files a place in this run; `previous` says whether their rows have to know the step before.
    pub fn link(&self, scalers: &[Scaler], previous: bool, stage: &mut Stage) -> Result<()> {
        for (chain, name, file) in &self.files {
            let expected = scalers.iter().find(|scaler| scaler.chain() == *chain).map(Scaler::identity).transpose()?;
            let about = TensorFile::open(&file.path)?;
            let found = about.metadata().and_then(|about| about[NORMALISATION].as_str().map(String::from));
            if found != expected.flatten() {
                return Err(Error::input(&file.path, "was normalised by other constants than this run has")
                    .hint("prepare the month with the same `normalisation`"));
            }
            if about.shape(PREVIOUS).is_ok() != previous {
                let (has, wants) = if previous { ("without", "with") } else { ("with", "without") };
                return Err(Error::input(&file.path, format!("was prepared {has} `previous`, this run is {wants} it"))
                    .hint("prepare the month with the same `previous`"));
            }
            let below = PathBuf::from(format!("{name}.safetensors"));
            durable::link(&file.path, &stage.folder().join(&below))?;
            stage.read(&format!("months/{name}"), file.clone())?;
            stage.output(name, &Written { path: below, bytes: file.bytes, blake3: file.blake3.clone() });
        }
        Ok(())
    }
}
