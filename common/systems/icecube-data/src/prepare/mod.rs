//! `prepare-data icecube`: pulse files to the memory-mapped event store that networks read (sections 2 and 3).
//!
//! File by file: ids are scanned, directions joined and checked against their row ranges, pulses encoded slice by slice.
//! Memory does not grow with the number of files. A run that was killed goes on with the file that it stopped in.

pub mod config;
pub mod scan;
pub mod store;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::cli::progress::Bar;
use common::cli::signals;
use common::durable::Written;
use common::journal::{self, Finished, Journal};
use common::ordered::ordered;
use common::stage::Stage;
use common::store::tables::{ParquetFile, read_parquet};
use common::store::tensors::TensorFile;
use common::{Error, Result};

use config::Files;
pub use config::PrepareConfig;
use scan::Scan;
pub use task::Prepare;

use crate::nevents::{self, Counts, Nevents};
use crate::raw::{self, PulseFile, RawFolder};
use crate::sensors::Sensors;

/// What an interrupted run says.
pub(crate) const SAVED: &str = "finished files are kept; the same command goes on from there";

/// What is asked for on the command line beside the config.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// CPU threads.
    pub threads: usize,
    /// Only the first so many files of each part.
    pub limit: Option<u64>,
    /// Forget what an unfinished run left in the folder.
    pub fresh: bool,
}

/// Everything found and checked, nothing written: what a run will do.
#[derive(Debug)]
pub struct Sources {
    folder: RawFolder,
    sensors: Sensors,
    files: Vec<(&'static str, PulseFile)>,
}

/// Figures of a finished run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Events of training files.
    pub train_events: u64,
    /// Events of test files.
    pub test_events: u64,
    /// Pulses of all files.
    pub pulses: u64,
    /// Files kept from an earlier run.
    pub kept: usize,
    /// Events of meta files that have no pulse and are left out.
    pub empty: u64,
}

impl Sources {
    /// Looks for all raw files that the config asks for.
    pub fn find(config: &PrepareConfig, options: &Options) -> Result<Self> {
        let root = config.raw.folder.as_deref().ok_or_else(|| {
            Error::usage("`raw.folder` is not set, so there are no files to read")
                .hint("add `--raw FOLDER`, the competition's data folder, or `--from` a simulate-data stage")
        })?;
        let folder = RawFolder::open(root)?;
        let sensors = Sensors::read(&folder.file(raw::GEOMETRY), &folder.file(raw::ICE))?;
        let limit = options.limit.map_or(usize::MAX, |n| n as usize);
        let mut files = Vec::new();
        for (part, wanted) in [("train", &config.train), ("test", &config.test)] {
            let Some(wanted) = wanted else { continue };
            let found = if part == "train" { folder.train()? } else { folder.test()? };
            let chosen = chosen(part, &folder, wanted, found)?;
            files.extend(chosen.into_iter().take(limit).map(|file| (part, file)));
        }
        Ok(Self { folder, sensors, files })
    }

    /// One line a file.
    pub fn describe(&self) -> Vec<String> {
        self.files.iter().map(|(part, file)| format!("{part}: {}", file.path.display())).collect()
    }
}

fn chosen(part: &str, folder: &RawFolder, wanted: &Files, found: Vec<PulseFile>) -> Result<Vec<PulseFile>> {
    let Files::Named(names) = wanted else { return Ok(found) };
    if let Some(missing) = names.iter().find(|name| !found.iter().any(|file| file.name == **name)) {
        return Err(Error::input(folder.file(part), format!("has no `{missing}`, which `{part}.named` asks for"))
            .hint("names end in `.parquet`: `batch_1.parquet`"));
    }
    Ok(found.into_iter().filter(|file| names.contains(&file.name)).collect())
}

/// Prepares everything the config asks for into the stage's folder.
pub fn run(options: &Options, sources: &Sources, stage: &mut Stage) -> Result<Report> {
    let folder = stage.folder().to_path_buf();
    let journal = Journal::open(&folder, options.fresh)?;
    let bar = Bar::new("prepare", sources.files.len() as u64);
    let mut report = Report::default();
    let mut counts = Nevents::new();
    ordered(
        sources.files.len(),
        options.threads,
        options.threads,
        |i| {
            let (part, file) = &sources.files[i];
            let from = raw_files(&journal, part, file, &sources.sensors)?;
            if let Some(finished) = journal.kept(&set(part, file), &from.key) {
                return Ok((from, finished, true));
            }
            let finished = prepare(&folder, &sources.sensors, part, file, from.key.clone())?;
            journal.demand_unchanged(&from)?;
            Ok((from, finished, false))
        },
        |i, (from, finished, kept)| {
            signals::check(SAVED)?;
            let (part, file) = &sources.files[i];
            report.kept += usize::from(kept);
            if !kept {
                journal.record(&set(part, file), finished.clone())?;
            }
            from.note(stage)?;
            for (name, written) in &finished.outputs {
                stage.output(name, written);
            }
            *(if *part == "train" { &mut report.train_events } else { &mut report.test_events }) += finished.rows;
            report.pulses += finished.sources;
            let empty = finished.skipped.first().and_then(|text| text.split(' ').next()?.parse().ok());
            report.empty += empty.unwrap_or(0u64);
            if *part == "train" {
                counts.push((file.name.clone(), count(&folder, file)?));
            }
            bar.tick(1);
            bar.message(&file.name);
            Ok(())
        },
    )?;
    bar.finish();
    refuse_duplicates(&folder, &sources.files)?;
    write_tables(sources, &folder, &counts, stage)?;
    stage.metric("train_events", report.train_events);
    stage.metric("test_events", report.test_events);
    stage.metric("pulses", report.pulses);
    stage.metric("events_without_pulse", report.empty);
    let names: BTreeSet<String> = sources.files.iter().map(|(part, file)| set(part, file)).collect();
    let written = journal.close(|name| names.contains(name))?;
    stage.output("progress", &written);
    Ok(report)
}

