//! What a finished stage says of itself, and how a reader finds its files and notices changed ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CONFIG, INPUTS, MANIFEST};
use crate::durable::{self, Written};
use crate::error::{Error, Result};
use crate::provenance::{self, Link};
use crate::store::foreign;
use crate::verified;
use crate::world;

/// Outputs that tell of the run and are read by no stage: the same data from another path or after an interruption are
/// the same data.
const ABOUT: [&str; 7] = ["config", "hparams", "inputs", "metrics.csv", "metrics.jsonl", "progress", "report"];

/// A file that a stage read or wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Outputs: relative to the stage's folder. Inputs: absolute.
    pub path: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 of the content.
    pub blake3: String,
}

impl Artifact {
    /// Whether this output of the stage in `folder` is as it was when its hash was taken.
    pub(super) fn is_unchanged(&self, folder: &Path) -> bool {
        verified::is_unchanged(folder, &self.path, self.bytes, &self.blake3)
    }
}

/// Everything that the next stage (or a reader a month later) needs to know about a finished stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the binary: `prepare-data`, `train-model`, ...
    pub stage: String,
    /// System that the stage belongs to; empty for system-agnostic stages.
    pub system: String,
    /// Version of Podium that wrote it.
    pub version: String,
    /// Absolute folder of the outputs. A moved folder is found where its `stage.json` lies.
    pub folder: PathBuf,
    /// BLAKE3 of the resolved config.
    pub config_hash: String,
    /// Seed of the run.
    pub seed: u64,
    /// Folders of the stages that this one was fed by (`--from`), nearest first.
    pub upstream: Vec<PathBuf>,
    /// The same stages with what they had written then. Empty in manifests of earlier versions.
    #[serde(default)]
    pub chain: Vec<Link>,
    /// Files that were read, by name. More than a thousand stand in the output `inputs` instead ([`Manifest::all_inputs`]).
    pub inputs: BTreeMap<String, Artifact>,
    /// Files that were written, by name.
    pub outputs: BTreeMap<String, Artifact>,
    /// Figures of the run.
    pub metrics: Map<String, Value>,
    /// Wall time in seconds.
    pub wall_s: f64,
    /// Highest anonymous resident memory seen, in bytes; mapped files do not count.
    pub peak_anonymous_bytes: u64,
}

impl Manifest {
    /// Reads a manifest: `-` takes one line of standard input, a folder its `stage.json`, a file that file.
    pub fn read(from: &str) -> Result<Self> {
        if from == "-" {
            return Self::from_stdin();
        }
        let given = Path::new(from);
        let file = if given.is_dir() { given.join(MANIFEST) } else { given.to_path_buf() };
        if given.is_dir() && !file.exists() {
            let begun = [CONFIG, ".lock"].iter().any(|name| given.join(name).exists());
            if !begun {
                return Err(Error::input(given, format!("is not the folder of a stage: it holds no `{MANIFEST}`"))
                    .hint("name the folder that a stage was given with `--out`"));
            }
            return Err(Error::input(
                given,
                format!("holds no `{MANIFEST}`, so the stage that should have filled it did not finish"),
            )
            .hint("run that stage (again) first; with the same `--out` it continues where it stopped"));
        }
        let text = foreign::read_text(&file)?;
        let mut manifest = Self::parse(&file, &text)?;
        // A folder may have been moved or copied since: its manifest knows where it lies now.
        let folder = file.parent().unwrap_or(Path::new("."));
        manifest.folder = absolute(folder)?;
        provenance::manifest(&manifest)?;
        Ok(manifest)
    }

    fn from_stdin() -> Result<Self> {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(|e| Error::io("reading", "standard input", e))?;
        if line.trim().is_empty() {
            return Err(Error::input(
                "standard input",
                "is empty: the stage before this one in the pipe handed nothing on",
            )
            .hint("its own message above says why"));
        }
        let manifest = Self::parse(Path::new("standard input"), &line)?;
        provenance::manifest(&manifest)?;
        Ok(manifest)
    }

    pub(super) fn parse(source: &Path, text: &str) -> Result<Self> {
        let manifest: Self = serde_json::from_str(text).map_err(|e| {
            Error::input(source, format!("is no manifest of a stage: {e}"))
                .hint("pass the folder of a finished stage, or pipe its standard output into `--from -`")
        })?;
        if major_minor(&manifest.version) > major_minor(crate::VERSION) {
            return Err(Error::input(
                source,
                format!("was written by Podium {}, this is {}", manifest.version, crate::VERSION),
            )
            .hint("upgrade Podium, or run that stage again with this version"));
        }
        Ok(manifest)
    }

