//! Which events a data directory holds, and which of them validate.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::store::archive::{self, Archive};
use common::store::leftovers;
use common::{Error, Result};

/// Prefixes (`DIR/event000001000`) of all events: the directories in the given order, events sorted inside each. A
/// zip archive stands for the folders in it.
///
/// # Errors
/// [`Error::Input`] for a directory that is missing or holds no event, and for two events of one number.
pub fn events(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in folders {
        let names = names(folder)?;
        let (mut found, others): (Vec<_>, Vec<_>) =
            prefixes(&names, "hits").into_iter().partition(|prefix| super::event::number(prefix).is_ok());
        if let Some(first) = others.first() {
            tracing::warn!(
                "left out: {} events whose names end with no number, `{}` first: names are `event000001000`",
                others.len(),
                first.display()
            );
        }
        if found.is_empty() {
            return Err(nothing(folder));
        }
        let known = |prefix: &PathBuf| found.binary_search(prefix).is_ok() || others.contains(prefix);
        let mut lacking: Vec<_> = ["truth", "particles"].iter().flat_map(|part| prefixes(&names, part)).collect();
        lacking.sort();
        lacking.dedup();
        lacking.retain(|prefix| !known(prefix));
        if let Some(first) = lacking.first() {
            tracing::warn!(
                "left out: {} events that have truth or particles and no hits, `{}` first",
                lacking.len(),
                first.display()
            );
        }
        all.append(&mut found);
    }
    refuse_twice(&all)?;
    Ok(all)
}

/// Events are known by their number alone in submissions and caches, so two of one number would become one.
fn refuse_twice(events: &[PathBuf]) -> Result<()> {
    let mut first: HashMap<String, &PathBuf> = HashMap::new();
    for event in events {
        let name = event.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let digits = name.strip_prefix("event").unwrap_or(&name);
        let number = digits.parse::<u64>().map_or_else(|_| name.clone(), |number| number.to_string());
        if let Some(other) = first.insert(number, event) {
            let problem = format!("is another event of the number of `{}`", other.display());
            return Err(Error::input(event, problem)
                .hint("give its files another number, or prepare and predict the two folders one by one"));
        }
    }
    Ok(())
}

/// Prefixes of the events among files that have the part `part` (`hits`, `truth`), each once, sorted.
///
/// Differs: the original finds no event among compressed files.
pub fn prefixes(names: &[PathBuf], part: &str) -> Vec<PathBuf> {
    let ends = ENDS.map(|end| format!("-{part}{end}"));
    let mut found: Vec<PathBuf> = names
        .iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let prefix = ends.iter().find_map(|end| name.strip_suffix(end.as_str()))?;
            prefix.starts_with("event").then(|| path.with_file_name(prefix))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// How the files of an event end: plain, gzip, or a zip of one file.
pub const ENDS: [&str; 3] = [".csv", ".csv.gz", ".csv.zip"];

/// Whether a file is one of an event, by its name.
fn is_part(name: &str) -> bool {
    name.starts_with("event") && ENDS.iter().any(|end| name.ends_with(end))
}

/// The files of a folder, or of all folders of a zip archive.
///
/// # Errors
/// [`Error::Input`] for what is neither, with a word on unpacking where it is another archive.
pub fn names(folder: &Path) -> Result<Vec<PathBuf>> {
    if let Some((file, inside)) = archive::within(folder) {
        let archive = Archive::shared(&file)?;
        let shown = archive.files().filter(|name| !name.split('/').any(leftovers::hidden));
        let names = shown.map(|name| file.join(name));
        return Ok(names.filter(|path| inside.is_empty() || path.starts_with(folder)).collect());
    }
    if folder.is_file() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let packed = [".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".gz", ".bz2", ".xz"];
        return Err(match packed.iter().any(|end| name.ends_with(end)) {
            true => {
                Error::input(folder, "is an archive of a form that is not read, expected a folder or a zip archive")
                    .hint("unpack it, and give the folder")
            }
            false => Error::input(folder, "is a file, expected a folder of events or a zip archive of it"),
        });
    }
    leftovers::data_files(folder, is_part)
}

/// What is said of a folder without events: what is in it instead, where that leads on.
fn nothing(folder: &Path) -> Error {
    let error = Error::input(folder, "holds no `event*-hits.csv`, nor the same with `.gz`");
    let mut inside: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    inside.sort();
    let holds = |path: &PathBuf| names(path).is_ok_and(|names| !prefixes(&names, "hits").is_empty());
    let better: Vec<String> =
        inside.iter().take(64).filter(|p| holds(p)).map(|p| format!("`{}`", p.display())).collect();
    if better.is_empty() {
        return error.hint(
            "expected is a folder of TrackML: `event000001000-{hits,particles,truth}.csv` and so on; the data set is \
             published as `TrackML Particle Tracking Challenge`",
        );
    }
    error.hint(format!("events lie in {}", better.join(", ")))
}

/// Refuses events of equal numbers: where a file names events by their numbers alone they could not be told apart.
///
/// # Errors
/// [`Error::Input`] with the event and both folders.
pub fn demand_distinct(events: &[PathBuf]) -> Result<()> {
    let mut seen: HashMap<i64, &PathBuf> = HashMap::new();
    for prefix in events {
        let number = super::event::number(prefix)?;
        if let Some(before) = seen.insert(number, prefix) {
            let problem =
                format!("is the event {number}, as is `{}`: a submission names events by number", before.display());
            return Err(Error::input(prefix, problem).hint("take the folders one by one"));
        }
    }
    Ok(())
}

/// Number of files that validate: the first ones, trunc(n * fraction) in f64.
pub fn validation(files: usize, fraction: f64) -> usize {
    ((files as f64 * fraction).trunc() as usize).min(files)
}

/// Splits events into (training, validation) as published: the first ones validate.
///
/// # Errors
/// [`Error::Usage`] where either part is empty: a run without validation has nothing to choose its weights by.
pub fn split(events: &[PathBuf], fraction: f64) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let n = validation(events.len(), fraction);
    if n == 0 || n == events.len() {
        let part = if n == 0 { "validation" } else { "training" };
        let needed = if fraction > 0.0 { (1.0 / fraction).ceil() as usize } else { 0 };
        let hint = match part {
            "validation" if fraction > 0.0 && events.len() > 1 => format!(
                "with {fraction} at least {needed} events are needed; for {} events choose `validation_split={:.2}`",
                events.len(),
                (1.0 / events.len() as f64 * 100.0).ceil() / 100.0
            ),
            _ => "choose `validation_split` between 0 and 1, with two events at least; `only_validation=true` prepares events \
                  that a trained network is measured on"
                .to_string(),
        };
        return Err(Error::usage(format!(
            "`validation_split` is {fraction}, which leaves no {part} event of {}",
            events.len()
        ))
        .hint(hint));
    }
    Ok((events[n..].to_vec(), events[..n].to_vec()))
}
