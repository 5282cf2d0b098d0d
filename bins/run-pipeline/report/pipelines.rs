//! What a pipeline did: its stages over time, their memory, what was up to date, and its earlier runs.

use std::path::{Path, PathBuf};

use common::Result;
use common::stage::MANIFEST;
use report::{Axis, Bar, Chart, Figure, Page, Series, Table};

use super::runs::Run;
use crate::run_pipeline::run::record::{Record, StageRecord, seconds, size};
use crate::run_pipeline::state;

/// Folders that are looked for outs: the pipeline's and those above it.
const LEVELS: usize = 4;

/// A pipeline with the records that its folder keeps.
pub struct Pipeline {
    /// Its folder, absolute.
    folder: PathBuf,
    /// The folder's name.
    pub name: String,
    /// Oldest first.
    records: Vec<Record>,
}

impl Pipeline {
    /// Reads the records.
    ///
    /// # Errors
    /// For a record that is none.
    pub fn read(folder: &Path) -> Result<Self> {
        let records = Record::all(&folder.join(state::FOLDER))?;
        let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
        let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { folder: whole, name, records })
    }

    /// Finished trainings and scores among the outs of all records, in the order of the stages.
    ///
    /// # Errors
    /// Those of reading their manifests.
    pub fn runs(&self) -> Result<Vec<Run>> {
        let mut seen: Vec<PathBuf> = vec![];
        for out in self.records.iter().rev().flat_map(|record| &record.stages).flat_map(|stage| &stage.outs) {
            // Outs are written as seen from the stage's `wdir`, which is the pipeline's folder or one above it.
            let places = self.folder.ancestors().map(|above| above.join(&out.path));
            let found = places.take(LEVELS).find(|path| path.join(MANIFEST).is_file());
            if let Some(path) = found.filter(|path| !seen.contains(path)) {
                seen.push(path);
            }
        }
        let runs = seen.iter().map(|path| Run::read(path)).collect::<Result<Vec<_>>>()?;
        let shown =
            |run: &Run| ["train-model", "finetune-group", "score", "hill-climb"].contains(&&*run.manifest.stage);
        Ok(runs.into_iter().filter(shown).collect())
    }

    /// Puts the last run, and the ones before, onto a page.
    pub fn show(&self, page: &mut Page, several: bool) {
        let called = |what: &str| if several { format!("{}: {what}", self.name) } else { what.to_string() };
        page.section(called("Pipeline"));
        let Some(last) = self.records.last() else {
            page.text("No run of this pipeline is recorded: all its stages were up to date, or it never ran here.");
            return;
        };
        let count = |state: &str| last.stages.iter().filter(|stage| stage.state == state).count();
        let kept = count("unchanged") + count("verified");
        let busy: f64 = last.stages.iter().filter_map(|stage| stage.wall_s).sum();
        page.figure(Figure::text(called("time"), seconds(last.wall_s)).note(format!("{} of stages", seconds(busy))));
        let ended = format!("{kept} up to date, {} failed", count("failed") + count("interrupted"));
        page.figure(
            Figure::text(called("stages that ran"), format!("{} of {}", count("ran"), last.stages.len())).note(ended),
        );
        if let Some(most) = last.stages.iter().filter_map(|stage| stage.peak_bytes).max() {
            page.figure(Figure::text(called("most memory of a stage"), size(most)));
        }
        page.chart(self.gantt(last));
        let memory = last.stages.iter().filter(|stage| stage.peak_bytes.is_some_and(|bytes| bytes > 0));
        let memory: Vec<(&StageRecord, f64)> =
            memory.map(|stage| (stage, stage.peak_bytes.unwrap_or(0) as f64 / 1e6)).collect();
        let names = memory.iter().map(|(stage, _)| stage.stage.clone());
        let chart = Chart::profile(
            called("Memory of the stages"),
            Axis::new("MB at its peak"),
            Axis::new("").names(names).reversed(),
        );
        page.chart(
            chart.with(Series::bars("memory", memory.iter().enumerate().map(|(i, (_, mb))| (*mb, i as f64)).collect())),
        );
        let walls = self.records.iter().enumerate().map(|(i, record)| (i as f64 + 1.0, record.wall_s)).collect();
        let notes = self.records.iter().map(|record| {
            let ran = record.stages.iter().filter(|stage| stage.state == "ran").count();
            format!("{ran} of {} stages ran", record.stages.len())
        });
        if self.records.len() > 1 {
            let chart =
                Chart::lines(called("Runs of this pipeline"), Axis::new("recorded run"), Axis::new("time").seconds());
            page.chart(chart.with(Series::line("time", walls).notes(notes.collect())));
        }
        page.table(table(last));
    }

    fn gantt(&self, record: &Record) -> Chart {
        // Records of earlier versions do not know when a stage began: one after the other is what they say at most.
        let known = record
            .stages
            .iter()
            .all(|stage| stage.wall_s.is_none() || stage.start_s.is_some() || stage.state == "verified");
        let mut clock = 0.0;
        let bars = record.stages.iter().map(|stage| {
            let from = if known { stage.start_s.unwrap_or(0.0) } else { clock };
            let to = from + stage.wall_s.unwrap_or(0.0);
            clock = to;
            let state = match stage.state.as_str() {
                "unchanged" | "verified" => "up to date",
                other => other,
            };
            let mut note: Vec<String> = stage.reasons.clone();
            note.extend(stage.peak_bytes.filter(|bytes| *bytes > 0).map(|bytes| format!("memory {}", size(bytes))));
            note.extend(stage.error.clone());
            Bar { row: stage.stage.clone(), from, to, state: state.into(), note: note.join("\n") }
        });
        let chart = Chart::gantt(
            format!("Stages of {}", self.name),
            Axis::new("time since the run began").seconds(),
            bars.collect(),
        );
        if known { chart } else { chart.note("the record does not say when stages began: drawn one after the other") }
    }
}

fn table(record: &Record) -> Table {
    let mut table =
        Table::new("Stages", ["stage", "state", "began (s)", "time (s)", "memory (MB)", "outputs", "why it ran"]);
    for stage in &record.stages {
        let outs: Vec<String> = stage.outs.iter().map(|out| format!("{} ({})", out.path, size(out.bytes))).collect();
        table.row([
            stage.stage.clone(),
            stage.state.clone(),
            stage.start_s.map_or("-".into(), report::number),
            stage.wall_s.map_or("-".into(), report::number),
            stage.peak_bytes.map_or("-".into(), |bytes| report::number((bytes as f64 / 1e6).round())),
            outs.join(", "),
            stage.reasons.join("; "),
        ]);
    }
    table
}
