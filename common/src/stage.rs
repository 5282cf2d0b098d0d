//! What one stage hands the next: the manifest.
//!
//! A stage works in one output folder and writes `stage.json` into it last of all. A folder without it does not
//! hold a finished stage. The same manifest goes to standard output as one line of JSON, so binaries chain in a
//! shell (`--from -`), and it carries the hash of every file that was read or written and the identity of every stage
//! before it, so that a reader notices changed bytes and stages that were run again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, Read, Seek, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::durable::{self, Written};
use crate::error::{Error, Result};
use crate::provenance::{self, Link};
use crate::{memory, world};

/// Name of the manifest in a stage's folder.
pub const MANIFEST: &str = "stage.json";
/// Name of the resolved config in a stage's folder; it can be fed back as a config file.
pub const CONFIG: &str = "config.yaml";
const LOCK: &str = ".lock";
/// Name of the list of inputs in a stage's folder, where there are too many for the manifest.
pub const INPUTS: &str = "inputs.json";
/// Inputs that the manifest itself names at most.
const FEW: usize = 1000;
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
            return Err(Error::input(
                given,
                format!("holds no `{MANIFEST}`, so the stage that should have filled it did not finish"),
            )
            .hint("run that stage (again) first; with the same `--out` it continues where it stopped"));
        }
        let text = fs::read_to_string(&file).map_err(|e| Error::opening(&file, e))?;
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

    fn parse(source: &Path, text: &str) -> Result<Self> {
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
        let found = durable::hash_file(&path)?;
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

/// One running stage: holds the lock of its folder and collects what goes into the manifest.
pub struct Stage {
    manifest: Manifest,
    /// None in processes that follow rank 0.
    lock: Option<File>,
    started: Instant,
    memory: memory::Peak,
    /// Whether an unfinished run in the folder is to be forgotten (`--force`).
    fresh: bool,
    /// What the stages before wrote: path -> stage and artifact.
    expected: HashMap<PathBuf, (String, Artifact)>,
}

impl Stage {
    /// Takes the folder for this run. A finished stage is refused unless `force`, which removes what it wrote; an
    /// unfinished one is left as it is, for the caller to resume. The resolved config is saved beside the results.
    pub fn begin(name: &str, system: &str, folder: &Path, config_text: &str, seed: u64, force: bool) -> Result<Self> {
        durable::create_folder(folder)?;
        let folder = absolute(folder)?;
        if !world::leads() {
            // Rank 0 sweeps the folder first.
            world::meet()?;
            return Ok(Self::following(name, system, folder, seed));
        }
        let lock = lock(&folder)?;
        durable::sweep(&folder)?;
        if folder.join(MANIFEST).exists() {
            if !force {
                return Err(Error::usage(format!("`{}` holds a finished stage already", folder.display()))
                    .hint("choose another folder with `--out`, or add `--force` to replace it"));
            }
            clear(&folder)?;
        }
        crate::cli::logging::to_file(&folder.join("run.jsonl"))?;
        let config = durable::write(folder.join(CONFIG), config_text.as_bytes())?;
        let mut stage = Self::following(name, system, folder, seed);
        stage.lock = Some(lock);
        stage.fresh = force;
        stage.manifest.config_hash = blake3::hash(config_text.as_bytes()).to_hex().to_string();
        stage.output("config", &config);
        world::meet()?;
        Ok(stage)
    }

    /// The stage as a process sees it that trains under the lead of another: it holds no lock and writes no manifest.
    fn following(name: &str, system: &str, folder: PathBuf, seed: u64) -> Self {
        let manifest = Manifest {
            stage: name.into(),
            system: system.into(),
            version: crate::VERSION.into(),
            folder,
            config_hash: String::new(),
            seed,
            upstream: Vec::new(),
            chain: Vec::new(),
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            metrics: Map::new(),
            wall_s: 0.0,
            peak_anonymous_bytes: 0,
        };
        let memory = memory::Peak::start();
        Self { manifest, lock: None, started: Instant::now(), memory, fresh: false, expected: HashMap::new() }
    }

    /// What the manifest would say now.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The output folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.manifest.folder
    }

    /// Whether what an unfinished run left in the folder is to be forgotten.
    pub fn fresh(&self) -> bool {
        self.fresh
    }

    /// Notes the stage that fed this one, and through it all stages before. Files of theirs that are read from now on must
    /// be what they wrote.
    pub fn upstream(&mut self, from: &Manifest) {
        for folder in std::iter::once(&from.folder).chain(&from.upstream) {
            if !self.manifest.upstream.contains(folder) {
                self.manifest.upstream.push(folder.clone());
            }
        }
        for link in std::iter::once(Link::to(from)).chain(from.chain.iter().cloned()) {
            if !self.manifest.chain.contains(&link) {
                self.manifest.chain.push(link);
            }
        }
        for artifact in from.outputs.values() {
            self.expected.insert(from.folder.join(&artifact.path), (from.stage.clone(), artifact.clone()));
        }
    }

    /// Notes a file that is read.
    pub fn input(&mut self, name: &str, path: &Path) -> Result<()> {
        let read = durable::hash_file(path)?;
        self.read(name, Artifact { path: absolute(path)?, bytes: read.bytes, blake3: read.blake3 })
    }

    /// Notes a file that is read and whose hash is known. `artifact.path` is absolute.
    ///
    /// # Errors
    /// [`Error::Input`] for a file of an earlier stage that is not what that stage wrote.
    pub fn read(&mut self, name: &str, artifact: Artifact) -> Result<()> {
        if let Some((stage, wrote)) = self.expected.get(&artifact.path)
            && (wrote.bytes, &wrote.blake3) != (artifact.bytes, &artifact.blake3)
        {
            let problem = format!(
                "was changed since `{stage}` wrote it: {} bytes with hash {}, expected {} bytes with hash {}",
                artifact.bytes,
                short(&artifact.blake3),
                wrote.bytes,
                short(&wrote.blake3)
            );
            return Err(Error::input(&artifact.path, problem).hint(format!("run `{stage}` again with `--force`")));
        }
        self.manifest.inputs.insert(name.into(), artifact);
        Ok(())
    }

    /// Notes a file that was written into the folder.
    pub fn output(&mut self, name: &str, written: &Written) {
        let path = written.path.strip_prefix(&self.manifest.folder).unwrap_or(&written.path).to_path_buf();
        let artifact = Artifact { path, bytes: written.bytes, blake3: written.blake3.clone() };
        self.manifest.outputs.insert(name.into(), artifact);
    }

    /// Notes a figure.
    pub fn metric(&mut self, name: &str, value: impl Into<Value>) {
        self.manifest.metrics.insert(name.into(), value.into());
    }

    /// Ends the stage: `stage.json` last, then the same as one line on standard output.
    pub fn finish(mut self) -> Result<Manifest> {
        if self.lock.is_none() {
            return Err(Error::ShareDone);
        }
        self.manifest.wall_s = (self.started.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        self.manifest.peak_anonymous_bytes = self.memory.bytes();
        self.collect_inputs()?;
        let text = serde_json::to_string_pretty(&self.manifest).map_err(|e| Error::failed(format!("manifest: {e}")))?;
        durable::write(self.manifest.folder.join(MANIFEST), format!("{text}\n").as_bytes())?;
        let line = serde_json::to_string(&self.manifest).map_err(|e| Error::failed(format!("manifest: {e}")))?;
        crate::cli::print_line(&line)?;
        drop(self.lock);
        Ok(self.manifest)
    }

    /// Adds the files of other stages that were verified in this process, and moves a long list into a file of its own.
    fn collect_inputs(&mut self) -> Result<()> {
        let known: HashSet<PathBuf> = self.manifest.inputs.values().map(|a| a.path.clone()).collect();
        let own = self.manifest.folder.clone();
        for (name, artifact) in provenance::take_files() {
            if known.contains(&artifact.path) || artifact.path.starts_with(&own) {
                continue;
            }
            // Several runs have outputs of one name: the second is called by its path.
            let name =
                if self.manifest.inputs.contains_key(&name) { artifact.path.display().to_string() } else { name };
            self.manifest.inputs.insert(name, artifact);
        }
        if self.manifest.inputs.len() <= FEW {
            return Ok(());
        }
        let all = std::mem::take(&mut self.manifest.inputs);
        let text = serde_json::to_vec(&all).map_err(|e| Error::failed(format!("writing `{INPUTS}`: {e}")))?;
        let written = durable::write(own.join(INPUTS), &text)?;
        self.output("inputs", &written);
        Ok(())
    }
}

/// Locks a folder for this process. The lock ends with the process, however it ends.
pub fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = open.map_err(|e| Error::io("opening", &path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let pid = text.trim().parse().unwrap_or(0);
            return Err(Error::InUse { path: folder.to_path_buf(), pid, hint: None });
        }
        Err(TryLockError::Error(e)) if has_no_locks(&e) => {
            tracing::warn!(
                "`{}`: the file system has no locks ({e}), so nothing keeps a second run out of this folder",
                folder.display()
            );
        }
        Err(TryLockError::Error(e)) => return Err(Error::io("locking", &path, e)),
    }
    // The text only serves the message of the next run; the lock itself is the kernel's.
    let record = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    record.map_err(|e| Error::io("writing", &path, e))?;
    Ok(file)
}

