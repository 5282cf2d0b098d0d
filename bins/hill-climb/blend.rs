//! `hill-climb blend`: apply weights to submission files.
//!
//! `blend = sum of weight_k * values_k` in double precision, summed in the order of the table, column by column; what
//! was summed waits in columns on disk until it is written by row, so memory holds a few columns and the ids.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::cli::progress::Bar;
use common::cli::signals;
use common::oof::{named, resolve};
use common::stage::{MANIFEST, Manifest, Stage};
use common::submission::{Ids, Rows, Spool, SpoolWriter, Submission, SubmissionFile, SubmissionWriter, is_table};
use common::{Error, Result};
use rayon::prelude::*;
use tracing::{info, warn};

use crate::hill_climb::args::BlendArgs;
use crate::hill_climb::parts::{Part, Place};
use climb::space::Blending;
use climb::weights::{Weights, stem};

/// Doubles held for columns of one model at a time, 64 MiB.
const COLUMN_VALUES: usize = 8 << 20;
/// Doubles of a block of rows on their way to the files, 64 MiB.
const BLOCK_VALUES: usize = 8 << 20;

/// Runs the blend.
pub fn run(args: &BlendArgs) -> Result<()> {
    let (run_flags, config) = (args.run_flags(), args.config_text());
    for own in registry::blend() {
        if (own.blend)(&args.request(&run_flags, &config))? {
            return Ok(());
        }
    }
    if args.calibration.is_some() {
        return Err(
            Error::usage("`--calibration`: these predictions do not say how sure they are").hint("leave it out")
        );
    }
    args.cpu_threads();
    let table = resolve(&args.weights, &["weights_json", "weights"])?;
    let mut weights = Weights::read(&table)?;
    if let Some(space) = &args.space {
        weights.blending = Blending::named(space)
            .ok_or_else(|| Error::usage(format!("`--space {space}` is none of {}", Blending::words())))?;
    }
    let blending = weights.blending;
    if blending != Blending::VALUE {
        info!("blended as `{}`", blending.name());
    }
    let files = Files::find(&args.submissions)?;
    let paths = files.of(&weights, &table)?;
    if weights.excess() > 1e-6 && blending == Blending::VALUE {
        warn!("the weights sum to 1 only within {:.3}: constant and linear columns change", weights.excess());
    }
    let out = args.folder();
    if args.dry_run {
        info!("would blend {} submissions into `{}`", paths.len(), out.join(&args.name).display());
        return Ok(());
    }
    let mut stage = Stage::begin("hill-climb", "", &out, &args.config_text(), 0, args.force)?;
    stage.input("weights", &table)?;
    let mut blend = Blend::open(&weights, &paths, stage.folder(), args)?;
    if let Some(sample) = &args.sample {
        stage.input("sample", sample)?;
    }
    for (model, place) in weights.models.iter().zip(&paths) {
        stage.input(&format!("submissions/{model}"), &place.path)?;
    }
    let summed = blend.sum(args.keep_equal)?;
    let written = blend.write(stage.folder(), args, &summed)?;
    drop(summed);
    // A line that is ready but for the competition's name says more than none.
    let competition = args.competition.as_deref().unwrap_or("COMPETITION");
    info!("{}", written.summary(Some(competition), &args.name));
    stage.output("submission", &written.parquet);
    if let Some(csv) = &written.csv {
        stage.output("submission.csv", csv);
    }
    stage.metric("rows", written.rows);
    stage.metric("columns", blend.columns.len());
    stage.metric("models", weights.models.len());
    stage.metric("blake3", written.parquet.blake3.clone());
    stage.finish()?;
    Ok(())
}

/// Submission files by model.
struct Files(BTreeMap<String, PathBuf>);

impl Files {
    /// Takes files, `NAME=FILE`, finished stages (folder or `-`, their output `submission`) and folders of files.
    fn find(arguments: &[String]) -> Result<Self> {
        let mut files = Self(BTreeMap::new());
        for argument in arguments {
            let (name, path) = named(argument);
            let path = Path::new(path);
            if path == Path::new("-") || path.join(MANIFEST).exists() {
                let manifest = Manifest::read(&path.to_string_lossy())?;
                let folder = manifest.folder.file_name().unwrap_or_default().to_string_lossy();
                let own = manifest.metrics.get("member").and_then(|m| m.as_str()).unwrap_or(&folder);
                files.add(name.unwrap_or(own), manifest.output("submission")?)?;
            } else if !path.exists() {
                return Err(Error::input(path, "no such file or folder"));
            } else if path.is_dir() {
                files.add_folder(path)?;
            } else {
                let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                files.add(name.unwrap_or(&own), path.into())?;
            }
        }
        Ok(files)
    }

    fn add(&mut self, name: &str, path: PathBuf) -> Result<()> {
        let name = stem(name).to_string();
        if let Some(other) = self.0.insert(name.clone(), path.clone()) {
            return Err(Error::usage(format!(
                "the model `{name}` has two files, `{}` and `{}`",
                other.display(),
                path.display()
            ))
            .hint("name them: `NAME=FILE`"));
        }
        Ok(())
    }

