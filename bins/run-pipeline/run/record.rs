//! What is kept of a run: `.podium/runs/TIME.json`, and the table that the user sees at its end.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Result, durable};
use serde::{Deserialize, Serialize};

use super::work::Outcome;

/// Records of earlier runs that are kept.
const KEPT: usize = 50;

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    pub pipeline: String,
    pub version: String,
    /// Seconds since 1970.
    pub started: u64,
    pub wall_s: f64,
    pub stages: Vec<StageRecord>,
}

/// One of its stages.
#[derive(Debug, Serialize, Deserialize)]
pub struct StageRecord {
    pub stage: String,
    /// `ran`, `unchanged`, `verified` (frozen: its outs were taken as they lie), `failed`,
    /// `interrupted`, or `not reached`.
    pub state: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// When its commands began, in seconds after the run did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_s: Option<f64>,
    pub wall_s: Option<f64>,
    /// Highest anonymous memory of the stage's processes together.
    pub peak_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outs: Vec<OutRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An output and its size.
#[derive(Debug, Serialize, Deserialize)]
pub struct OutRecord {
    pub path: String,
    pub bytes: u64,
}

impl StageRecord {
    /// The record of a stage of a run that began at `started`; no outcome: it was not reached.
    pub fn new(title: &str, outcome: Option<&Outcome>, started: Instant) -> Self {
        let (state, cost, error) = match outcome {
            None => ("not reached", None, None),
            Some(Outcome::Unchanged) => ("unchanged", None, None),
            Some(Outcome::Ran(cost)) => ("ran", Some(cost), None),
            Some(Outcome::Verified(cost)) => ("verified", Some(cost), None),
            Some(Outcome::Interrupted(cost)) => ("interrupted", Some(cost), None),
            Some(Outcome::Failed(cost, failure)) => ("failed", Some(cost), Some(failure.sentence.clone())),
        };
        let outs = cost.map(|c| c.outs.as_slice()).unwrap_or_default();
        Self {
            stage: title.into(),
            state: state.into(),
            reasons: cost.map(|c| c.reasons.clone()).unwrap_or_default(),
            start_s: cost.and_then(|c| c.begun).map(|begun| milliseconds(begun.duration_since(started))),
            wall_s: cost.map(|c| milliseconds(c.wall)),
            peak_bytes: cost.map(|c| c.peak_bytes),
            outs: outs.iter().map(|(path, bytes)| OutRecord { path: path.clone(), bytes: *bytes }).collect(),
            error,
        }
    }
}

impl Record {
    /// The records that a pipeline's folder keeps, oldest first; what is no record is an error.
    pub fn all(folder: &Path) -> Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(folder.join("runs")) else { return Ok(vec![]) };
        let mut files: Vec<_> =
            entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
        // The name begins with the second; of one second, the file that was written later.
        files.sort_by_cached_key(|path| {
            let second = path.file_name().unwrap_or_default().to_string_lossy().chars().take(12).collect::<String>();
            (second, fs::metadata(path).and_then(|m| m.modified()).ok())
        });
        let read = |path: &std::path::PathBuf| {
            let text = fs::read_to_string(path).map_err(|e| common::Error::opening(path, e))?;
            serde_json::from_str(&text).map_err(|e| common::Error::input(path, format!("is no record of a run: {e}")))
        };
        files.iter().map(read).collect()
    }

    /// Writes the record, and removes the oldest ones.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let runs = folder.join("runs");
        let text = self.json()? + "\n";
        durable::write(runs.join(format!("{:012}-{}.json", self.started, std::process::id())), text.as_bytes())?;
        let Ok(entries) = fs::read_dir(&runs) else { return Ok(()) };
        let mut files: Vec<_> = entries.flatten().map(|e| e.path()).collect();
        files.sort();
        for old in files.iter().take(files.len().saturating_sub(KEPT)) {
            let _ = fs::remove_file(old); // one record too many does no harm
        }
        Ok(())
    }

    /// As JSON.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|e| common::Error::failed(format!("run record: {e}")))
    }

    /// The last table: stage, state, time, memory, outputs. One line where nothing had to be done.
    pub fn table(&self) -> String {
        if self.stages.iter().all(|stage| stage.state == "unchanged") {
            return format!("nothing to run: all {} stages are up to date", self.stages.len());
        }
        let mut rows = vec![["stage", "state", "time", "memory", "outputs"].map(String::from)];
        for stage in &self.stages {
            let outs: Vec<String> = stage.outs.iter().map(|o| format!("{} ({})", o.path, size(o.bytes))).collect();
            rows.push([
                stage.stage.clone(),
                stage.state.clone(),
                stage.wall_s.map_or_else(|| "-".into(), seconds),
                stage.peak_bytes.filter(|b| *b > 0).map_or_else(|| "-".into(), size),
                if outs.is_empty() { "-".into() } else { outs.join(", ") },
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..4).map(width).collect();
        let mut text = String::new();
        for [stage, state, time, memory, outs] in &rows {
            let [a, b, c, d] = [widths[0], widths[1], widths[2], widths[3]];
            text += format!("{stage:a$}  {state:b$}  {time:>c$}  {memory:>d$}  {outs}").trim_end();
            text.push('\n');
        }
        text.trim_end().to_string()
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d: Duration| d.as_secs())
}

/// `0.42 s`, or `h:mm:ss` from a minute on.
pub fn seconds(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.2} s") } else { common::cli::progress::clock(seconds) }
}

/// `12 B`, `3.4 MB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit < 4 {
        value /= 1000.0;
        unit += 1;
    }
    let name = ["B", "kB", "MB", "GB", "TB"][unit];
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {name}") }
}