    /// Tells what the stage wrote from anything else that it might have written: one hash over the names and hashes of
    /// all outputs but those that only tell of the run. A run that is taken up again must find what it began with.
    pub fn identity(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (name, artifact) in self.outputs.iter().filter(|(name, _)| !ABOUT.contains(&name.as_str())) {
            hasher.update(format!("{name}\0{}\0", artifact.blake3).as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Absolute path of the output `name`, after its size and hash were found to be what the stage wrote.
    pub fn output(&self, name: &str) -> Result<PathBuf> {
        let artifact = self.outputs.get(name).ok_or_else(|| {
            let known = self.outputs.keys().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
            Error::input(self.folder.join(MANIFEST), format!("`{}` has no output `{name}`; it has {known}", self.stage))
        })?;
        self.verify(name, artifact)
    }

    /// All outputs whose name begins with `prefix`, verified, in the order of their names.
    pub fn outputs_with_prefix(&self, prefix: &str) -> Result<Vec<(String, PathBuf)>> {
        let matching = self.outputs.iter().filter(|(name, _)| name.starts_with(prefix));
        matching.map(|(name, artifact)| Ok((name.clone(), self.verify(name, artifact)?))).collect()
    }

    /// This manifest or the nearest one upstream that was written by `stage`.
    ///
    /// # Errors
    /// [`Error::Input`] where there is none, where its folder is gone, or where it was run again since this stage read it.
    pub fn find(&self, stage: &str) -> Result<Self> {
        self.find_if_any(stage)?.ok_or_else(|| {
            let links = self.chain.iter().map(|link| link.stage.clone());
            let seen: Vec<String> = std::iter::once(self.stage.clone()).chain(links).collect();
            Error::input(
                self.folder.join(MANIFEST),
                format!("found no `{stage}` stage upstream, only {}", seen.join(", ")),
            )
        })
    }

    /// As [`Manifest::find`]; none where no such stage fed this one.
    pub fn find_if_any(&self, stage: &str) -> Result<Option<Self>> {
        if self.stage == stage {
            return Ok(Some(self.clone()));
        }
        if self.chain.is_empty() {
            return self.find_without_identities(stage);
        }
        let Some(link) = self.chain.iter().find(|link| link.stage == stage) else { return Ok(None) };
        let found = Self::read(&link.folder.to_string_lossy())?;
        link.demand(&Link::to(&found), (&self.stage, &self.folder))?;
        Ok(Some(found))
    }

    /// For manifests of earlier versions, which name folders alone: what lies there now is taken, with a warning.
    fn find_without_identities(&self, stage: &str) -> Result<Option<Self>> {
        for folder in &self.upstream {
            let manifest = Self::read(&folder.to_string_lossy())?;
            if manifest.stage == stage {
                tracing::warn!(
                    "`{}` was written by Podium {} and does not say what it read: `{}` is taken as it is now",
                    self.folder.join(MANIFEST).display(),
                    self.version,
                    folder.display()
                );
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    /// All files that the stage read, by name.
    pub fn all_inputs(&self) -> Result<BTreeMap<String, Artifact>> {
        let Some(list) = self.outputs.get("inputs").filter(|list| list.path == Path::new(INPUTS)) else {
            return Ok(self.inputs.clone());
        };
        let path = self.verify("inputs", list)?;
        let text = fs::read_to_string(&path).map_err(|e| Error::opening(&path, e))?;
        serde_json::from_str(&text).map_err(|e| Error::input(&path, format!("is no list of inputs: {e}")))
    }

    /// Refuses a file below this stage's folder that is not what it wrote. Files that it did not write pass.
    pub fn demand_written(&self, path: &Path) -> Result<()> {
        let path = absolute(path)?;
        let Ok(below) = path.strip_prefix(&self.folder) else { return Ok(()) };
        match self.outputs.iter().find(|(_, artifact)| artifact.path == below) {
            Some((name, artifact)) => self.verify(name, artifact).map(drop),
            None => Ok(()),
        }
    }

    /// Refuses a file that is no longer what this stage read. Files that it did not read pass.
    pub fn demand_unchanged(&self, inputs: &BTreeMap<String, Artifact>, path: &Path) -> Result<()> {
        let path = absolute(path)?;
        let Some(known) = inputs.values().find(|artifact| artifact.path == path) else { return Ok(()) };
        let found = durable::hash_file(&path)?;
        if (found.bytes, &found.blake3) == (known.bytes, &known.blake3) {
            return Ok(());
        }
        let problem = format!(
            "was changed since `{}` in `{}` read it: {} bytes with hash {}, expected {} bytes with hash {}",
            self.stage,
            self.folder.display(),
            found.bytes,
            short(&found.blake3),
            known.bytes,
            short(&known.blake3)
        );
        Err(Error::input(&path, problem)
            .hint(format!("restore the file, or run `{}` again with `--force`", self.stage)))
    }

    fn verify(&self, name: &str, artifact: &Artifact) -> Result<PathBuf> {
        let path = self.folder.join(&artifact.path);
        let found = match artifact.is_unchanged(&self.folder) {
            false if !world::verifies() => {
                let bytes = fs::metadata(&path).map_err(|e| Error::opening(&path, e))?.len();
                Written { path: path.clone(), bytes, blake3: artifact.blake3.clone() }
            }
            true => Written { path: path.clone(), bytes: artifact.bytes, blake3: artifact.blake3.clone() },
            false => durable::hash_file(&path)?,
        };
        if found.bytes != artifact.bytes {
            return Err(Error::input(
                &path,
                format!("has {} bytes, but `{}` wrote {}", found.bytes, self.stage, artifact.bytes),
            )
            .hint("the file was changed or cut off since; run that stage again"));
        }
        if found.blake3 != artifact.blake3 {
            return Err(Error::input(&path, format!("was changed since `{}` wrote it (its hash differs)", self.stage))
                .hint("run that stage again with `--force`"));
        }
        if let Ok(path) = absolute(&path) {
            provenance::file(format!("{}/{name}", self.stage), Artifact { path, ..artifact.clone() });
        }
        Ok(path)
    }
}

pub(super) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|e| Error::opening(path, e))
}

fn major_minor(version: &str) -> (u64, u64) {
    let mut parts = version.split('.').map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
