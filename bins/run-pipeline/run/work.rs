//! One stage from verdict to lock entry, on a thread of its own.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Error, Result};

use super::memory::Watch;
use super::process::{self, Surroundings};
use super::resources::Held;
use crate::run_pipeline::content::cache::{self, Cache};
use crate::run_pipeline::content::gitignore;
use crate::run_pipeline::content::hash::{self, Content};
use crate::run_pipeline::content::lock::{self, Entry, Lock, Locked};
use crate::run_pipeline::content::seen::Seen;
use crate::run_pipeline::content::verdict::{self, Reason, Verdict};
use crate::run_pipeline::declare::entries::{Out, Stage};
use crate::run_pipeline::declare::tree::Node;
use crate::run_pipeline::graph::Unit;
use crate::run_pipeline::state::{RUN_VARIABLE, State};

/// A pipeline that this run holds.
pub struct Home {
    pub folder: PathBuf,
    pub shown: PathBuf,
    /// None for a pipeline of which no stage is needed.
    pub state: Option<State>,
    pub lock: Mutex<Lock>,
    pub cache: Option<Cache>,
    /// The DVC repository that it lies in.
    pub repository: Option<PathBuf>,
}

impl Home {
    /// A pipeline that this run does not touch.
    pub fn unused(folder: PathBuf, shown: PathBuf) -> Self {
        let lock = Mutex::new(Lock::empty(&folder.join(lock::FILE), &shown));
        Self { lock, folder, shown, state: None, cache: None, repository: None }
    }

    /// What is kept beside the pipeline.
    pub fn state(&self) -> Result<&State> {
        self.state.as_ref().ok_or_else(|| Error::failed(format!("`{}` was not taken", self.shown.display())))
    }
}

/// What all stages of a run share.
pub struct Shared {
    pub homes: Vec<Home>,
    pub seen: Seen,
    pub watch: Watch,
    pub run: String,
    /// `PATH` of the stages: the runner's own folder first, so that they find the other binaries.
    pub path: Option<String>,
    /// A rehearsal: every stage runs, nothing is hashed, and no lock is written.
    pub rehearsal: bool,
}

/// How a stage ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    Unchanged,
    Ran(Cost),
    /// Frozen: not run, its outs were taken into the lock as they lie.
    Verified(Cost),
    Failed(Cost, Failure),
    /// Stopped because the user asked for it.
    Interrupted(Cost),
}

/// What a run of a stage cost.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// When its commands began; none where none ran.
    pub begun: Option<Instant>,
    pub wall: Duration,
    pub peak_bytes: u64,
    pub reasons: Vec<String>,
    /// Path as written and size of each out.
    pub outs: Vec<(String, u64)>,
}

impl Cost {
    /// Nothing yet, but for the reasons.
    fn of(found: &Verdict) -> Self {
        Self { reasons: found.reasons.iter().map(ToString::to_string).collect(), ..Self::default() }
    }
}

/// Why a stage failed.
#[derive(Debug, Clone)]
pub struct Failure {
    pub sentence: String,
    pub command: Option<String>,
    /// None where nothing was run.
    pub log: Option<PathBuf>,
    /// What to do, where running the stage again is no remedy.
    pub hint: Option<String>,
}

/// True when a stage needs no run.
pub fn is_fresh(unit: &Unit, shared: &Shared) -> Result<bool> {
    if shared.rehearsal {
        return Ok(unit.stage.frozen);
    }
    let home = &shared.homes[unit.home];
    let Ok(lock) = home.lock.lock() else { return Ok(false) };
    let name = &unit.stage.name;
    let found = verdict::check(&unit.stage, lock.stage(name), &shared.seen, home.cache.as_ref(), false)?;
    Ok(found.is_fresh() && !home.state()?.was_cut_off(name))
}

/// Looks at a stage, and runs it if it is not up to date. `told` hears the reasons before it runs.
pub fn stage(
    unit: &Unit,
    shared: &Shared,
    forced: bool,
    held: &Held,
    group: &Arc<AtomicU32>,
    told: impl FnOnce(&[Reason]),
) -> Result<Outcome> {
    if shared.rehearsal {
        return rehearse(unit, shared, held, group, told);
    }
    let home = &shared.homes[unit.home];
    let stage = &unit.stage;
    let entry = home.lock.lock().ok().and_then(|lock| lock.stage(&stage.name).map(Locked::node));
    let locked = entry.as_ref().map(Locked::of);
    let mut found = verdict::check(stage, locked, &shared.seen, home.cache.as_ref(), true)?;
    if !State::ever_ran(&home.folder, &stage.name) {
        found.of_a_fresh_clone(stage);
    }
    if home.state()?.was_cut_off(&stage.name) {
        found.reasons.insert(0, Reason::CutOff);
    }
    if forced {
        found.reasons.insert(0, Reason::Forced);
    }
    if found.is_fresh() {
        return Ok(Outcome::Unchanged);
    }
    if stage.frozen {
        return verify(unit, shared, found);
    }
    told(&found.reasons);
    refuse_missing(stage, &found)?;
    run(unit, shared, found, held, group)
}

