//! `simulate-data icecube`: a data folder as the competition had it, with directions that can be learned.
//!
//! Sensors and ice are the real ones; events are made up ([`event`]). The same seed gives the same bytes, whatever the
//! threads, and an event does not depend on which others are simulated.

pub mod config;
pub mod detector;
pub mod event;
mod task;

use std::path::Path;

use common::cli::progress::Bar;
use common::cli::signals;
use common::durable;
use common::ordered::ordered;
use common::seed::rng_for;
use common::stage::Stage;
use common::store::tables::{Column, ColumnKind, ParquetWriter, Table, write_parquet};
use common::{Error, Result};
use rand::RngExt;

use config::Batches;
pub use config::SimulateConfig;
use detector::Detector;
use event::Simulated;
pub use task::Simulate;

use crate::raw;

/// Folder of everything that a user would have downloaded.
pub use common::driver::RAW;
/// Folder of what a user would not have.
pub const TRUTH: &str = "truth";

/// Events that one task makes.
const CHUNK: u32 = 64;
/// Rows that are collected before they are written.
const ROWS: usize = 1 << 16;
/// Room of one event in the numbering: ids ascend with gaps, as the real ones do.
const ID_STEP: i64 = 4;
/// Room of one file in the numbering.
const ID_FILE: i64 = 4_000_000;

/// What is asked for on the command line beside the config.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// CPU threads.
    pub threads: usize,
    /// Only the first so many events of each file.
    pub limit: Option<u64>,
}

/// Figures of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Events of training files.
    pub train_events: u64,
    /// Events of test files.
    pub test_events: u64,
    /// Pulses of all files.
    pub pulses: u64,
}

/// Events that a config asks for.
pub fn events(config: &SimulateConfig, options: &Options) -> u64 {
    let count = |b: &Batches| u64::from(b.files) * u64::from(b.events).min(options.limit.unwrap_or(u64::MAX));
    config.train.iter().chain(&config.test).map(count).sum()
}

/// Simulates everything that the config asks for into the stage's folder.
pub fn run(config: &SimulateConfig, options: &Options, stage: &mut Stage) -> Result<Report> {
    let raw = stage.folder().join(RAW);
    // Files of an unfinished run with another config would look like data.
    for folder in [&raw, &stage.folder().join(TRUTH)] {
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(|e| Error::io("removing", folder, e))?;
        }
    }
    let (geometry, ice) = (raw.join(raw::GEOMETRY), raw.join(raw::ICE));
    stage.output("sensor_geometry", &durable::write(&geometry, detector::GEOMETRY)?);
    stage.output("ice_transparency", &durable::write(&ice, detector::ICE)?);
    let detector = Detector::read(&geometry, &ice)?;
    let schema = truth_table(&[])?.schema();
    let truth = ParquetWriter::create(stage.folder().join(TRUTH).join("events.parquet"), &schema)?;
    let bar = Bar::new("simulate", events(config, options));
    let mut run = Run { config, options, detector, truth, bar, report: Report::default() };
    let mut test = Table::new();
    for (part, batches) in [("train", &config.train), ("test", &config.test)] {
        for (number, events) in batches.iter().flat_map(|b| b.numbers().map(|number| (number, b.events))) {
            let events = u64::from(events).min(options.limit.unwrap_or(u64::MAX)) as u32;
            let path = raw.join(part).join(format!("batch_{number}.parquet"));
            let (written, meta) = run.write(number, events, &path)?;
            stage.output(&format!("{part}/batch_{number}"), &written);
            if part == "train" {
                let path = raw.join("train_meta").join(format!("train_meta_{number}.parquet"));
                stage.output(&format!("train_meta/{number}"), &write_parquet(path, &meta)?);
                run.report.train_events += u64::from(events);
            } else {
                test = joined(test, &meta)?;
                run.report.test_events += u64::from(events);
            }
        }
    }
    if run.report.test_events > 0 {
        let (meta, sample) = test_tables(test)?;
        stage.output("test_meta", &write_parquet(raw.join(raw::TEST_META), &meta)?);
        stage.output("sample_submission", &write_parquet(raw.join(raw::SAMPLE), &sample)?);
    }
    run.bar.finish();
    stage.output("truth", &run.truth.finish()?);
    let report = run.report;
    stage.metric("train_events", report.train_events);
    stage.metric("test_events", report.test_events);
    stage.metric("pulses", report.pulses);
    Ok(report)
}

struct Run<'a> {
    config: &'a SimulateConfig,
    options: &'a Options,
    detector: Detector,
    truth: ParquetWriter,
    bar: Bar,
    report: Report,
}