/// True for the answers of file systems without locks: Lustre mounted without `flock`, NFS without its lock daemon.
pub fn has_no_locks(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::ENOLCK | libc::EOPNOTSUPP))
}

/// Removes what a finished stage wrote, its manifest first: from then on the folder counts as unfinished.
fn clear(folder: &Path) -> Result<()> {
    let file = folder.join(MANIFEST);
    let text = fs::read_to_string(&file).map_err(|e| Error::opening(&file, e))?;
    fs::remove_file(&file).map_err(|e| Error::io("removing", &file, e))?;
    durable::sync_folder(folder)?;
    let Ok(old) = Manifest::parse(&file, &text) else { return Ok(()) };
    for artifact in old.outputs.values() {
        let path = folder.join(&artifact.path);
        if !lies_below(folder, &artifact.path) {
            tracing::warn!("`{}` lies outside of `{}` and is left as it is", path.display(), folder.display());
            continue;
        }
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("removing", &path, e)),
        }
    }
    Ok(())
}

/// Whether a path that a manifest gives stays in its folder: no `..`, no root, and no link among the folders on the way.
/// A link in the place of the file itself may be removed: that removes the link alone.
pub fn lies_below(folder: &Path, path: &Path) -> bool {
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let mut parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    plain && parents.all(|parent| !folder.join(parent).is_symlink())
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|e| Error::opening(path, e))
}