    /// All submissions of a folder; a csv beside the parquet of the same name is the same submission.
    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        let entries = std::fs::read_dir(folder).map_err(|e| Error::opening(folder, e))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        paths.sort();
        for path in &paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let twin = !name.ends_with("parquet") && paths.contains(&folder.join(format!("{}.parquet", stem(&name))));
            let array = [".npy", ".npz"].iter().any(|end| name.ends_with(end));
            let own = |p: &PathBuf| stem(&p.file_name().unwrap_or_default().to_string_lossy()) == stem(&name);
            let lone = array && !paths.iter().any(|p| is_table(p) && own(p));
            if (is_table(path) || lone) && !twin {
                self.add(&name, path.clone())?;
            }
        }
        Ok(())
    }

    /// The files of the table, in its order. Files that it does not name are left out, a missing one is an error, unless
    /// one table has a column for each of those that are missing.
    fn of(&self, weights: &Weights, table: &Path) -> Result<Vec<Place>> {
        let missing: Vec<&String> = weights.models.iter().filter(|m| !self.0.contains_key(*m)).collect();
        let unnamed: Vec<&PathBuf> =
            self.0.iter().filter(|(name, _)| !weights.models.contains(name)).map(|(_, path)| path).collect();
        let mut wide = None;
        if let ([path], false) = (unnamed.as_slice(), missing.is_empty())
            && is_table(path)
        {
            let file = SubmissionFile::unnamed(path, std::env::temp_dir(), false)?;
            wide = missing.iter().all(|model| file.has(model)).then_some(*path);
        }
        if let (None, false) = (wide, missing.is_empty()) {
            let found: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let shown: Vec<String> = missing.iter().map(|model| format!("`{model}`")).collect();
            return Err(Error::input(
                table,
                format!("no submission for {} of {} models: {}", missing.len(), weights.models.len(), shown.join(", ")),
            )
            .hint(format!("found {}; pass the missing ones as `NAME=FILE`", found.join(", "))));
        }
        match wide {
            Some(path) => info!("every model is a column of `{}`", path.display()),
            None => {
                for name in self.0.keys().filter(|name| !weights.models.contains(name)) {
                    info!("`{name}` is not in the table of weights and is left out");
                }
            }
        }
        let place = |model: &String| match (self.0.get(model), wide) {
            (None, Some(path)) => Place { path: path.clone(), column: Some(model.clone()) },
            (path, _) => Place { path: path.cloned().unwrap_or_default(), column: None },
        };
        Ok(weights.models.iter().map(place).collect())
    }
}

/// Submissions that go together.
struct Blend<'a> {
    weights: &'a Weights,
    files: Vec<(Part, Rows)>,
    id: String,
    /// Columns of the blend before that of the ids.
    id_at: usize,
    ids: Ids,
    columns: Vec<String>,
    scratch: PathBuf,
}

impl<'a> Blend<'a> {
    /// Opens all files and compares ids and columns with those of the sample, or of the base.
    fn open(weights: &'a Weights, paths: &[Place], scratch: &Path, args: &BlendArgs) -> Result<Self> {
        let place = match &args.base {
            None => 0,
            Some(base) => weights.models.iter().position(|m| m == stem(base)).ok_or_else(|| {
                Error::usage(format!("the base `{base}` is none of the models"))
                    .hint(format!("they are {}", weights.models.join(", ")))
            })?,
        };
        let base = args.sample.as_ref().unwrap_or(&paths[place].path);
        if args.sample.is_none() && (!is_table(base) || paths[place].column.is_some()) {
            return Err(Error::input(base, "does not say which ids and columns the blend has")
                .hint("name the sample submission: `--sample FILE`"));
        }
        let alone = |place: &&Place| is_table(&place.path) && place.column.is_none();
        let wide = paths.iter().find(|place| place.column.is_some());
        let tables = paths.iter().filter(alone).chain(wide).map(|place| place.path.as_path());
        let all: Vec<&Path> = std::iter::once(base.as_path()).chain(tables).collect();
        let mut opened = SubmissionFile::open_together(&all, scratch, args.id.as_deref())?;
        let mut base = opened.remove(0);
        let id = base.id().to_string();
        base.read_ids()?;
        let wide = wide.and_then(|_| opened.pop()).map(|file| Part::wide(&base, file)).transpose()?;
        let mut opened = opened.into_iter();
        let mut files = Vec::with_capacity(paths.len());
        let mut by_place = 0;
        for place in paths {
            let (part, rows) = match (&place.column, &wide) {
                (Some(column), Some((file, rows))) => (Part::Column(file.clone(), column.clone()), rows.clone()),
                _ => match alone(&place).then(|| opened.next()).flatten() {
                    Some(file) => Part::table(&base, file)?,
                    None => Part::array(&base, &place.path, scratch)?,
                },
            };
            if rows != Rows::Same {
                info!("`{}` has its rows in another order: aligned by id", part.path().display());
            }
            by_place += usize::from(part.is_array() && rows == Rows::Same);
            files.push((part, rows));
        }
        if by_place > 0 {
            info!("the rows of {by_place} arrays are matched by their place with `{}`", base.path().display());
        }
        for target in weights.targets().filter(|target| !base.columns().iter().any(|c| c == target)) {
            warn!("the weights have some of their own for `{target}`, which `{}` has not", base.path().display());
        }
        Ok(Self {
            weights,
            files,
            id,
            id_at: base.id_at(),
            ids: base.ids().clone(),
            columns: base.columns().to_vec(),
            scratch: scratch.into(),
        })
    }

