//! `prepare-data icecube`: pulse files to the memory-mapped event store that networks read (sections 2 and 3).
//!
//! File by file: ids are scanned, directions joined and checked against their row ranges, pulses encoded slice by slice.
//! Memory does not grow with the number of files. A run that was killed goes on with the file that it stopped in.

pub mod config;
pub mod scan;
pub mod source;
pub mod store;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::cli::progress::Bar;
use common::cli::signals;
use common::durable::Written;
use common::journal::{self, Finished, Journal};
use common::ordered::ordered;
use common::stage::Stage;
use common::store::tables::{Column, Table, write_parquet};
use common::store::tensors::TensorFile;
use common::{Error, Result};

pub use config::PrepareConfig;
use config::{Files, Layout};
use scan::Scan;
use source::{Places, PulseReader, Reading};
use store::Encoding;
pub use task::Prepare;

use crate::detector::{DetectorConfig, Ice};
use crate::geometry::Geometry;
use crate::graphnet::GraphnetFolder;
use crate::nevents::{self, Counts, Nevents};
use crate::raw::{self, PulseFile, RawFolder};
use crate::sensors::Sensors;
use crate::submission;

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
    root: PathBuf,
    layout: Layout,
    detector: DetectorConfig,
    sensors: Sensors,
    /// Tables of the detector that were read, by name.
    tables: Vec<(String, PathBuf)>,
    /// Structures of nested files.
    nested: Option<(String, Option<String>)>,
    /// Sensors by position, where pulses do not number them.
    places: Places,
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
        let mut sources = match &config.layout {
            Layout::Competition => Self::competition(root, config)?,
            Layout::Graphnet(_) => Self::graphnet(root, config)?,
        };
        let limit = options.limit.map_or(usize::MAX, |n| n as usize);
        for part in ["train", "test"] {
            let mut place = 0;
            sources.files.retain(|(known, _)| {
                place += usize::from(*known == part);
                *known != part || place <= limit
            });
        }
        Ok(sources)
    }

    fn competition(root: &Path, config: &PrepareConfig) -> Result<Self> {
        let detector = &config.detector;
        let mut needed = Vec::new();
        needed.extend(detector.sensors.is_none().then_some(raw::GEOMETRY));
        needed.extend((detector.ice == Ice::Raw).then_some(raw::ICE));
        let folder = RawFolder::open(root, &needed)?;
        let table = detector.sensors.clone().unwrap_or_else(|| folder.file(raw::GEOMETRY));
        let geometry = Geometry::read(&table, &detector.columns)?;
        geometry.demand_numbered()?;
        let mut files = Vec::new();
        for (part, wanted) in [("train", &config.train), ("test", &config.test)] {
            let Some(wanted) = wanted else { continue };
            let found = if part == "train" { folder.train()? } else { folder.test()? };
            let chosen = chosen(part, &folder.file(part), wanted, found)?;
            files.extend(chosen.into_iter().map(|file| (part, file)));
        }
        Self::found(root, config, &geometry, vec![(raw::GEOMETRY.into(), table)], files)
    }

    fn graphnet(root: &Path, config: &PrepareConfig) -> Result<Self> {
        let Layout::Graphnet(layout) = &config.layout else { return Err(Error::failed("another layout")) };
        let folder = GraphnetFolder::open(root, layout)?;
        let mut files = Vec::new();
        let test: &[String] = match &config.test {
            Some(Files::Named(names)) => names,
            _ => &[],
        };
        for (part, wanted) in [("train", &config.train), ("test", &config.test)] {
            let Some(wanted) = wanted else { continue };
            let others = |file: &PulseFile| *wanted != Files::All || !test.contains(&file.name);
            let found = folder.files.iter().filter(|file| others(file)).cloned().collect();
            files.extend(chosen(part, root, wanted, found)?.into_iter().map(|file| (part, file)));
        }
        if let Some((_, file)) = files.iter().find(|(part, file)| *part == "train" && file.meta.is_none()) {
            let problem = "has no truth to train on: no folder or structure `truth` or `mc_truth`";
            return Err(Error::input(&file.path, problem)
                .hint("name it (`layout.graphnet.truth=NAME`), or prepare test files alone: `train=null`"));
        }
        let (geometry, tables) = match &config.detector.sensors {
            Some(table) => {
                let geometry = Geometry::read(table, &config.detector.columns)?;
                (geometry, vec![(raw::GEOMETRY.to_owned(), table.clone())])
            }
            None => {
                let mut all = Vec::new();
                for (_, file) in &files {
                    all.extend(source::positions(file, layout, folder.nested.as_ref())?);
                }
                (Geometry::at(root, all)?, Vec::new())
            }
        };
        let mut sources = Self::found(root, config, &geometry, tables, files)?;
        sources.places = Places::new(geometry.positions);
        sources.nested = folder.nested;
        Ok(sources)
    }

    fn found(
        root: &Path,
        config: &PrepareConfig,
        geometry: &Geometry,
        mut tables: Vec<(String, PathBuf)>,
        files: Vec<(&'static str, PulseFile)>,
    ) -> Result<Self> {
        let detector = &config.detector;
        let ice = match &detector.ice {
            Ice::None => None,
            Ice::File(path) => Some(path.clone()),
            Ice::Raw => Some(root.join(raw::ICE)),
        };
        if let Some(ice) = &ice {
            if !ice.is_file() {
                return Err(Error::input(ice, "does not exist, but `detector.ice` asks for it")
                    .hint("where nothing is known of the medium: `detector.ice=none`"));
            }
            tables.push((raw::ICE.to_owned(), ice.clone()));
        }
        let published = config.layout == Layout::Competition && detector.sensors.is_none();
        Ok(Self {
            root: root.to_path_buf(),
            layout: config.layout.clone(),
            detector: detector.clone(),
            sensors: Sensors::of(detector, geometry, published, ice.as_deref())?,
            tables,
            nested: None,
            places: Places::default(),
            files,
        })
    }

    fn reading(&self) -> Reading<'_> {
        match &self.layout {
            Layout::Competition => Reading::Competition,
            Layout::Graphnet(config) => {
                Reading::Graphnet { config, nested: self.nested.as_ref(), places: &self.places }
            }
        }
    }

    /// What the store files depend on beside the raw ones.
    fn recipe(&self) -> String {
        let about = if self.layout == Layout::Competition && self.detector == DetectorConfig::default() {
            String::new()
        } else {
            // Pulses that name no sensors are numbered by where these are.
            format!(" {:?} {:?} {}", self.layout, self.detector, self.places.identity())
        };
        // Ids of sensors are checked against their number.
        format!("{} sensors{about}", self.sensors.len())
    }

    /// One line a file.
    pub fn describe(&self) -> Vec<String> {
        self.files.iter().map(|(part, file)| format!("{part}: {}", file.path.display())).collect()
    }
}

