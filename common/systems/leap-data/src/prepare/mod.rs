//! `prepare-data leap`: raw files to the normalised arrays that networks read (spec sections 2 and 3).
//!
//! Both published preprocessing chains are written in one pass over the raw files. Everything streams: peak anonymous
//! memory does not grow with the data. A run that was killed goes on with the set that it stopped in.

pub mod config;
pub mod index;
pub mod moments;
mod netcdf;
mod normalisation;
mod output;
mod parts;
mod pickled;
pub mod places;
pub mod scale;
mod table;
mod tabular;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::cli::progress::Bar;
use common::stage::Stage;
use common::{Error, Result};

use crate::raw::csv::CsvFile;
use crate::raw::month::{Month, Months};
use crate::raw::tree::{Pair, RawTree, Skips};
use common::journal::{self, Finished, Journal};
pub use config::PrepareConfig;
use config::{ImpossibleSteps, IndexSource, TestSource, TrainSource, Unpaired, ValidSource};
use output::Kind;
use parts::Part;
use places::{Before, Places};
use scale::Scaler;
pub use task::Prepare;

/// What an interrupted run says.
const SAVED: &str = "finished array files are kept; the same command goes on from there";

/// Grid columns of a full time step; `--limit N` takes so many csv rows for N.
const FULL_GRID: u64 = 384;

/// Raw files left out that are named one by one.
const NAMED: usize = 20;

/// What is asked for on the command line beside the config.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// CPU threads.
    pub threads: usize,
    /// Only the first so many steps of each month and of the validation set, and 384 times as many csv rows.
    pub limit: Option<u64>,
    /// Forget what an unfinished run left in the folder.
    pub fresh: bool,
}

/// Everything found and checked, nothing written: what a run will do.
pub struct Sources {
    sets: Vec<Set>,
    /// Months that are there already.
    parts: Vec<Part>,
    left_out: BTreeSet<PathBuf>,
    limit: Option<u64>,
}

/// One set of arrays, the same rows in all chains.
struct Set {
    name: String,
    kind: Kind,
    rows: RowSource,
    table: bool,
}

enum RowSource {
    Steps { month: Option<Month>, pairs: Vec<Pair>, before: bool },
    Csv { file: std::sync::Arc<CsvFile>, path: PathBuf, range: (u64, u64) },
}

/// A run under way, as the writers of sets see it.
struct Plan {
    config: PrepareConfig,
    folder: PathBuf,
    scalers: Vec<Scaler>,
    places: Option<Places>,
    threads: usize,
    bar: Bar,
}

/// Figures of a finished run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Rows of training, validation and test sets.
    pub rows: BTreeMap<&'static str, u64>,
    /// Sets kept from an earlier run.
    pub kept: usize,
    /// Raw files left out.
    pub skipped: usize,
}

impl Sources {
    /// Looks for all raw files that the config asks for.
    pub fn find(config: &PrepareConfig, options: &Options) -> Result<Self> {
        let mut found = Self { sets: Vec::new(), parts: Vec::new(), left_out: BTreeSet::new(), limit: options.limit };
        if let Some(TrainSource::Prepared { folder }) = &config.train {
            found.parts = parts::find(folder, &config.chains)?;
        }
        found.steps(config)?;
        found.csv(config, options.threads)?;
        Ok(found)
    }

