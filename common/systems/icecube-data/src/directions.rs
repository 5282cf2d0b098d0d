//! Tables of directions: the true ones of events, and what networks predict. Used by binaries without tensor library.
//!
//! Truth: a table with `event_id`, `azimuth` and `zenith` (a `train_meta` file, or the `truth` of a simulate-data stage),
//! or the training files of a prepare-data stage. Predictions: tables of the same columns, also with the un-normalised
//! vector `x`, `y`, `z` and its length `kappa`.

use std::path::{Path, PathBuf};

use crate::angles;
use common::durable::Written;
use common::oof::resolve_in;
use common::stage::Manifest;
use common::store::tables::{Column, ColumnKind, ParquetFile, Table, read_csv, read_parquet, write_parquet};
use common::store::tensors::TensorFile;
use common::{Error, Result};

/// Rows of a table of truths that are held at a time.
const BLOCK: usize = 1 << 20;

/// Where the true directions are.
#[derive(Debug, Clone)]
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

    /// The files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Table(path) => vec![path.clone()],
            Self::Store(paths) => paths.clone(),
        }
    }

    /// Calls `take` with every event: id, azimuth and zenith, pulses, kind.
    pub fn each(&self, mut take: impl FnMut(i64, [f64; 2], Option<u64>, Option<&str>) -> Result<()>) -> Result<()> {
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

/// Predicted directions, ascending by event.
#[derive(Debug, Clone)]
pub struct Predictions {
    /// The table.
    pub path: PathBuf,
    /// Event ids.
    pub ids: Vec<i64>,
    /// Unit vectors of the predicted angles.
    pub directions: Vec<[f64; 3]>,
    /// Un-normalised vectors, where the table has them.
    pub vectors: Option<Vec<[f64; 3]>>,
    /// Their lengths.
    pub kappas: Option<Vec<f64>>,
}

impl Predictions {
    /// Whether a file is a table of directions.
    pub fn is_table(path: &Path) -> bool {
        Truth::of_file(path).is_some()
    }

    /// Reads parquet or csv; with a `limit` only so many rows.
    ///
    /// # Errors
    /// [`Error::Input`] for columns that are missing, values that are not finite, or an event that stands there twice.
    pub fn read(path: &Path, limit: Option<u64>) -> Result<Self> {
        let csv = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        let columns = [("event_id", ColumnKind::I64), ("azimuth", ColumnKind::F64), ("zenith", ColumnKind::F64)];
        let table = if csv { read_csv(path, &columns)? } else { read_parquet(path, None)? };
        let ids = table.i64("event_id")?;
        let rows = limit.map_or(ids.len(), |n| ids.len().min(usize::try_from(n).unwrap_or(usize::MAX)));
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by_key(|&row| ids[row]);
        if let Some(pair) = order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
            let problem = format!("event {} stands in rows {} and {}", ids[pair[0]], pair[0], pair[1]);
            return Err(Error::input(path, problem));
        }
        if rows == 0 {
            return Err(Error::input(path, "holds no prediction"));
        }
        // Values by ascending event.
        let values = |name: &str| -> Result<Vec<f64>> {
            let values = floats(&table, name, path)?;
            match values[..rows].iter().position(|v| !v.is_finite()) {
                None => Ok(order.iter().map(|&row| values[row]).collect()),
                Some(row) => {
                    let problem = format!("row {row}, event {}: {name} is no finite number", ids[row]);
                    Err(Error::input(path, problem))
                }
            }
        };
        let has = |name: &str| table.names().iter().any(|known| known == name);
        let (azimuth, zenith) = (values("azimuth")?, values("zenith")?);
        let vectors = if ["x", "y", "z"].into_iter().all(has) {
            let (x, y, z) = (values("x")?, values("y")?, values("z")?);
            Some((0..rows).map(|i| [x[i], y[i], z[i]]).collect())
        } else {
            None
        };
        Ok(Self {
            path: path.to_path_buf(),
            kappas: has("kappa").then(|| values("kappa")).transpose()?,
            directions: azimuth.iter().zip(&zenith).map(|(a, z)| angles::vector(*a, *z)).collect(),
            ids: order.iter().map(|&row| ids[row]).collect(),
            vectors,
        })
    }

    /// The true directions of the predicted events, in their order.
    pub fn truths(&self, truth: &Truth) -> Result<Vec<Known>> {
        let mut known: Vec<Option<Known>> = vec![None; self.ids.len()];
        truth.each(|id, [azimuth, zenith], pulses, kind| {
            let Ok(place) = self.ids.binary_search(&id) else { return Ok(()) };
            let event =
                Known { direction: angles::vector(azimuth, zenith), zenith, pulses, kind: kind.map(str::to_owned) };
            match known[place].replace(event) {
                None => Ok(()),
                Some(_) => Err(Error::input(&truth.files()[0], format!("event {id} has two true directions"))),
            }
        })?;
        if let Some(place) = known.iter().position(Option::is_none) {
            let problem = format!("predicts event {}, whose true direction is not known", self.ids[place]);
            return Err(Error::input(&self.path, problem).hint("pass the truth of the same events"));
        }
        Ok(known.into_iter().flatten().collect())
    }
}

/// What is known of an event.
#[derive(Debug, Clone)]
pub struct Known {
    /// Unit vector of the true direction.
    pub direction: [f64; 3],
    /// True zenith in radians.
    pub zenith: f64,
    /// Number of pulses.
    pub pulses: Option<u64>,
    /// Track or cascade.
    pub kind: Option<String>,
}

/// Writes predictions as parquet: `event_id`, `azimuth`, `zenith`, the vector `x`, `y`, `z`, its length `kappa`, and the
/// angles around the direction that hold 50 % and 90 % of its von Mises-Fisher distribution, in radians.
pub fn write(path: &Path, ids: &[i64], vectors: &[[f32; 3]]) -> Result<Written> {
    let found: Vec<[f32; 2]> = vectors.iter().map(|&v| angles::angles(v)).collect();
    let kappa: Vec<f32> = vectors.iter().map(|v| angles::length(v.map(f64::from)) as f32).collect();
    let within = |p: f64| kappa.iter().map(|&k| angles::containment(f64::from(k), p) as f32).collect::<Vec<_>>();
    let (half, most) = (within(0.5), within(0.9));
    let mut table = Table::new();
    table.push("event_id", Column::I64(ids.to_vec()))?;
    table.push("azimuth", Column::F32(found.iter().map(|a| a[0]).collect()))?;
    table.push("zenith", Column::F32(found.iter().map(|a| a[1]).collect()))?;
    for (place, name) in ["x", "y", "z"].into_iter().enumerate() {
        table.push(name, Column::F32(vectors.iter().map(|v| v[place]).collect()))?;
    }
    table.push("kappa", Column::F32(kappa))?;
    table.push("angle50", Column::F32(half))?;
    table.push("angle90", Column::F32(most))?;
    write_parquet(path, &table)
}

fn floats(table: &Table, name: &str, path: &Path) -> Result<Vec<f64>> {
    match table.column(name)? {
        Column::F64(values) => Ok(values.clone()),
        Column::F32(values) => Ok(values.iter().map(|&v| f64::from(v)).collect()),
        other => Err(Error::input(path, format!("column `{name}` is {}, expected floats", other.kind()))),
    }
}