/// Name of a store file in manifest and journal: `train/batch_1`.
fn set(part: &str, file: &PulseFile) -> String {
    format!("{part}/{}", file.stem())
}

/// What a store file is made from.
fn raw_files(journal: &Journal, part: &str, file: &PulseFile, sensors: &Sensors) -> Result<journal::Sources> {
    let pulses = (format!("{part}/{}", file.name), file.path.clone());
    let meta = file.meta.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (format!("{part}_meta/{name}"), path.clone())
    });
    let files: Vec<_> = std::iter::once(pulses).chain(meta).collect();
    // Ids of sensors are checked against their number.
    journal.sources(&format!("store 1 {part} {} {} sensors", file.name, sensors.len()), &files)
}

fn prepare(folder: &Path, sensors: &Sensors, part: &str, file: &PulseFile, key: String) -> Result<Finished> {
    signals::check(SAVED)?;
    let pulses = ParquetFile::open(&file.path)?;
    let scan = Scan::read(file, &pulses)?;
    let relative = format!("{}.safetensors", set(part, file));
    let mut written = store::write(file, &pulses, &scan, sensors.len(), &folder.join(&relative))?;
    written.path = relative.into();
    Ok(Finished {
        key,
        rows: scan.events.len() as u64,
        sources: scan.rows,
        skipped: if scan.empty == 0 { Vec::new() } else { vec![format!("{} events without a pulse", scan.empty)] },
        outputs: BTreeMap::from([(set(part, file), written)]),
    })
}

fn count(folder: &Path, file: &PulseFile) -> Result<Counts> {
    let store = TensorFile::open(folder.join(format!("{}.safetensors", set("train", file))))?;
    Ok(Counts::of(store.i64("offset")?.windows(2).map(|pair| (pair[1] - pair[0]) as usize)))
}

/// The same event in two test files would be two rows of a submission.
fn refuse_duplicates(folder: &Path, files: &[(&'static str, PulseFile)]) -> Result<()> {
    let mut seen: Vec<(i64, usize)> = Vec::new();
    for (place, (_, file)) in files.iter().enumerate().filter(|(_, (part, _))| *part == "test") {
        let store = TensorFile::open(folder.join(format!("{}.safetensors", set("test", file))))?;
        seen.extend(store.i64("event_id")?.iter().map(|&id| (id, place)));
    }
    seen.sort_unstable();
    match seen.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(()),
        Some(pair) => {
            let problem = format!("event {} stands in `{}` as well", pair[0].0, files[pair[0].1].1.name);
            Err(Error::input(&files[pair[1].1].1.path, problem).hint("each event may lie in one test file only"))
        }
    }
}

/// Sensors, event counts, and what prediction needs beside the events.
fn write_tables(sources: &Sources, folder: &Path, counts: &Nevents, stage: &mut Stage) -> Result<()> {
    stage.output("sensors", &sources.sensors.write(&folder.join("sensors.safetensors"))?);
    for name in [raw::GEOMETRY, raw::ICE] {
        stage.input(name, &sources.folder.file(name))?;
    }
    if !counts.is_empty() {
        let given = sources.folder.file(raw::NEVENTS);
        if given.is_file() {
            stage.input(raw::NEVENTS, &given)?;
        }
        compare(&given, counts)?;
        stage.output("nevents", &nevents::write_json(&folder.join("nevents.json"), counts)?);
        stage.output("nevents_pickle", &nevents::write_pickle(&folder.join(raw::NEVENTS), counts)?);
    }
    let sample = sources.folder.file(raw::SAMPLE);
    if sources.files.iter().any(|(part, _)| *part == "test") && sample.is_file() {
        stage.input(raw::SAMPLE, &sample)?;
        stage.output("sample_submission", &copy_sample(&sample, &folder.join(raw::SAMPLE))?);
    }
    Ok(())
}

/// Counts that upstream's preparation left in the raw folder must be those found now.
fn compare(path: &Path, counts: &Nevents) -> Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    let given = nevents::read(path)?;
    for (name, found) in counts {
        if let Some((_, given)) = given.iter().find(|(known, given)| known == name && given != found) {
            let problem = format!("`{name}`: {given:?}, but the file has {found:?}");
            return Err(Error::input(path, problem).hint("remove the file: `prepare-data` writes a new one"));
        }
    }
    Ok(())
}

/// The order of a submission's rows, kept beside the events that are predicted.
fn copy_sample(from: &Path, to: &Path) -> Result<Written> {
    common::store::tables::write_parquet(to, &read_parquet(from, Some(&["event_id"]))?)
}