fn run(unit: &Unit, shared: &Shared, found: Verdict, held: &Held, group: &Arc<AtomicU32>) -> Result<Outcome> {
    let home = &shared.homes[unit.home];
    let stage = &unit.stage;
    if !stage.wdir.is_dir() {
        let sentence = format!("`wdir` of stage `{}`: `{}` is no folder", unit.title, stage.wdir.display());
        return Err(missing(&stage.at, &sentence));
    }
    home.state()?.starting(&stage.name)?;
    for out in &stage.outs {
        if out.persist {
            // DVC may have linked it to its cache, which nobody writes into.
            cache::unprotect(&out.file)?;
        } else {
            remove(&out.file)?;
        }
    }
    let (begun, log, ended) = perform(unit, shared, &stage.commands, held, group)?;
    let mut cost = Cost { begun: Some(begun), wall: ended.wall, peak_bytes: ended.peak_bytes, ..Cost::of(&found) };
    if let Some((command, how)) = ended.failed {
        let sentence = format!("stage `{}` failed with {how}", unit.title);
        return Ok(Outcome::Failed(cost, Failure { sentence, command: Some(command), log: Some(log), hint: None }));
    }
    if let Some(missing) = keep(unit, shared, found, &mut cost)? {
        let sentence = format!("stage `{}` ended well but did not write `{missing}`", unit.title);
        return Ok(Outcome::Failed(cost, Failure { sentence, command: None, log: Some(log), hint: None }));
    }
    home.state()?.finished(&stage.name)?;
    Ok(Outcome::Ran(cost))
}

/// Runs a stage at its smallest. Its memory is held against what the pipeline gives it: an engine would end it there.
fn rehearse(
    unit: &Unit,
    shared: &Shared,
    held: &Held,
    group: &Arc<AtomicU32>,
    told: impl FnOnce(&[Reason]),
) -> Result<Outcome> {
    let stage = &unit.stage;
    told(&[Reason::Rehearsed]);
    let (begun, log, ended) = perform(unit, shared, stage.commands_in_a_rehearsal(), held, group)?;
    let mut cost = Cost { begun: Some(begun), wall: ended.wall, peak_bytes: ended.peak_bytes, ..Cost::default() };
    let failed = |cost, sentence, command, hint| {
        Ok(Outcome::Failed(cost, Failure { sentence, command, log: Some(log.clone()), hint }))
    };
    if let Some((command, how)) = ended.failed {
        return failed(cost, format!("stage `{}` failed with {how}", unit.title), Some(command), None);
    }
    if let Some(out) = stage.outs.iter().find(|out| !out.file.exists()) {
        let sentence = format!("stage `{}` ended well but did not write `{}`", unit.title, out.path);
        return failed(cost, sentence, None, None);
    }
    cost.outs = stage.outs.iter().map(|out| (out.path.clone(), bytes(&out.file))).collect();
    let (most, peak) = (stage.needs.mem_mb, cost.peak_bytes);
    if most > 0 && peak > most * 1_000_000 {
        let sentence =
            format!("stage `{}` took {} MB, its `meta.mem_mb` gives it {most} MB", unit.title, peak / 1_000_000);
        let hint =
            format!("state more: `mem_mb: {}`; an engine that reads it would have ended the stage", peak / 900_000);
        return failed(cost, sentence, None, Some(hint));
    }
    Ok(Outcome::Ran(cost))
}

/// Runs commands as a stage's; gives when they began, their log, and how they ended.
fn perform(
    unit: &Unit,
    shared: &Shared,
    commands: &[String],
    held: &Held,
    group: &Arc<AtomicU32>,
) -> Result<(Instant, PathBuf, process::Ended)> {
    let home = &shared.homes[unit.home];
    let stage = &unit.stage;
    let log = home.state()?.log(&stage.name);
    let mut variables = vec![
        (RUN_VARIABLE.to_string(), shared.run.clone()),
        ("DVC_STAGE".to_string(), stage.name.clone()),
        ("DVC_ROOT".to_string(), repository(&home.folder).display().to_string()),
    ];
    variables.extend(shared.path.iter().map(|path| ("PATH".to_string(), path.clone())));
    // Stated threads are part of what a stage computes: sums depend on their number. In a rehearsal nobody reads those, and
    // threads that wait for each other on fewer cores are slow.
    let threads = if shared.rehearsal { stage.needs.threads.min(held.cores) } else { stage.needs.threads };
    variables.extend((threads > 0).then(|| ("OMP_NUM_THREADS".to_string(), threads.to_string())));
    variables.extend(held.visible_gpus.iter().map(|gpus| ("CUDA_VISIBLE_DEVICES".to_string(), gpus.clone())));
    let around = Surroundings { wdir: &stage.wdir, log: &log, variables, watch: &shared.watch, group };
    let begun = Instant::now();
    let ended = process::run(commands, &around)?;
    Ok((begun, log, ended))
}

