//! `--estimate`: what a run would take before anything runs: inputs that are there, bytes that would be written, memory, time.
//!
//! Figures are those of the last run here that wrote the same outs. Where there was none, what the pipeline states
//! (`meta.mem_mb`, `meta.runtime`, `meta.disk_mb`) stands in as a bound, and what nobody knows is said to be unknown, never taken
//! for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::{Error, Result};
use serde::Serialize;

use super::plan::Planned;
use crate::run_pipeline::declare::needs::Needs;
use crate::run_pipeline::doctor::machine;
use crate::run_pipeline::graph::{Project, Unit};
use crate::run_pipeline::run::record::{Record, StageRecord, seconds, size};
use crate::run_pipeline::run::resources::memory_mb;
use crate::run_pipeline::run::work::bytes;
use crate::run_pipeline::state;

/// What a stage would take.
#[derive(Debug, Serialize)]
pub struct Estimate {
    stage: String,
    /// As in the plan: `run`, `maybe`, `unchanged`, ..
    state: &'static str,
    /// Files and folders that it reads and that are there, of all that it reads.
    inputs: [usize; 2],
    /// Bytes of those that are there.
    input_bytes: u64,
    /// Seconds that it took last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    /// Seconds that the pipeline allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_at_most: Option<f64>,
    /// Highest memory that it had last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    /// Memory that the pipeline gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_at_most: Option<u64>,
    /// Bytes that it wrote last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    writes: Option<u64>,
    /// Bytes that the pipeline says it writes at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    writes_at_most: Option<u64>,
    /// Bytes of its outs that lie there now, and make room.
    there: u64,
}

/// The disk that outs go to.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// A folder on it.
    folder: PathBuf,
    free: u64,
    /// Bytes that would be written beyond those that lie there.
    needed: u64,
}

/// What all stages would take.
#[derive(Debug, Serialize)]
pub struct Estimates {
    stages: Vec<Estimate>,
    /// Seconds one after another, and along the longest chain of stages that wait for each other.
    seconds: f64,
    seconds_longest_chain: f64,
    /// Stages that would run and of which no run is recorded here.
    without_record: usize,
    /// Those among them whose bytes are bounds of the pipeline.
    bounded: usize,
    memory: u64,
    memory_of_machine: u64,
    disks: Vec<Disk>,
}

/// Looks at all stages of a plan. Nothing is written.
///
/// # Errors
/// Those of reading the records of earlier runs.
pub fn estimate(project: &Project, planned: &[Planned]) -> Result<Estimates> {
    let asked = records(project)?;
    let mut stages = Vec::new();
    let mut disks: BTreeMap<u64, Disk> = BTreeMap::new();
    let mut until = vec![0.0f64; planned.len()];
    for (index, (unit, plan)) in project.units.iter().zip(planned).enumerate() {
        let last = last(unit, &asked);
        let Needs { mem_mb, runtime_min, disk_mb, .. } = unit.stage.needs;
        let read: Vec<&Path> = unit.stage.deps.iter().map(|dep| dep.file.as_path()).collect();
        let there: Vec<&&Path> = read.iter().filter(|path| path.exists()).collect();
        let estimate = Estimate {
            stage: plan.stage.clone(),
            state: plan.state,
            inputs: [there.len(), read.len()],
            input_bytes: there.iter().map(|path| bytes(path)).sum(),
            seconds: last.and_then(|stage| stage.wall_s),
            seconds_at_most: Some(60.0 * runtime_min as f64).filter(|seconds| *seconds > 0.0),
            memory: last.and_then(|stage| stage.peak_bytes).filter(|bytes| *bytes > 0),
            memory_at_most: Some(mem_mb * 1_000_000).filter(|bytes| *bytes > 0),
            writes: last.map(|stage| stage.outs.iter().map(|out| out.bytes).sum()),
            writes_at_most: Some(disk_mb * 1_000_000).filter(|bytes| *bytes > 0),
            there: unit.stage.outs.iter().map(|out| bytes(&out.file)).sum(),
        };
        let own = if estimate.runs() { estimate.seconds.unwrap_or(0.0) } else { 0.0 };
        until[index] = own + unit.upstream.iter().map(|&up| until[up]).fold(0.0, f64::max);
        if estimate.runs() {
            // The outs of a stage lie on one disk but in odd cases; the first tells which.
            let folder = unit.stage.outs.first().map_or(unit.stage.wdir.as_path(), |out| out.file.as_path());
            let folder = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
            let device = fs::metadata(folder).map_or(0, |about| about.dev());
            let disk = disks.entry(device).or_insert_with(|| Disk {
                folder: folder.to_path_buf(),
                free: machine::free_on_disk(folder).unwrap_or(u64::MAX),
                needed: 0,
            });
            let writes = estimate.writes.or(estimate.writes_at_most).unwrap_or(0);
            disk.needed += writes.saturating_sub(estimate.there);
        }
        stages.push(estimate);
    }
    let running = || stages.iter().filter(|stage| stage.runs());
    Ok(Estimates {
        // The sum of no numbers would be minus zero.
        seconds: running().filter_map(|stage| stage.seconds).fold(0.0, |all, own| all + own),
        seconds_longest_chain: until.iter().copied().fold(0.0, f64::max),
        without_record: running().filter(|stage| stage.writes.is_none()).count(),
        bounded: running().filter(|stage| stage.writes.is_none() && stage.writes_at_most.is_some()).count(),
        memory: running().filter_map(|stage| stage.memory.or(stage.memory_at_most)).max().unwrap_or(0),
        memory_of_machine: memory_mb() * 1_000_000,
        disks: disks.into_values().collect(),
        stages,
    })
}

