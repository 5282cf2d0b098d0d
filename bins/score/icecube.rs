//! IceCube: opening angles between predicted and true directions.
//!
//! Truth: a table with `event_id`, `azimuth` and `zenith` (a `train_meta` file, or the `truth` of a simulate-data stage),
//! or the training files of a prepare-data stage. Predictions: tables of the same columns, with the vector or without.

mod report;

use std::path::{Path, PathBuf};

use common::angles;
use common::oof::{named, resolve, resolve_in};
use common::stage::{Manifest, Stage};
use common::store::tables::{Column, ColumnKind, ParquetFile, Table, read_csv, read_parquet};
use common::store::tensors::TensorFile;
use common::{Error, Result, durable};
use tracing::info;

use crate::args::ScoreArgs;
use report::{Report, Scored};

/// Rows of a table of truths that are held at a time.
const BLOCK: usize = 1 << 20;

/// What is compared with.
pub enum Truth {
    /// Tables of directions.
    Table(PathBuf),
    /// Files of an event store.
    Store(Vec<PathBuf>),
}

impl Truth {
    /// The truth of a finished stage of this system: its table, or the store files of its training events.
    pub fn of_stage(manifest: &Manifest) -> Result<Self> {
        if manifest.outputs.contains_key("truth") {
            return Ok(Self::Table(resolve_in(manifest, &["truth"])?));
        }
        let files: Vec<PathBuf> = manifest.outputs_with_prefix("train/")?.into_iter().map(|(_, path)| path).collect();
        if manifest.stage != "prepare-data" || files.is_empty() {
            let problem = format!("`{}` knows no true directions", manifest.stage);
            return Err(Error::input(&manifest.folder, problem)
                .hint("pass the folder of a simulate-data stage, or of a prepare-data stage with training files"));
        }
        Ok(Self::Store(files))
    }