fn major_minor(version: &str) -> (u64, u64) {
    let mut parts = version.split('.').map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(folder: &Path, content: &[u8]) -> Manifest {
        let mut stage = Stage::begin("prepare-data", "moon", folder, "seed: 1\n", 1, true).unwrap();
        let written = durable::write(stage.folder().join("a/x.bin"), content).unwrap();
        stage.output("a/x", &written);
        stage.metric("rows", 3);
        stage.finish().unwrap()
    }

    #[test]
    fn a_manifest_leads_to_its_verified_outputs() {
        let folder = tempfile::tempdir().unwrap();
        let written = finished(folder.path(), b"abc");
        let read = Manifest::read(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(written, read);
        assert_eq!(fs::read(read.output("a/x").unwrap()).unwrap(), b"abc");
        assert!(read.output("a/y").unwrap_err().to_string().contains("`a/x`"));
    }

    #[test]
    fn changed_and_cut_off_outputs_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = finished(folder.path(), b"abc");
        durable::write(folder.path().join("a/x.bin"), b"abd").unwrap();
        assert!(manifest.output("a/x").unwrap_err().to_string().contains("changed"));
        durable::write(folder.path().join("a/x.bin"), b"ab").unwrap();
        assert!(manifest.output("a/x").unwrap_err().to_string().contains("2 bytes"));
    }

    #[test]
    fn a_finished_stage_is_refused_without_force_and_cleared_with_it() {
        let folder = tempfile::tempdir().unwrap();
        finished(folder.path(), b"abc");
        let refused = Stage::begin("prepare-data", "moon", folder.path(), "", 1, false).err().unwrap();
        assert_eq!(refused.exit_code(), crate::ExitCode::Usage);
        let stage = Stage::begin("prepare-data", "moon", folder.path(), "", 1, true).unwrap();
        assert!(!stage.folder().join(MANIFEST).exists() && !stage.folder().join("a/x.bin").exists());
    }

    #[test]
    fn numbers_in_a_manifest_come_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Stage::begin("score", "moon", folder.path(), "", 1, false).unwrap();
        let figures = [9.916648104524684e-20, 7.984871126234905e-16, 29.46716015002576, 4337655409756.84, 0.1 + 0.2];
        stage.metric("figures", figures.to_vec());
        stage.finish().unwrap();
        let read = Manifest::read(folder.path().to_str().unwrap()).unwrap();
        let back: Vec<f64> = serde_json::from_value(read.metrics["figures"].clone()).unwrap();
        assert_eq!(back.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), figures.map(f64::to_bits));
    }

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let _held = lock(folder.path()).unwrap();
        match lock(folder.path()) {
            Err(Error::InUse { pid, .. }) => assert_eq!(pid, std::process::id()),
            other => panic!("{other:?}"),
        }
    }

    /// A stage that reads `before`, in `folder`.
    fn reader(name: &str, folder: &Path, before: &Manifest) -> Manifest {
        let mut stage = Stage::begin(name, "moon", folder, "", 1, true).unwrap();
        stage.upstream(before);
        stage.finish().unwrap()
    }

    #[test]
    fn a_stage_that_was_run_again_with_other_results_is_refused_with_what_was_found_and_expected() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let prepared = finished(first.path(), b"abc");
        let trained = reader("train-model", second.path(), &prepared);
        let other = finished(first.path(), b"abd");
        let error = trained.find("prepare-data").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("was run again") && text.contains("train-model"), "{text}");
        assert!(text.contains(&prepared.identity()[..12]) && text.contains(&other.identity()[..12]), "{text}");
        assert!(error.hint_text().unwrap().contains("--force"));
        assert_eq!(error.exit_code(), crate::ExitCode::Input);
        // Also where the two are read side by side and neither is followed.
        Manifest::read(first.path().to_str().unwrap()).unwrap();
        assert!(Manifest::read(second.path().to_str().unwrap()).is_err());
    }

    #[test]
    fn a_stage_that_was_run_again_with_the_same_results_is_the_same_stage() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let prepared = finished(first.path(), b"abc");
        let trained = reader("train-model", second.path(), &prepared);
        let mut again =
            Stage::begin("prepare-data", "moon", first.path(), "seed: 1 # said otherwise\n", 1, true).unwrap();
        let written = durable::write(again.folder().join("a/x.bin"), b"abc").unwrap();
        again.output("a/x", &written);
        again.finish().unwrap();
        assert_eq!(trained.find("prepare-data").unwrap().identity(), prepared.identity());
    }

    #[test]
    fn a_chain_of_three_is_followed_and_its_first_stage_compared() {
        let [a, b, c] = [0; 3].map(|_| tempfile::tempdir().unwrap());
        let prepared = finished(a.path(), b"abc");
        let trained = reader("train-model", b.path(), &prepared);
        let tuned = reader("finetune-group", c.path(), &trained);
        assert_eq!(tuned.find("prepare-data").unwrap(), prepared);
        assert_eq!(tuned.find_if_any("predict").unwrap(), None);
        finished(a.path(), b"xyz");
        assert!(tuned.find("prepare-data").is_err());
        assert!(tuned.find_if_any("prepare-data").is_err(), "changed is not the same as absent");
    }

    #[test]
    fn manifests_of_earlier_versions_are_followed_by_folder() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let prepared = finished(first.path(), b"abc");
        reader("train-model", second.path(), &prepared);
        let path = second.path().join(MANIFEST);
        let mut value: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        value.as_object_mut().unwrap().remove("chain");
        durable::write(&path, value.to_string().as_bytes()).unwrap();
        finished(first.path(), b"abd");
        let trained = Manifest::read(second.path().to_str().unwrap()).unwrap();
        assert_eq!(trained.find("prepare-data").unwrap().folder, prepared.folder);
    }

    #[test]
    fn files_of_the_stage_before_must_be_what_it_wrote_and_stand_among_the_inputs() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let prepared = finished(first.path(), b"abc");
        let verified = prepared.output("a/x").unwrap();
        let mut stage = Stage::begin("train-model", "moon", second.path(), "", 1, false).unwrap();
        stage.upstream(&prepared);
        stage.input("raw", &verified).unwrap();
        durable::write(first.path().join("a/x.bin"), b"abd").unwrap();
        let text = stage.input("raw", &verified).unwrap_err().to_string();
        assert!(text.contains("was changed since `prepare-data` wrote it"), "{text}");
        prepared.output("a/x").unwrap_err();
        let manifest = stage.finish().unwrap();
        assert_eq!(manifest.inputs["raw"].blake3, prepared.outputs["a/x"].blake3);
        durable::write(first.path().join("a/x.bin"), b"abc").unwrap();
        let third = tempfile::tempdir().unwrap();
        prepared.output("a/x").unwrap();
        let manifest = reader("score", third.path(), &prepared);
        assert_eq!(manifest.inputs["prepare-data/a/x"].blake3, prepared.outputs["a/x"].blake3);
    }

    #[test]
    fn thousands_of_inputs_stand_in_a_file_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Stage::begin("prepare-data", "moon", folder.path(), "", 1, false).unwrap();
        for i in 0..=FEW {
            let path = PathBuf::from(format!("/raw/{i}"));
            stage.read(&i.to_string(), Artifact { path, bytes: i as u64, blake3: format!("{i:064}") }).unwrap();
        }
        let manifest = stage.finish().unwrap();
        assert!(manifest.inputs.is_empty());
        let all = manifest.all_inputs().unwrap();
        assert_eq!((all.len(), all["7"].bytes), (FEW + 1, 7));
        durable::write(folder.path().join(INPUTS), b"{}").unwrap();
        assert!(manifest.all_inputs().is_err());
    }

    #[test]
    fn force_removes_nothing_outside_of_its_folder() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        finished(folder.path(), b"abc");
        for name in ["by_link", "by_dots", "by_root"] {
            durable::write(outside.path().join(name), b"kept").unwrap();
        }
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        let path = folder.path().join(MANIFEST);
        let mut value: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let dots = Path::new("..").join(outside.path().file_name().unwrap()).join("by_dots");
        for (name, to) in [("1", Path::new("link/by_link")), ("2", &dots), ("3", &outside.path().join("by_root"))] {
            value["outputs"][name] = serde_json::json!({ "path": to, "bytes": 4, "blake3": "" });
        }
        durable::write(&path, value.to_string().as_bytes()).unwrap();
        Stage::begin("prepare-data", "moon", folder.path(), "", 1, true).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 3);
        assert!(!folder.path().join("a/x.bin").exists());
    }

    #[test]
    fn upstream_stages_are_found_by_name() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let prepared = finished(first.path(), b"abc");
        let mut stage = Stage::begin("train-model", "moon", second.path(), "", 1, false).unwrap();
        stage.upstream(&prepared);
        let trained = stage.finish().unwrap();
        assert_eq!(trained.find("prepare-data").unwrap().folder, prepared.folder);
        assert!(trained.find("predict").is_err());
    }
}
