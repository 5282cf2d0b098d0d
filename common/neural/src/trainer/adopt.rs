//! Taking up a run from a checkpoint that was named, `--resume PATH`.
//!
//! What the run's own folder held belongs to a run that went another way. So the named checkpoint becomes the folder's
//! `last`, with the best ones that its state speaks of, and later checkpoints of the other way go. `adopted.json` says
//! from where the folder's checkpoints descend: the same command given again, or one with `--resume auto`, continues
//! where the adopted run was stopped, also where it was stopped in the middle of this.

use std::io::Read;
use std::path::{Path, PathBuf};

use common::durable;
use common::scalars::{CSV, EVENTS, JSONL, Positions};
use common::{Error, Result};
use serde::{Deserialize, Serialize};

use super::files::{BEST, LAST, demand_own, newest};
use super::state::State;
use crate::checkpoint::{self, Checkpoints, Found, Label};

/// Name of the record in the folder of all checkpoints.
const FILE: &str = "adopted.json";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Adopted {
    /// The checkpoint that was named.
    folder: PathBuf,
    /// Hash of its commit record, and so of all its files.
    blake3: String,
    /// Whether the folder holds what follows from it, and nothing else.
    complete: bool,
}

fn read(checkpoints: &Checkpoints) -> Option<Adopted> {
    // A record that cannot be read is none: the checkpoint is adopted again.
    serde_json::from_slice(&std::fs::read(checkpoints.path(FILE)).ok()?).ok()
}

fn write(checkpoints: &Checkpoints, adopted: &Adopted) -> Result<()> {
    let text = serde_json::to_vec_pretty(adopted).map_err(|e| Error::failed(format!("writing `{FILE}`: {e}")))?;
    durable::write(checkpoints.path(FILE), &text).map(drop)
}

/// The checkpoint whose adoption was not finished.
pub(super) fn unfinished(checkpoints: &Checkpoints) -> Result<Option<PathBuf>> {
    Ok(read(checkpoints).filter(|adopted| !adopted.complete).map(|adopted| adopted.folder))
}

/// A run that starts anew descends from nothing.
pub(super) fn forget(checkpoints: &Checkpoints) -> Result<()> {
    let path = checkpoints.path(FILE);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("removing", &path, e)),
        _ => Ok(()),
    }
}

/// The checkpoint to go on from where `folder` was named: the newest that descends from it, else it itself, adopted.
pub(super) fn adopt(checkpoints: &Checkpoints, folder: &Path, config_hash: &str) -> Result<Found> {
    let named = Found { manifest: checkpoint::verify(folder)?, folder: folder.to_path_buf() };
    demand_own(&named, config_hash, checkpoints)?;
    let folder = std::fs::canonicalize(folder).map_err(|e| Error::opening(folder, e))?;
    let blake3 = durable::hash_file(folder.join(checkpoint::MANIFEST))?.blake3;
    let mut adopted = Adopted { folder, blake3, complete: true };
    if read(checkpoints).is_some_and(|known| known.blake3 == adopted.blake3 && known.complete)
        && let Some(found) = newest(checkpoints)?
    {
        tracing::info!("continuing what was begun from `{}`: `{}`", named.folder.display(), found.folder.display());
        return Ok(found);
    }
    adopted.complete = false;
    write(checkpoints, &adopted)?;
    let state = State::read(&adopted.folder)?;
    let step = named.manifest.global_step;
    let last = copy(checkpoints, &named, LAST)?;
    // The best ones of that state: they lie beside the named one, here or in the folder of its run.
    let mut wanted: Vec<(&str, u64)> = state.kept.iter().map(|kept| (BEST, kept.global_step)).collect();
    wanted.extend(state.top.iter().map(|top| (top.name.as_str(), top.global_step)));
    for (name, at) in &wanted {
        let is_there =
            |folder: PathBuf| checkpoint::verify(&folder).ok().filter(|m| m.global_step == *at).map(|_| folder);
        if is_there(checkpoints.path(name)).is_some() {
            continue;
        }
        if let Some(beside) = adopted.folder.parent().and_then(|all| find_step(all, name, *at)) {
            copy(checkpoints, &beside, name)?;
        }
    }
    for name in checkpoints.names()? {
        let of_this_run = name == LAST || wanted.iter().any(|(wanted, _)| *wanted == name);
        let later = checkpoint::verify(&checkpoints.path(&name)).map_or(true, |m| m.global_step > step);
        let is_named = std::fs::canonicalize(checkpoints.path(&name)).is_ok_and(|path| path == adopted.folder);
        if (later || !of_this_run) && !is_named {
            checkpoints.discard(&name)?;
        }
    }
    copy_logs(&adopted.folder, checkpoints.folder(), &state.log)?;
    adopted.complete = true;
    write(checkpoints, &adopted)?;
    Ok(last)
}

/// The metric files as far as the checkpoint knows them, where they belong to another run.
fn copy_logs(checkpoint: &Path, all: &Path, log: &Positions) -> Result<()> {
    let (Some(theirs), Some(ours)) = (checkpoint.parent().and_then(Path::parent), all.parent()) else { return Ok(()) };
    if std::fs::canonicalize(ours).is_ok_and(|ours| ours == theirs) {
        return Ok(());
    }
    for (name, length) in [(JSONL, log.jsonl), (CSV, log.csv), (EVENTS, log.events)] {
        let source = theirs.join(name);
        if source.is_file() {
            let content = std::fs::File::open(&source).map_err(|e| Error::opening(&source, e))?;
            durable::write_with(ours.join(name), |out| std::io::copy(&mut content.take(length), out).map(drop))?;
        }
    }
    Ok(())
}

/// A checkpoint of `step` among those in a folder, if possible the one of that name.
fn find_step(all: &Path, name: &str, step: u64) -> Option<Found> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(all).ok()?.flatten().map(|entry| entry.path()).collect();
    folders.sort_by_key(|folder| (folder.file_name() != Some(name.as_ref()), folder.clone()));
    folders.into_iter().find_map(|folder| {
        let manifest = checkpoint::verify(&folder).ok().filter(|m| m.global_step == step)?;
        Some(Found { folder, manifest })
    })
}

/// Copies a checkpoint under `name`, at once.
fn copy(checkpoints: &Checkpoints, from: &Found, name: &str) -> Result<Found> {
    let target = checkpoints.path(name);
    let same = std::fs::canonicalize(&target).ok() == std::fs::canonicalize(&from.folder).ok();
    if !same {
        let manifest = &from.manifest;
        let label = Label {
            global_step: manifest.global_step,
            config_hash: manifest.config_hash.clone(),
            summary: manifest.summary.clone(),
        };
        checkpoints.save(name, label, |temporary| {
            manifest
                .files
                .keys()
                .map(|file| {
                    let source = from.folder.join(file);
                    let mut content = std::fs::File::open(&source).map_err(|e| Error::opening(&source, e))?;
                    durable::write_with(temporary.join(file), |out| std::io::copy(&mut content, out).map(drop))
                })
                .collect()
        })?;
    }
    Ok(Found { manifest: checkpoint::verify(&target)?, folder: target })
}