    /// A file, if it is a table of directions.
    pub fn of_file(path: &Path) -> Option<Self> {
        let is_parquet = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
        if !is_parquet {
            return None;
        }
        let file = ParquetFile::open(path).ok()?;
        let has = |name: &str| file.schema().iter().any(|(known, _)| known == name);
        ["event_id", "azimuth", "zenith"].into_iter().all(has).then(|| Self::Table(path.to_path_buf()))
    }

    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Table(path) => vec![path.clone()],
            Self::Store(paths) => paths.clone(),
        }
    }

    /// Calls `take` with every event: id, azimuth and zenith, pulses, kind.
    fn each(&self, mut take: impl FnMut(i64, [f64; 2], Option<u64>, Option<&str>) -> Result<()>) -> Result<()> {
        match self {
            Self::Table(path) => {
                let file = ParquetFile::open(path)?;
                for begin in (0..file.rows()).step_by(BLOCK) {
                    let table = file.read(None, begin..begin + BLOCK)?;
                    let (ids, azimuth, zenith) = (table.i64("event_id")?, table.f64("azimuth")?, table.f64("zenith")?);
                    let pulses = pulses_of(&table);
                    let kinds = table.texts("kind").ok();
                    for row in 0..table.rows() {
                        let kind = kinds.map(|kinds| kinds[row].as_str());
                        let pulses = pulses.as_ref().map(|pulses| pulses[row]);
                        take(ids[row], [azimuth[row], zenith[row]], pulses, kind)?;
                    }
                }
            }
            Self::Store(paths) => {
                for path in paths {
                    let file = TensorFile::open(path)?;
                    let (ids, offsets) = (file.i64("event_id")?, file.i64("offset")?);
                    let n = ids.len();
                    let directions = file.elements_of_shape::<f64>("direction", &[Some(n), Some(2)])?;
                    file.elements_of_shape::<i64>("offset", &[Some(n + 1)])?;
                    for row in 0..n {
                        let pulses = (offsets[row + 1] - offsets[row]) as u64;
                        take(ids[row], [directions[2 * row], directions[2 * row + 1]], Some(pulses), None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn pulses_of(table: &Table) -> Option<Vec<u64>> {
    if let Ok(pulses) = table.i64("pulses") {
        return Some(pulses.iter().map(|&n| n.max(0) as u64).collect());
    }
    let (first, last) = (table.i64("first_pulse_index").ok()?, table.i64("last_pulse_index").ok()?);
    Some(first.iter().zip(last).map(|(a, b)| (b - a + 1).max(0) as u64).collect())
}

/// Scores all predictions.
pub fn run(args: &ScoreArgs, truth: &Truth) -> Result<()> {
    if args.no_zero_rule || args.targets {
        return Err(Error::usage("`--no-zero-rule` and `--targets` are for R2, directions have one score")
            .hint("leave them out"));
    }
    let mut reports = Vec::new();
    let mut inputs = truth.files();
    for argument in &args.predictions {
        let (called, file) = named(argument);
        let path = resolve(file, &["predictions", "oof", "submission", "submission.csv"])?;
        let predictions = Predictions::read(&path, args.limit)?;
        let scored = predictions.against(truth)?;
        reports.push(Report::new(called.map_or_else(|| name(file, &path), str::to_string), &path, &scored));
        inputs.push(path);
    }
    info!("{}", report::table(&reports));
    if let Some(file) = &args.summary {
        let means: Vec<_> = reports.iter().map(|r| (r.name.as_str(), r.mean)).collect();
        crate::report::write_summary(file, &means)?;
    }
    let value = report::json(&reports);
    let Some(out) = &args.out else {
        let text = if args.json { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        return common::cli::print_line(&text.map_err(|e| Error::failed(format!("report: {e}")))?);
    };
    let mut stage = Stage::begin("score", "icecube", out, &args.config_text(), 0, args.force)?;
    for path in &inputs {
        stage.input(&path.display().to_string(), path)?;
    }
    let text = serde_json::to_string_pretty(&value).map_err(|e| Error::failed(format!("report: {e}")))?;
    let written = durable::write(stage.folder().join("score.json"), format!("{text}\n").as_bytes())?;
    stage.output("score", &written);
    stage.metric("members", reports.iter().map(|r| (r.name.clone(), r.mean.into())).collect::<serde_json::Map<_, _>>());
    if let [only] = reports.as_slice() {
        stage.metric("score", only.mean);
    }
    stage.finish()?;
    Ok(())
}

/// The folder's name where a folder was given, else that of the file.
fn name(argument: &str, path: &Path) -> String {
    let given = Path::new(argument);
    let named = if given.is_dir() { given.file_name() } else { path.file_stem() };
    named.unwrap_or_default().to_string_lossy().into_owned()
}

/// Predicted directions, ascending by event.
struct Predictions {
    path: PathBuf,
    ids: Vec<i64>,
    vectors: Vec<[f64; 3]>,
    /// Length of the un-normalised vector.
    kappas: Option<Vec<f64>>,
}

impl Predictions {
    fn read(path: &Path, limit: Option<u64>) -> Result<Self> {
        let csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        let columns = [("event_id", ColumnKind::I64), ("azimuth", ColumnKind::F64), ("zenith", ColumnKind::F64)];
        let table = if csv { read_csv(path, &columns)? } else { read_parquet(path, None)? };
        let (azimuth, zenith) = (floats(&table, "azimuth", path)?, floats(&table, "zenith", path)?);
        let kappas = table.column("kappa").is_ok().then(|| floats(&table, "kappa", path)).transpose()?;
        let ids = table.i64("event_id")?;
        let rows = limit.map_or(ids.len(), |n| ids.len().min(usize::try_from(n).unwrap_or(usize::MAX)));
        for (name, values) in [("azimuth", Some(&azimuth)), ("zenith", Some(&zenith)), ("kappa", kappas.as_ref())] {
            if let Some(row) = values.and_then(|values| values[..rows].iter().position(|v| !v.is_finite())) {
                let problem = format!("row {row}, event {}: {name} is no finite number", ids[row]);
                return Err(Error::input(path, problem));
            }
        }
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by_key(|&row| ids[row]);
        if let Some(pair) = order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
            let problem = format!("event {} stands in rows {} and {}", ids[pair[0]], pair[0], pair[1]);
            return Err(Error::input(path, problem));
        }
        if rows == 0 {
            return Err(Error::input(path, "holds no prediction"));
        }
        Ok(Self {
            path: path.to_path_buf(),
            ids: order.iter().map(|&row| ids[row]).collect(),
            vectors: order.iter().map(|&row| angles::vector(azimuth[row], zenith[row])).collect(),
            kappas: kappas.map(|kappas| order.iter().map(|&row| kappas[row]).collect()),
        })
    }

    /// Joins with the truth by event.
    fn against(&self, truth: &Truth) -> Result<Vec<Scored>> {
        let mut scored: Vec<Option<Scored>> = vec![None; self.ids.len()];
        let mut known = 0u64;
        truth.each(|id, [azimuth, zenith], pulses, kind| {
            known += 1;
            let Ok(place) = self.ids.binary_search(&id) else { return Ok(()) };
            let angle = angles::opening(self.vectors[place], angles::vector(azimuth, zenith));
            let kappa = self.kappas.as_ref().map(|kappas| kappas[place]);
            let event = Scored { angle, zenith, kappa, pulses, kind: kind.map(str::to_owned) };
            match scored[place].replace(event) {
                None => Ok(()),
                Some(_) => Err(Error::input(&truth.files()[0], format!("event {id} has two true directions"))),
            }
        })?;
        let missing = scored.iter().position(Option::is_none);
        if let Some(place) = missing {
            let problem = format!("predicts event {}, whose true direction is not known", self.ids[place]);
            return Err(Error::input(&self.path, problem).hint("pass the truth of the same events"));
        }
        if known > self.ids.len() as u64 {
            info!("`{}`: {} of {known} known events are predicted", self.path.display(), self.ids.len());
        }
        Ok(scored.into_iter().flatten().collect())
    }
}

fn floats(table: &Table, name: &str, path: &Path) -> Result<Vec<f64>> {
    match table.column(name)? {
        Column::F64(values) => Ok(values.clone()),
        Column::F32(values) => Ok(values.iter().map(|&v| f64::from(v)).collect()),
        other => Err(Error::input(path, format!("column `{name}` is {}, expected floats", other.kind()))),
    }
}