    fn steps(&mut self, config: &PrepareConfig) -> Result<()> {
        let skips = Skips {
            unpaired: config.unpaired == Unpaired::Skip,
            impossible: config.impossible_steps == ImpossibleSteps::Skip,
        };
        let mut tree = |key: &str, months: &Months| -> Result<RawTree> {
            let root = config.raw.climsim.as_deref().ok_or_else(|| {
                Error::usage("`raw.climsim` is not set, so there are no netCDF files to read")
                    .hint("add `--raw FOLDER`, where FOLDER holds `train/YYYY-MM/`, or `--from` a simulate-data stage")
            })?;
            let tree = RawTree::scan(root, &months.resolve(key)?, skips)?;
            // Months may serve training and validation: each file is named once.
            let new = tree.left_out.iter().filter(|(file, _)| self.left_out.insert(file.clone()));
            let new: Vec<_> = new.collect();
            for (file, reason) in new.iter().take(NAMED) {
                tracing::warn!("left out: `{}`: {reason}", file.display());
            }
            if new.len() > NAMED {
                tracing::warn!("left out: {} more files like these", new.len() - NAMED);
            }
            Ok(tree)
        };
        let limit = self.limit.map_or(usize::MAX, |n| n as usize);
        let before = config.previous;
        let mut alone = Vec::new();
        let mut sets = Vec::new();
        if let Some(TrainSource::Netcdf { months, stride }) = &config.train {
            for (month, pairs) in tree("train.netcdf.months", months)?.months {
                let name = format!("train_{}", month.short());
                let pairs = with_steps_before(before, &name, pairs.into_iter().step_by(*stride), &mut alone)?;
                let pairs: Vec<Pair> = pairs.into_iter().take(limit).collect();
                let rows = RowSource::Steps { month: Some(month), pairs, before };
                sets.push(Set { name, kind: Kind::Train, rows, table: false });
            }
        }
        if let Some(ValidSource::Netcdf { months, stride, table }) = &config.valid {
            let tree = tree("valid.netcdf.months", months)?;
            let pairs = tree.pairs().map(|(_, p)| p.clone()).step_by(*stride);
            let pairs: Vec<Pair> =
                with_steps_before(before, "valid", pairs, &mut alone)?.into_iter().take(limit).collect();
            sets.push(Set {
                name: "valid".into(),
                kind: Kind::Valid,
                rows: RowSource::Steps { month: None, pairs, before },
                table: *table,
            });
        }
        for file in alone.iter().take(NAMED) {
            tracing::warn!("left out: `{}`: the step before it is not there", file.display());
        }
        if alone.len() > NAMED {
            tracing::warn!("left out: {} more steps without the one before", alone.len() - NAMED);
        }
        self.left_out.extend(alone);
        self.sets.extend(sets);
        Ok(())
    }

    fn csv(&mut self, config: &PrepareConfig, threads: usize) -> Result<()> {
        let limit = self.limit.map_or(u64::MAX, |n| n.saturating_mul(FULL_GRID));
        let path = |name: &Path| -> Result<PathBuf> {
            match &config.raw.kaggle {
                Some(folder) => Ok(folder.join(name)),
                None if name.is_absolute() => Ok(name.to_path_buf()),
                None => Err(Error::usage(format!("`raw.kaggle` is not set, so `{}` cannot be found", name.display()))
                    .hint("add `--raw FOLDER`, where FOLDER holds `kaggle-data/`, or leave the test set out with `test=null`")),
            }
        };
        let train = match (&config.train, &config.valid) {
            (Some(TrainSource::Csv { .. }), _) | (_, Some(ValidSource::Csv { .. })) => {
                let path = path(Path::new("train.csv"))?;
                Some((std::sync::Arc::new(tabular::open_train(&path, threads)?), path))
            }
            _ => None,
        };
        if let Some((file, path)) = &train {
            let source = |range| RowSource::Csv { file: std::sync::Arc::clone(file), path: path.clone(), range };
            let range = |key: &str, skip: u64, rows: Option<u64>| -> Result<(u64, u64)> {
                let end = skip.saturating_add(rows.unwrap_or(u64::MAX).min(limit)).min(file.rows());
                if skip >= end {
                    return Err(Error::input(
                        path,
                        format!("has {} rows, but `{key}` leaves out the first {skip}", file.rows()),
                    ));
                }
                Ok((skip, end))
            };
            if let Some(TrainSource::Csv { skip, rows, rows_per_file }) = config.train {
                let (from, to) = range("train.csv.skip", skip, rows)?;
                for (i, begin) in (from..to).step_by(rows_per_file as usize).enumerate() {
                    let rows = source((begin, to.min(begin + rows_per_file)));
                    self.sets.push(Set { name: format!("train_csv_{i:04}"), kind: Kind::Train, rows, table: false });
                }
            }
            if let Some(ValidSource::Csv { skip, rows, table }) = config.valid {
                let rows = source(range("valid.csv.skip", skip, rows)?);
                self.sets.push(Set { name: "valid".into(), kind: Kind::Valid, rows, table });
            }
        }
        if let Some(TestSource::Csv(name)) = &config.test {
            let path = path(name)?;
            let file = std::sync::Arc::new(tabular::open_test(&path, threads)?);
            let to = file.rows().min(limit);
            self.sets.push(Set {
                name: "test".into(),
                kind: Kind::Test,
                rows: RowSource::Csv { file, path, range: (0, to) },
                table: false,
            });
        }
        Ok(())
    }

