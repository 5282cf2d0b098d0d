//! Which events a data directory holds, and which of them validate.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Prefixes (`DIR/event000001000`) of all events: the directories in the given order, events sorted inside each. As
/// published, a hits file that is compressed does not name an event, unless none is plain.
///
/// # Errors
/// [`Error::Input`] for a directory that is missing or holds no event, and for two events of one number.
pub fn events(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in folders {
        let mut found = named(folder, "-hits.csv")?;
        if found.is_empty() {
            // Differs: the original finds no event among compressed files.
            found = named(folder, "-hits.csv.gz")?;
        }
        if found.is_empty() {
            return Err(Error::input(folder, "holds no `event*-hits.csv`, nor the same with `.gz`").hint(
                "expected is a folder of TrackML: `event000001000-{hits,particles,truth}.csv` and so on; the data set \
                 is published as `TrackML Particle Tracking Challenge`",
            ));
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

fn named(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::opening(folder, e))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter_map(|e| {
            let name = e.file_name().to_string_lossy().into_owned();
            let prefix = name.strip_suffix(end)?;
            prefix.starts_with("event").then(|| folder.join(prefix))
        })
        .collect();
    found.sort();
    Ok(found)
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