impl Run<'_> {
    /// Writes one pulse file; returns what its meta file says.
    fn write(&mut self, number: u32, events: u32, path: &Path) -> Result<(durable::Written, Table)> {
        let mut writer = ParquetWriter::create(path, &Rows::default().table()?.schema())?;
        let (mut rows, mut meta, mut written) = (Rows::default(), Meta::default(), 0i64);
        let (config, detector) = (self.config, &self.detector);
        let name = format!("batch_{number}");
        let make = |chunk: usize| {
            let first = chunk as u32 * CHUNK;
            let made = (first..(first + CHUNK).min(events)).map(|i| {
                let mut rng = rng_for(config.seed, &name, u64::from(i));
                let id = i64::from(number) * ID_FILE + i64::from(i) * ID_STEP + rng.random_range(0..ID_STEP);
                (id, event::simulate(detector, &config.physics, &mut rng))
            });
            Ok(made.collect::<Vec<_>>())
        };
        let (truth, bar, report) = (&mut self.truth, &self.bar, &mut self.report);
        ordered(events.div_ceil(CHUNK) as usize, self.options.threads, 2 * self.options.threads, make, |_, made| {
            signals::check("nothing that can be gone on with; the same command starts anew")?;
            for (id, event) in &made {
                rows.push(*id, event);
                meta.push(*id, event, written);
                written += event.pulses.len() as i64;
            }
            truth.append(&truth_table(&made)?)?;
            bar.tick(made.len() as u64);
            if rows.event_id.len() >= ROWS {
                writer.append(&std::mem::take(&mut rows).table()?)?;
            }
            Ok(())
        })?;
        if !rows.event_id.is_empty() {
            writer.append(&rows.table()?)?;
        }
        report.pulses += written as u64;
        Ok((writer.finish()?, meta.table(number)?))
    }
}

/// Rows of a pulse file, in the published order of columns.
#[derive(Default)]
struct Rows {
    sensor_id: Vec<i16>,
    time: Vec<i64>,
    charge: Vec<f64>,
    auxiliary: Vec<bool>,
    event_id: Vec<i64>,
}

impl Rows {
    fn push(&mut self, id: i64, event: &Simulated) {
        for pulse in &event.pulses {
            self.sensor_id.push(pulse.sensor);
            self.time.push(pulse.time);
            self.charge.push(pulse.charge);
            self.auxiliary.push(pulse.auxiliary);
            self.event_id.push(id);
        }
    }

    fn table(self) -> Result<Table> {
        let mut table = Table::new();
        table.push("sensor_id", Column::I16(self.sensor_id))?;
        table.push("time", Column::I64(self.time))?;
        table.push("charge", Column::F64(self.charge))?;
        table.push("auxiliary", Column::Bool(self.auxiliary))?;
        table.push("event_id", Column::I64(self.event_id))?;
        Ok(table)
    }
}

/// Rows of a meta file.
#[derive(Default)]
struct Meta {
    event_id: Vec<i64>,
    first: Vec<i64>,
    last: Vec<i64>,
    azimuth: Vec<f64>,
    zenith: Vec<f64>,
}

impl Meta {
    fn push(&mut self, id: i64, event: &Simulated, before: i64) {
        self.event_id.push(id);
        self.first.push(before);
        self.last.push(before + event.pulses.len() as i64 - 1);
        self.azimuth.push(event.azimuth);
        self.zenith.push(event.zenith);
    }

    fn table(self, batch: u32) -> Result<Table> {
        let mut table = Table::new();
        table.push("batch_id", Column::I64(vec![i64::from(batch); self.event_id.len()]))?;
        table.push("event_id", Column::I64(self.event_id))?;
        table.push("first_pulse_index", Column::I64(self.first))?;
        table.push("last_pulse_index", Column::I64(self.last))?;
        table.push("azimuth", Column::F64(self.azimuth))?;
        table.push("zenith", Column::F64(self.zenith))?;
        Ok(table)
    }
}

/// What happened: id, direction, kind, brightness, number of pulses.
fn truth_table(events: &[(i64, Simulated)]) -> Result<Table> {
    let mut table = Table::new();
    table.push("event_id", Column::I64(events.iter().map(|(id, _)| *id).collect()))?;
    table.push("azimuth", Column::F64(events.iter().map(|(_, e)| e.azimuth).collect()))?;
    table.push("zenith", Column::F64(events.iter().map(|(_, e)| e.zenith).collect()))?;
    table.push("kind", Column::Text(events.iter().map(|(_, e)| e.kind.name().to_owned()).collect()))?;
    table.push("brightness", Column::F64(events.iter().map(|(_, e)| e.brightness).collect()))?;
    table.push("pulses", Column::I64(events.iter().map(|(_, e)| e.pulses.len() as i64).collect()))?;
    Ok(table)
}

/// `a` with the rows of `b`, which has the same columns, behind it.
fn joined(a: Table, b: &Table) -> Result<Table> {
    if a.names().is_empty() {
        return Ok(b.clone());
    }
    let mut table = Table::new();
    for ((name, first), second) in a.names().iter().zip(a.columns()).zip(b.columns()) {
        let column = match (first, second) {
            (Column::I64(a), Column::I64(b)) => Column::I64([a.as_slice(), b].concat()),
            (Column::F64(a), Column::F64(b)) => Column::F64([a.as_slice(), b].concat()),
            (other, _) => return Err(Error::failed(format!("column `{name}` is {}", other.kind()))),
        };
        table.push(name.clone(), column)?;
    }
    Ok(table)
}

/// The meta table of the test events without their directions, and the sample submission.
fn test_tables(mut test: Table) -> Result<(Table, Table)> {
    for hidden in ["azimuth", "zenith"] {
        test.take(hidden)?;
    }
    let ids = test.i64("event_id")?.to_vec();
    let mut sample = Table::new();
    let constant = vec![1.0; ids.len()];
    sample.push("event_id", Column::I64(ids))?;
    sample.push("azimuth", Column::F64(constant.clone()))?;
    sample.push("zenith", Column::F64(constant))?;
    debug_assert_eq!(sample.schema()[0].1, ColumnKind::I64);
    Ok((test, sample))
}