fn chosen(part: &str, folder: &Path, wanted: &Files, found: Vec<PulseFile>) -> Result<Vec<PulseFile>> {
    let Files::Named(names) = wanted else { return Ok(found) };
    if let Some(missing) = names.iter().find(|name| !found.iter().any(|file| file.name == **name)) {
        return Err(Error::input(folder, format!("has no `{missing}`, which `{part}.named` asks for"))
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
            let from = raw_files(&journal, part, file, &sources.recipe())?;
            if let Some(twin) = journal.twin(&file.path, &from) {
                let (one, other) = (file.path.display(), twin.display());
                tracing::warn!("`{one}` and `{other}` have the same content: their events are there twice");
            }
            if let Some(finished) = journal.kept(&set(part, file), &from.key) {
                return Ok((from, finished, true));
            }
            let finished = prepare(&folder, sources, part, file, from.key.clone())?;
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
fn raw_files(journal: &Journal, part: &str, file: &PulseFile, recipe: &str) -> Result<journal::Sources> {
    let pulses = (format!("{part}/{}", file.name), file.path.clone());
    let meta = file.meta.iter().map(|meta| {
        let name = meta.path.file_name().unwrap_or_default().to_string_lossy();
        (format!("{part}_meta/{name}"), meta.path.clone())
    });
    let files: Vec<_> = std::iter::once(pulses).chain(meta).collect();
    journal.sources(&format!("store 1 {part} {} {recipe}", file.name), &files)
}

fn prepare(folder: &Path, sources: &Sources, part: &str, file: &PulseFile, key: String) -> Result<Finished> {
    signals::check(SAVED)?;
    let reading = sources.reading();
    let pulses = PulseReader::open(file, &reading)?;
    let directions = pulses.directions(&reading)?;
    let scan = Scan::read(file, &pulses, directions.as_ref())?;
    let relative = format!("{}.safetensors", set(part, file));
    let encoding = Encoding { sensors: sources.sensors.len(), time: sources.detector.time };
    let mut written = store::write(file, &pulses, &scan, &encoding, &folder.join(&relative))?;
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
    for (name, path) in &sources.tables {
        stage.input(name, path)?;
    }
    if !counts.is_empty() {
        let given = sources.root.join(raw::NEVENTS);
        if given.is_file() {
            stage.input(raw::NEVENTS, &given)?;
        }
        compare(&given, counts)?;
        stage.output("nevents", &nevents::write_json(&folder.join("nevents.json"), counts)?);
        stage.output("nevents_pickle", &nevents::write_pickle(&folder.join(raw::NEVENTS), counts)?);
    }
    let sample = raw::SAMPLES.iter().find(|name| sources.root.join(name).is_file());
    if let Some(name) = sample.filter(|_| sources.files.iter().any(|(part, _)| *part == "test")) {
        let sample = sources.root.join(name);
        stage.input(name, &sample)?;
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
    let mut table = Table::new();
    table.push("event_id", Column::I64(submission::sample_ids(from)?))?;
    write_parquet(to, &table)
}