/// Records of all pipelines of a project, the newest last.
pub fn records(project: &Project) -> Result<Vec<Record>> {
    let records = project.homes.iter().map(|home| Record::all(&home.folder.join(state::FOLDER)));
    let mut records: Vec<Record> = records.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    records.sort_by_key(|record| record.started);
    Ok(records)
}

/// The last run of a stage that wrote what it writes now: another size of a pipeline has outs of its own.
pub fn last<'a>(unit: &Unit, records: &'a [Record]) -> Option<&'a StageRecord> {
    let outs: BTreeSet<&str> = unit.stage.outs.iter().map(|out| out.path.as_str()).collect();
    let is_it = |stage: &&StageRecord| {
        // A stage that was run from another pipeline bears that pipeline's title in its records.
        let same = stage.stage == unit.title || stage.stage.rsplit(':').next() == Some(&unit.stage.name);
        stage.state == "ran" && same && stage.outs.iter().map(|out| out.path.as_str()).collect::<BTreeSet<_>>() == outs
    };
    records.iter().rev().find_map(|record| record.stages.iter().find(is_it))
}

impl Estimate {
    fn runs(&self) -> bool {
        matches!(self.state, "run" | "maybe" | "blocked")
    }
}

impl Estimates {
    /// As a table, with the sums below it.
    pub fn text(&self) -> String {
        let mut rows = vec![["stage", "", "inputs", "read", "time", "memory", "writes"].map(String::from)];
        let bound = |known: Option<String>, most: Option<String>| match (known, most) {
            (Some(known), _) => known,
            (None, Some(most)) => format!("<= {most}"),
            (None, None) => "?".into(),
        };
        for stage in &self.stages {
            let [there, all] = stage.inputs;
            let cells = match stage.runs() {
                true => [
                    bound(stage.seconds.map(seconds), stage.seconds_at_most.map(seconds)),
                    bound(stage.memory.map(size), stage.memory_at_most.map(size)),
                    bound(stage.writes.map(size), stage.writes_at_most.map(size)),
                ],
                false => ["-", "-", "-"].map(String::from),
            };
            let [time, memory, writes] = cells;
            let state = match stage.state {
                "run" => "would run",
                "maybe" => "may run",
                "blocked" => "cannot run",
                other => other,
            };
            let read = size(stage.input_bytes);
            rows.push([stage.stage.clone(), state.into(), format!("{there} of {all}"), read, time, memory, writes]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..7).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let cells = row.iter().enumerate().map(|(i, cell)| match i {
                0 | 1 => format!("{cell:0$}", widths[i]),
                _ => format!("{cell:>0$}", widths[i]),
            });
            text += cells.collect::<Vec<_>>().join("  ").trim_end();
            text.push('\n');
        }
        let running = self.stages.iter().filter(|stage| stage.runs()).count();
        if running == 0 {
            return text + &format!("\nnothing to run: all {} stages are up to date", self.stages.len());
        }
        text += &format!(
            "\n{running} of {} stages would run: {} one after another, {} along the longest chain; memory up to {} of {}\n",
            self.stages.len(),
            seconds(self.seconds),
            seconds(self.seconds_longest_chain),
            size(self.memory),
            size(self.memory_of_machine)
        );
        for disk in &self.disks {
            text += &format!(
                "{} to be written below {}, {} free\n",
                size(disk.needed),
                disk.folder.display(),
                size(disk.free)
            );
        }
        if self.without_record > 0 {
            let bytes = match self.bounded {
                0 => "and bytes are not in the sums".to_string(),
                n if n == self.without_record => {
                    "is not in the sums, their bytes are what the pipeline allows".to_string()
                }
                n => format!("is not in the sums, nor are the bytes of {}", self.without_record - n),
            };
            text += &format!("{} of them never ran here with these outs: their time {bytes}\n", self.without_record);
        }
        text.trim_end().to_string()
    }

    /// Refuses a run that no disk could hold.
    ///
    /// # Errors
    /// [`Error::Failed`] naming the disk, what is free and what is needed.
    pub fn demand_room(&self) -> Result<()> {
        match self.disks.iter().find(|disk| disk.needed > disk.free) {
            None => Ok(()),
            Some(disk) => Err(Error::failed(format!(
                "`{}`: {} would be written, {} are free",
                disk.folder.display(),
                size(disk.needed),
                size(disk.free)
            ))
            .hint("free some room, or put the folder on another disk; `--until STAGE` runs a part")),
        }
    }
}
