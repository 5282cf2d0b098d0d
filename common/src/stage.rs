//! What one stage hands the next: the manifest.
//!
//! A stage works in one output folder and writes `stage.json` into it last of all. A folder without it does not
//! hold a finished stage. The same manifest goes to standard output as one line of JSON, so binaries chain in a
//! shell (`--from -`), and it carries the hash of every file that was read or written and the identity of every stage
//! before it, so that a reader notices changed bytes and stages that were run again.

mod folder;
mod inputs;
mod manifest;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value};

use crate::durable::{self, Written};
use crate::error::{Error, Result};
use crate::ordered::ordered;
use crate::provenance::{self, Link};
use crate::{memory, verified, world};
use folder::clear;
pub use folder::{has_no_locks, lies_below, lock};
use inputs::Inputs;
pub use manifest::{Artifact, Manifest};
use manifest::{absolute, short};

/// Name of the manifest in a stage's folder.
pub const MANIFEST: &str = "stage.json";
/// Name of the resolved config in a stage's folder; it can be fed back as a config file.
pub const CONFIG: &str = "config.yaml";
/// Name of the list of inputs in a stage's folder, where there are too many for the manifest.
pub const INPUTS: &str = "inputs.json";
/// Inputs that the manifest itself names at most.
const FEW: usize = 1000;
/// Small files that are written at once.
const TOGETHER: usize = 16;

/// One running stage: holds the lock of its folder and collects what goes into the manifest.
pub struct Stage {
    manifest: Manifest,
    /// The files that were read; they go into the manifest at the end.
    inputs: Inputs,
    /// None in processes that follow rank 0.
    lock: Option<File>,
    started: Instant,
    memory: memory::Peak,
    /// Whether an unfinished run in the folder is to be forgotten (`--force`).
    fresh: bool,
    /// What the stages before wrote: path -> folder, stage and artifact.
    expected: HashMap<PathBuf, (PathBuf, String, Artifact)>,
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
        Self {
            manifest,
            inputs: Inputs::default(),
            lock: None,
            started: Instant::now(),
            memory,
            fresh: false,
            expected: HashMap::new(),
        }
    }

    /// What the manifest would say now, but for the inputs, which are asked for with [`Stage::inputs`].
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files that were read so far, in the order of their names.
    pub fn inputs(&self) -> impl Iterator<Item = Artifact> + '_ {
        self.inputs.artifacts()
    }

    /// The output folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.manifest.folder
    }

    /// Seconds since the stage began in this process.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
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
            let wrote = (from.folder.clone(), from.stage.clone(), artifact.clone());
            self.expected.insert(from.folder.join(&artifact.path), wrote);
        }
    }

    /// Notes a file that is read.
    pub fn input(&mut self, name: &str, path: &Path) -> Result<()> {
        if !world::leads() {
            // Rank 0 notes it, and refuses what is not as it was.
            return Ok(());
        }
        let path = absolute(path)?;
        let wrote = self.expected.get(&path).map(|(folder, _, artifact)| (folder, artifact));
        let artifact = match wrote.filter(|(folder, artifact)| artifact.is_unchanged(folder)) {
            Some((_, known)) => Artifact { path, ..known.clone() },
            None => {
                let read = durable::hash_file(&path)?;
                Artifact { path, bytes: read.bytes, blake3: read.blake3 }
            }
        };
        self.read(name, artifact)
    }

    /// Notes a file that is read and whose hash is known. `artifact.path` is absolute.
    ///
    /// # Errors
    /// [`Error::Input`] for a file of an earlier stage that is not what that stage wrote.
    pub fn read(&mut self, name: &str, artifact: Artifact) -> Result<()> {
        if let Some((_, stage, wrote)) = self.expected.get(&artifact.path)
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
        self.inputs.insert(name, &artifact)
    }

    /// Notes a file that was written into the folder.
    pub fn output(&mut self, name: &str, written: &Written) {
        let path = written.path.strip_prefix(&self.manifest.folder).unwrap_or(&written.path).to_path_buf();
        let artifact = Artifact { path, bytes: written.bytes, blake3: written.blake3.clone() };
        self.manifest.outputs.insert(name.into(), artifact);
    }

    /// Writes small files (path below the folder, text) and names each among the outputs by its path.
    ///
    /// # Errors
    /// Those of writing.
    pub fn texts(&mut self, files: Vec<(String, String)>) -> Result<()> {
        let folder = self.folder().to_path_buf();
        // Nearly all of the time is waiting for the disk, which takes several at once.
        let write = |i: usize| durable::write(folder.join(&files[i].0), files[i].1.as_bytes());
        ordered(files.len(), TOGETHER, TOGETHER, write, |i, written| {
            self.output(&files[i].0, &written);
            Ok(())
        })
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
        let outputs = self.manifest.outputs.values();
        let outputs: Vec<Written> = outputs
            .map(|output| Written { path: output.path.clone(), bytes: output.bytes, blake3: output.blake3.clone() })
            .collect();
        verified::record(&self.manifest.folder, &outputs)?;
        let text = serde_json::to_string_pretty(&self.manifest).map_err(|e| Error::failed(format!("manifest: {e}")))?;
        durable::write(self.manifest.folder.join(MANIFEST), format!("{text}\n").as_bytes())?;
        let line = serde_json::to_string(&self.manifest).map_err(|e| Error::failed(format!("manifest: {e}")))?;
        crate::cli::print_line(&line)?;
        drop(self.lock);
        Ok(self.manifest)
    }

    /// Adds the files of other stages that were verified in this process, and moves a long list into a file of its own.
    fn collect_inputs(&mut self) -> Result<()> {
        let own = self.manifest.folder.clone();
        for (name, artifact) in self.inputs.without_known(provenance::take_files()) {
            if artifact.path.starts_with(&own) {
                continue;
            }
            // Several runs have outputs of one name: the second is called by its path.
            let name = if self.inputs.has_name(&name) { artifact.path.display().to_string() } else { name };
            self.inputs.insert(&name, &artifact)?;
        }
        if self.inputs.len() <= FEW {
            self.manifest.inputs = self.inputs.to_map();
            return Ok(());
        }
        let inputs = &self.inputs;
        let written = durable::write_with(own.join(INPUTS), |file| Ok(serde_json::to_writer(file, inputs)?))?;
        self.output("inputs", &written);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