    /// One line a set: name, raw steps or rows.
    pub fn describe(&self) -> Vec<String> {
        let line = |set: &Set| match &set.rows {
            RowSource::Steps { pairs, .. } => format!("{}: {} time steps", set.name, pairs.len()),
            RowSource::Csv { path, range, .. } => {
                format!("{}: rows {}..{} of {}", set.name, range.0, range.1, path.display())
            }
        };
        let parts =
            self.parts.iter().map(|part| format!("train_{}: {} rows, prepared already", part.month.short(), part.rows));
        parts.chain(self.sets.iter().map(line)).collect()
    }

    /// Training sets, in order.
    fn train(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter().filter(|s| s.kind == Kind::Train)
    }
}

impl RowSource {
    /// Steps or rows to read.
    fn len(&self) -> u64 {
        match self {
            Self::Steps { pairs, .. } => pairs.len() as u64,
            Self::Csv { range, .. } => range.1 - range.0,
        }
    }
}

/// The steps whose step before is there, if that is wanted; the others go to `alone`.
fn with_steps_before(
    wanted: bool,
    name: &str,
    pairs: impl Iterator<Item = Pair>,
    alone: &mut Vec<PathBuf>,
) -> Result<Vec<Pair>> {
    let mut pairs: Vec<Pair> = pairs.collect();
    let Some(first) = pairs.first().map(|pair| pair.mli.clone()).filter(|_| wanted) else { return Ok(pairs) };
    pairs.retain(|pair| {
        let there = pair.before().is_some_and(|before| before.mli.is_file() && before.mlo.is_file());
        if !there {
            alone.push(pair.mli.clone());
        }
        there
    });
    if pairs.is_empty() {
        let problem =
            format!("no step of `{name}` has the step of 20 minutes before beside it, which `previous` asks for");
        return Err(
            Error::input(&first, problem).hint("fetch all steps of a day, or leave the key out: `previous=false`")
        );
    }
    Ok(pairs)
}

/// The grid of the files of a run, if any set comes from such.
fn grid_of(config: &PrepareConfig, sources: &Sources) -> Result<Option<Places>> {
    let first = sources.sets.iter().find_map(|set| match &set.rows {
        RowSource::Steps { pairs, .. } => pairs.first(),
        RowSource::Csv { .. } => None,
    });
    let Some(first) = first else { return Ok(None) };
    let columns = crate::raw::block::columns_of(&common::store::netcdf::NcFile::open(&first.mli)?, &first.mli)?;
    let places = Places::find(&config.raw, columns)?;
    if places.is_none() {
        tracing::info!("nobody says where the {columns} columns are (`raw.grid`): arrays come without places");
    }
    Ok(places)
}

/// Prepares everything the config asks for into the stage's folder.
pub fn run(config: &PrepareConfig, options: &Options, sources: &Sources, stage: &mut Stage) -> Result<Report> {
    let folder = stage.folder().to_path_buf();
    for chain in &config.chains {
        common::durable::sweep(folder.join(chain.name()))?;
    }
    let journal = Journal::open(&folder, options.fresh)?;
    let scalers = normalisation::scalers(config, options.threads, sources, &folder, &journal, stage)?;
    let total = sources.sets.iter().map(|s| s.rows.len()).sum();
    let places = grid_of(config, sources)?;
    if let Some(path) = places.as_ref().and_then(Places::path) {
        stage.input("grid", path)?;
    }
    let (threads, bar) = (options.threads, Bar::new("prepare", total));
    let mut plan = Plan { config: config.clone(), folder, scalers, places, threads, bar };
    let mut report = Report { skipped: sources.left_out.len(), ..Report::default() };
    let mut months = BTreeMap::new();
    let mut done = 0;
    for set in &sources.sets {
        plan.bar.message(&set.name);
        let from = set.raw_files(&set.recipe(&plan), &journal)?;
        from.note(stage)?;
        let finished = match journal.kept(&set.name, &from.key) {
            Some(finished) => {
                tracing::info!("{}: {} rows, kept from an earlier run", set.name, finished.rows);
                report.kept += 1;
                finished
            }
            None => {
                let finished = set.write(&plan, from.key.clone())?;
                journal.demand_unchanged(&from)?;
                journal.record(&set.name, finished)?
            }
        };
        done += set.rows.len();
        plan.bar.start_at(done);
        for (name, written) in &finished.outputs {
            stage.output(name, written);
        }
        report.skipped += finished.skipped.len();
        *report.rows.entry(set.kind.name()).or_default() += finished.rows;
        if let RowSource::Steps { month: Some(month), .. } = set.rows {
            months.insert(month, finished.rows);
        }
    }
    plan.bar.finish();
    for part in &sources.parts {
        part.link(&plan.scalers, plan.config.previous, stage)?;
        *report.rows.entry(Kind::Train.name()).or_default() += part.rows;
        months.insert(part.month, part.rows);
    }
    write_index(&mut plan, &months, stage)?;
    publish(stage, sources, journal, &report)?;
    Ok(report)
}