/// A frozen stage is never run: what lies there counts as what it wrote, as in DVC.
fn verify(unit: &Unit, shared: &Shared, found: Verdict) -> Result<Outcome> {
    let mut cost = Cost::of(&found);
    if let Some(missing) = keep(unit, shared, found, &mut cost)? {
        let sentence = format!("stage `{}` is frozen, and its out `{missing}` does not exist", unit.title);
        let hint = format!("bring `{missing}` back, or remove `frozen: true` to let the stage run");
        return Ok(Outcome::Failed(cost, Failure { sentence, command: None, log: None, hint: Some(hint) }));
    }
    Ok(Outcome::Verified(cost))
}

/// Takes the outs of a stage into cache and lock. Gives the first out that is not there; then nothing is kept.
fn keep(unit: &Unit, shared: &Shared, found: Verdict, cost: &mut Cost) -> Result<Option<String>> {
    let home = &shared.homes[unit.home];
    let stage = &unit.stage;
    let mut outs: Vec<(&Out, Content)> = Vec::new();
    for out in &stage.outs {
        match hash::content(&out.file, &shared.seen)? {
            Some(content) => outs.push((out, content)),
            None => return Ok(Some(out.path.clone())),
        }
    }
    for (out, content) in &outs {
        if let Some(cache) = home.cache.as_ref().filter(|_| out.cache) {
            cache.keep(&out.file, content, &shared.seen)?;
            if let Some(root) = &home.repository {
                gitignore::add(&out.file, root)?;
            }
        }
        cost.outs.push((out.path.clone(), content.size));
    }
    let deps = stage.deps.iter().zip(&found.deps);
    let entry = Entry {
        cmd: &stage.cmd,
        // Taken before the run: a dep that changed meanwhile makes the stage stale, as it should.
        deps: deps.filter_map(|(dep, content)| Some((dep.path.as_str(), content.as_ref()?))).collect(),
        params: stage.params.iter().map(|p| p.path.as_str()).zip(found.params).collect(),
        outs: outs.iter().map(|(out, content)| (out.path.as_str(), content)).collect(),
    };
    let entry: Node = entry.node();
    let Ok(mut lock) = home.lock.lock() else { return Err(Error::failed("another thread failed")) };
    let dvc = home.repository.as_ref().map(|root| root.join(".dvc"));
    lock.record(&stage.name, entry, dvc.as_deref())?;
    Ok(None)
}

/// Deps and parameters have to be there once everything upstream has run.
fn refuse_missing(stage: &Stage, found: &Verdict) -> Result<()> {
    for (dep, content) in stage.deps.iter().zip(&found.deps) {
        if content.is_none() {
            return Err(missing(
                &dep.at,
                &format!("stage `{}` reads `{}`, which does not exist", stage.name, dep.path),
            ));
        }
    }
    for (params, values) in stage.params.iter().zip(&found.params) {
        if !params.file.is_file() {
            let sentence = format!("stage `{}` reads `{}`, which does not exist", stage.name, params.path);
            return Err(missing(&params.at, &sentence));
        }
        let known: HashMap<&str, ()> = values.iter().map(|(key, _)| (key.as_str(), ())).collect();
        if let Some((key, at)) = params.keys.iter().find(|(key, _)| !known.contains_key(key.as_str())) {
            return Err(missing(at, &format!("`{}` has no parameter `{key}`", params.path)));
        }
    }
    Ok(())
}

/// An input that is not there, with the place where the pipeline names it.
pub fn missing(at: &crate::run_pipeline::declare::tree::Mark, sentence: &str) -> Error {
    Error::input(at.to_string(), sentence)
}

/// Removes a file or folder, if there is one.
fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.map_err(|e| Error::io("removing", path, e))
}

/// The repository that a folder lies in; the folder itself outside of one.
fn repository(folder: &Path) -> &Path {
    folder.ancestors().find(|f| f.join(".dvc").is_dir() || f.join(".git").exists()).unwrap_or(folder)
}

/// Bytes of a file, or of all files below a folder.
pub fn bytes(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else { return 0 };
    if about.is_symlink() {
        // What a link leads to takes no room here, but is read.
        return fs::metadata(path).map_or(0, |about| if about.is_file() { about.len() } else { 0 });
    }
    if !about.is_dir() {
        return about.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| bytes(&entry.path())).sum()
}