    /// Sums all columns.
    fn sum(&self, keep_equal: bool) -> Result<Spool> {
        let rows = self.ids.len();
        let mut spool = SpoolWriter::create(&self.scratch, rows, self.columns.len())?;
        let bar = Bar::new("blending columns", self.columns.len() as u64);
        let batch = (COLUMN_VALUES / rows).clamp(1, self.columns.len());
        let mut kept = 0;
        for (start, names) in self.columns.chunks(batch).enumerate().map(|(i, names)| (i * batch, names)) {
            signals::check("nothing, start the blend again")?;
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut sums: Vec<Sum> = names.iter().map(|_| Sum::new(rows)).collect();
            for (k, (file, order)) in self.files.iter().enumerate() {
                let columns = file.read(&names, &self.columns)?;
                let blending = self.weights.blending;
                sums.par_iter_mut().zip(columns).zip(&names).try_for_each(|((sum, values), name)| -> Result<()> {
                    let told = |(row, problem): (usize, String)| {
                        Error::input(file.path(), format!("row {row}, column `{name}`: {problem}"))
                            .hint("`--space` names another space than that of the weights")
                    };
                    let spaced = if blending == Blending::VALUE {
                        None
                    } else {
                        let mut spaced = values.clone();
                        blending.forward(&mut spaced).map_err(told)?;
                        Some(order.align(spaced))
                    };
                    sum.add(self.weights.of(name)[k], order.align(values), spaced.as_deref(), keep_equal);
                    Ok(())
                })?;
            }
            for sum in &mut sums {
                sum.total.iter_mut().for_each(|value| *value = self.weights.blending.back(*value));
            }
            for (c, sum) in sums.iter().enumerate() {
                kept += usize::from(keep_equal && sum.equal);
                spool.put(start + c, 0, if keep_equal && sum.equal { &sum.first } else { &sum.total })?;
            }
            bar.tick(names.len() as u64);
        }
        if keep_equal {
            info!("{kept} of {} columns are the same in all submissions and were kept", self.columns.len());
        }
        spool.seal()
    }

    /// Writes the blend by row.
    fn write(&mut self, folder: &Path, args: &BlendArgs, summed: &Spool) -> Result<Submission> {
        let ids = std::mem::replace(&mut self.ids, Ids::Integers(vec![]));
        let rows = ids.len();
        let writer =
            SubmissionWriter::create_at(folder, &args.name, (&self.id, self.id_at), ids, &self.columns, !args.no_csv)?;
        let mut writer = writer.with_decimals(args.decimals.map(usize::from));
        let block = (BLOCK_VALUES / self.columns.len()).clamp(1, rows);
        for start in (0..rows).step_by(block) {
            signals::check("nothing, start the blend again")?;
            let range = start..(start + block).min(rows);
            let mut columns: Vec<Vec<f64>> = (0..self.columns.len()).map(|c| summed.read(c, range.clone())).collect();
            if self.weights.blending.classes {
                let mut row = vec![0.0; columns.len()];
                for i in 0..range.len() {
                    row.iter_mut().zip(&columns).for_each(|(value, column)| *value = column[i]);
                    self.weights.blending.close(&mut row);
                    row.iter().zip(&mut columns).for_each(|(value, column)| column[i] = *value);
                }
            }
            writer.append(columns)?;
        }
        writer.finish()
    }
}

/// A column being summed.
struct Sum {
    total: Vec<f64>,
    /// Values of the first model, if the column may have to be kept.
    first: Vec<f64>,
    /// Whether all models agreed bit for bit so far.
    equal: bool,
}

impl Sum {
    fn new(rows: usize) -> Self {
        Self { total: vec![0.0; rows], first: Vec::new(), equal: true }
    }

    /// Adds a model: its values, and what is summed in their place in another space.
    fn add(&mut self, weight: f64, values: Vec<f64>, spaced: Option<&[f64]>, compare: bool) {
        for (total, value) in self.total.iter_mut().zip(spaced.unwrap_or(&values)) {
            *total += weight * value;
        }
        if compare && self.first.is_empty() {
            self.first = values;
        } else if compare && self.equal {
            self.equal = self.first.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits());
        }
    }
}