fn write_index(plan: &mut Plan, months: &BTreeMap<Month, u64>, stage: &mut Stage) -> Result<()> {
    let written = match &plan.config.index {
        None => return Ok(()),
        Some(IndexSource::Draw { months: chosen, fraction }) => {
            let chosen: BTreeSet<Month> = chosen.resolve("index.draw.months")?.into_iter().collect();
            let drawn = months.iter().filter(|(m, _)| chosen.contains(m)).map(|(m, rows)| (*m, *rows)).collect();
            index::draw(&plan.folder, &drawn, *fraction, plan.config.seed)?
        }
        Some(IndexSource::File(path)) => {
            stage.input("v3_index", path)?;
            index::take(&plan.folder, path, months)?
        }
    };
    stage.output("a/v3_index", &written);
    Ok(())
}

fn publish(stage: &mut Stage, sources: &Sources, journal: Journal, report: &Report) -> Result<()> {
    for (kind, rows) in &report.rows {
        stage.metric(&format!("{kind}_rows"), *rows);
    }
    stage.metric("skipped_files", report.skipped as u64);
    let names: BTreeSet<&str> = sources.sets.iter().map(|s| s.name.as_str()).collect();
    let written = journal.close(|name| name == normalisation::SET || names.contains(name))?;
    stage.output("progress", &written);
    Ok(())
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }
}

impl Set {
    /// Everything that the arrays depend on beside the raw files.
    fn recipe(&self, plan: &Plan) -> String {
        let mut hasher = blake3::Hasher::new();
        for scaler in &plan.scalers {
            scaler.hash_into(&mut hasher);
        }
        let range = match &self.rows {
            RowSource::Steps { before, .. } => {
                if let Some(places) = &plan.places {
                    places.hash_into(&mut hasher);
                }
                hasher.update(&[u8::from(*before)]);
                None
            }
            RowSource::Csv { range, .. } => Some(range),
        };
        let (name, kind, table, non_finite) = (&self.name, self.kind, self.table, plan.config.non_finite);
        format!("{name} {kind:?} {table} {non_finite:?} {range:?} {}", hasher.finalize().to_hex())
    }

    /// The raw files that the rows come from.
    fn raw_files(&self, recipe: &str, journal: &Journal) -> Result<journal::Sources> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let files: Vec<(String, PathBuf)> = match &self.rows {
            RowSource::Steps { pairs, before, .. } => {
                let steps = if *before { places::steps_before(pairs)? } else { Vec::new() };
                let earlier = steps.iter().filter_map(|step| match step {
                    Before::Files(pair) => Some(pair),
                    Before::Row => None,
                });
                let both = pairs.iter().chain(earlier).flat_map(|pair| [&pair.mli, &pair.mlo]);
                both.map(|path| (format!("{}/{}", self.name, name(path)), path.clone())).collect()
            }
            RowSource::Csv { path, .. } => vec![(name(path), path.clone())],
        };
        journal.sources(recipe, &files)
    }

    fn write(&self, plan: &Plan, key: String) -> Result<Finished> {
        match &self.rows {
            RowSource::Steps { pairs, before, .. } => {
                netcdf::write_set(plan, &self.name, self.kind, pairs, self.table, *before, key)
            }
            RowSource::Csv { file, path, range } => {
                let outputs = match self.kind {
                    Kind::Test => tabular::write_test(plan, file, path, range.1)?,
                    _ => tabular::write_set(plan, file, &self.name, self.kind, *range, self.table)?,
                };
                let rows = range.1 - range.0;
                Ok(Finished { key, rows, sources: rows, skipped: Vec::new(), outputs })
            }
        }
    }
}
