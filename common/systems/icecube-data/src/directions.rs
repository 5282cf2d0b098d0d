//! Tables of directions: the true ones of events, and what networks predict. Used by binaries without tensor library.
//!
//! Truth: a table with `event_id`, `azimuth` and `zenith` in parquet or csv (a `train_meta` file, or the `truth` of a
//! simulate-data stage), or the training files of a prepare-data stage. Predictions: tables of the same columns, also
//! with the unit vector `x`, `y`, `z` of that direction, the concentration `kappa`, which is the length of the vector
//! that the network gave, and the regions `angle50` and `angle90`. Under a calibration `kappa` is another number than that
//! length, which then has a column of its own, `length`: vectors are added as networks gave them.
//!
//! Inside, vectors have x and y exchanged (see [`angles`]); in tables they are the usual ones.

pub mod calibration;
mod file;
mod table;

use std::collections::BTreeMap;
use std::f64::consts::{PI, TAU};
use std::path::{Path, PathBuf};

use crate::angles;
use common::oof::resolve_in;
use common::stage::Manifest;
use common::store::tables::{ParquetFile, Table};
use common::store::tensors::TensorFile;
use common::{Error, Result};
pub(crate) use file::is_csv;
use file::{COLUMNS, PREDICTED, TOLD, csv};
pub use table::{EXTRA, write, write_calibrated};

/// Rows of a table of truths that are held at a time.
const BLOCK: usize = 1 << 20;

/// Where the true directions are.
#[derive(Debug, Clone)]
pub enum Truth {
    /// A table of directions.
    Table(PathBuf),
    /// The table of all events of a simulation, of which a prediction covers a part.
    Simulation(PathBuf),
    /// Files of an event store.
    Store(Vec<PathBuf>),
}

impl Truth {
    /// The truth of a finished stage of this system: its table, or the store files of its training events.
    pub fn of_stage(manifest: &Manifest) -> Result<Self> {
        if manifest.outputs.contains_key("truth") {
            return Ok(Self::Simulation(resolve_in(manifest, &["truth"])?));
        }
        let mut files: Vec<PathBuf> =
            manifest.outputs_with_prefix("train/")?.into_iter().map(|(_, path)| path).collect();
        // Test events whose direction is known, as those of other detectors may be.
        for (_, path) in manifest.outputs_with_prefix("test/")? {
            if TensorFile::open(&path)?.contains("direction") {
                files.push(path);
            }
        }
        if manifest.stage != "prepare-data" || files.is_empty() {
            let problem = format!("`{}` knows no true directions", manifest.stage);
            return Err(Error::input(&manifest.folder, problem)
                .hint("pass the folder of a simulate-data stage, or of a prepare-data stage with training files"));
        }
        Ok(Self::Store(files))
    }

    /// A file, if it is a table of directions.
    pub fn of_file(path: &Path) -> Option<Self> {
        file::has(path, &["event_id", "azimuth", "zenith"]).then(|| Self::Table(path.to_path_buf()))
    }

    /// [`Truth::of_file`] where nobody said what else its columns may be.
    ///
    /// # Errors
    /// [`Error::Input`] for a table of directions without the ids of its events.
    pub fn claimed(path: &Path) -> Result<Option<Self>> {
        let found = Self::of_file(path);
        if found.is_none() && file::has(path, &["azimuth", "zenith"]) {
            return Err(Error::input(path, "has `azimuth` and `zenith`, but no column `event_id`").hint(
                "pandas keeps an index of consecutive numbers out of the columns: `frame.reset_index()` before writing",
            ));
        }
        Ok(found)
    }

    /// The files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Table(path) | Self::Simulation(path) => vec![path.clone()],
            Self::Store(paths) => paths.clone(),
        }
    }

    /// Calls `take` with every event.
    pub fn each(&self, mut take: impl FnMut(TrueEvent<'_>) -> Result<()>) -> Result<()> {
        match self {
            Self::Table(path) | Self::Simulation(path) if is_csv(path) => rows(&csv(path, &TOLD)?, path, take),
            Self::Table(path) | Self::Simulation(path) => {
                let file = ParquetFile::open(path)?.with_holes();
                let mut columns: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
                columns.extend(TOLD.iter().map(|(name, _)| *name).filter(|name| file.has(name)));
                for begin in (0..file.rows()).step_by(BLOCK) {
                    rows(&file.read(Some(&columns), begin..begin + BLOCK)?, path, &mut take)?;
                }
                Ok(())
            }
            Self::Store(paths) => {
                for (part, path) in paths.iter().enumerate() {
                    let file = TensorFile::open(path)?;
                    let (ids, offsets) = (file.i64("event_id")?, file.i64("offset")?);
                    let n = ids.len();
                    let directions = file.elements_of_shape::<f64>("direction", &[Some(n), Some(2)])?;
                    file.elements_of_shape::<i64>("offset", &[Some(n + 1)])?;
                    let extra = file.contains("extra");
                    let extra =
                        extra.then(|| file.elements_of_shape::<f32>("extra", &[Some(n), Some(5)])).transpose()?;
                    for row in 0..n {
                        let pulses = (offsets[row + 1] - offsets[row]) as u64;
                        let direction = [directions[2 * row], directions[2 * row + 1]];
                        let (id, part) = (ids[row], part as i64);
                        let extra: Option<[f64; 5]> =
                            extra.map(|all| std::array::from_fn(|k| f64::from(all[5 * row + k])));
                        let kind = match extra.map(|extra| extra[4]) {
                            Some(1.0) => Some("track"),
                            Some(0.0) => Some("cascade"),
                            _ => None,
                        };
                        let (energy, vertex) = match extra {
                            Some([energy, x, y, z, _]) => (energy, [x, y, z]),
                            None => (f64::NAN, [f64::NAN; 3]),
                        };
                        take(TrueEvent { id, direction, pulses: Some(pulses), kind, energy, vertex, part })?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// An event of a truth.
#[derive(Debug, Clone, Copy)]
pub struct TrueEvent<'a> {
    /// Its id.
    pub id: i64,
    /// Azimuth and zenith in radians.
    pub direction: [f64; 2],
    /// Number of pulses.
    pub pulses: Option<u64>,
    /// Track or cascade.
    pub kind: Option<&'a str>,
    /// Energy in GeV; NaN: not known.
    pub energy: f64,
    /// Vertex in metres; NaN: not known.
    pub vertex: [f64; 3],
    /// Which file or batch it is of: what is predicted at all is predicted by whole parts.
    pub part: i64,
}

fn rows(table: &Table, path: &Path, mut take: impl FnMut(TrueEvent<'_>) -> Result<()>) -> Result<()> {
    let (ids, azimuth, zenith) = (table.whole("event_id")?, table.numbers("azimuth")?, table.numbers("zenith")?);
    let pulses = pulses_of(table);
    let kinds = kinds(table);
    let parts = table.whole("batch_id").ok();
    let energy = table.numbers("energy").ok();
    let vertex = ["vertex_x", "vertex_y", "vertex_z"].map(|name| table.numbers(name).ok());
    for row in 0..table.rows() {
        let direction = [azimuth[row], zenith[row]];
        demand_angles(direction, path, row, ids[row])?;
        take(TrueEvent {
            id: ids[row],
            direction,
            pulses: pulses.as_ref().map(|pulses| pulses[row]),
            kind: kinds.as_ref().map(|kinds| kinds[row].as_str()).filter(|kind| !kind.is_empty()),
            energy: energy.as_ref().map_or(f64::NAN, |energy| energy[row]),
            vertex: std::array::from_fn(|k| vertex[k].as_ref().map_or(f64::NAN, |axis| axis[row])),
            part: parts.as_ref().map_or(0, |parts| parts[row]),
        })?;
    }
    Ok(())
}

/// Kinds as they are called, where they have numbers, too; empty where one is not known.
fn kinds(table: &Table) -> Option<Vec<String>> {
    let numbered = |value: &f64| if value.is_nan() { String::new() } else { value.to_string() };
    match (table.texts("kind"), table.numbers("kind")) {
        (Ok(kinds), _) => Some(kinds.to_vec()),
        (_, Ok(numbers)) => Some(numbers.iter().map(numbered).collect()),
        _ => None,
    }
}

/// Refuses what is no direction: angles that are not finite, or that no angle in radians can be.
fn demand_angles([azimuth, zenith]: [f64; 2], path: &Path, row: usize, id: i64) -> Result<()> {
    // Rounding of narrow floats; azimuths are also counted from -pi.
    const SLACK: f64 = 1e-3;
    for (name, value, least, most, range) in
        [("azimuth", azimuth, -TAU, TAU, "-2 pi to 2 pi"), ("zenith", zenith, 0.0, PI, "0 to pi")]
    {
        if !(least - SLACK..=most + SLACK).contains(&value) {
            let problem = format!("row {row}, event {id}: {name} is {value}, expected {range}");
            let error = Error::input(path, problem);
            let degrees = value.is_finite();
            return Err(if degrees { error.hint("angles are in radians: degrees times 0.01745329") } else { error });
        }
    }
    Ok(())
}

fn pulses_of(table: &Table) -> Option<Vec<u64>> {
    if let Ok(pulses) = table.whole("pulses") {
        return Some(pulses.iter().map(|&n| n.max(0) as u64).collect());
    }
    let (first, last) = (table.whole("first_pulse_index").ok()?, table.whole("last_pulse_index").ok()?);
    Some(first.iter().zip(last.iter()).map(|(a, b)| (b - a + 1).max(0) as u64).collect())
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
    /// Un-normalised vectors as networks give them, where the table has vectors.
    pub vectors: Option<Vec<[f64; 3]>>,
    /// Concentrations, calibrated where the table is.
    pub kappas: Option<Vec<f64>>,
    /// Lengths of the vectors as networks gave them, where the table is calibrated; else they are the concentrations.
    pub lengths: Option<Vec<f64>>,
    /// The angles around the directions that are to hold 50 % and 90 % of the events.
    pub regions: Option<Vec<[f64; 2]>>,
    /// Energy in GeV, vertex in metres, probability of a track of each event, where the table has any; NaN: not predicted.
    pub extra: Option<Vec<[f64; 5]>>,
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
        let table = file::read(path, &PREDICTED)?;
        let ids = table.whole("event_id")?;
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
            let values = table.numbers(name)?;
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
        for (place, &row) in order.iter().enumerate() {
            demand_angles([azimuth[place], zenith[place]], path, row, ids[row])?;
        }
        let directions: Vec<[f64; 3]> = azimuth.iter().zip(&zenith).map(|(a, z)| angles::vector(*a, *z)).collect();
        // From 0 up, and no wider than the sphere where it is an angle.
        let sizes = |name: &str, most: f64, hint: &str| -> Result<Vec<f64>> {
            let sizes = values(name)?;
            match sizes.iter().position(|v| !(0.0..=most).contains(v)) {
                None => Ok(sizes),
                Some(place) => {
                    let (event, found) = (ids[order[place]], sizes[place]);
                    let range = if most.is_finite() { format!("0 to {most:.4}") } else { "0 or more".into() };
                    let error = Error::input(path, format!("event {event}: {name} is {found}, expected {range}"));
                    Err(if found > 0.0 && !hint.is_empty() { error.hint(hint) } else { error })
                }
            }
        };
        let some = |name: &str| has(name).then(|| sizes(name, f64::INFINITY, "")).transpose();
        let (kappas, lengths) = (some("kappa")?, some("length")?);
        let regions = if has("angle50") && has("angle90") {
            const RADIANS: &str = "regions are in radians: degrees times 0.01745329";
            // What rounds to pi in narrow floats.
            let most = PI + 1e-6;
            let (half, wide) = (sizes("angle50", most, RADIANS)?, sizes("angle90", most, RADIANS)?);
            Some(half.into_iter().zip(wide).map(|(half, wide)| [half, wide]).collect())
        } else {
            None
        };
        let vectors = if ["x", "y", "z"].into_iter().all(has) {
            let (x, y, z) = (values("x")?, values("y")?, values("z")?);
            let given: Vec<[f64; 3]> = (0..rows).map(|i| [x[i], y[i], z[i]]).collect();
            let inner = inner(given, &directions).map_err(|place| {
                let event = ids[order[place]];
                Error::input(path, format!("event {event}: `x`, `y`, `z` is another direction than azimuth and zenith"))
            })?;
            Some(scaled(inner, lengths.as_deref().or(kappas.as_deref())))
        } else {
            None
        };
        let mut extra: Option<Vec<[f64; 5]>> = None;
        for (k, name) in EXTRA.iter().enumerate().filter(|(_, name)| has(name)) {
            let values = table.numbers(name)?;
            let all = extra.get_or_insert_with(|| vec![[f64::NAN; 5]; rows]);
            all.iter_mut().zip(&order).for_each(|(extra, &row)| extra[k] = values[row]);
        }
        let ids = order.iter().map(|&row| ids[row]).collect();
        Ok(Self { extra, path: path.to_path_buf(), kappas, lengths, regions, directions, ids, vectors })
    }

    /// The true directions of the predicted events, in their order.
    pub fn truths(&self, truth: &Truth) -> Result<Vec<Known>> {
        Ok(self.joined(truth)?.0)
    }

    /// The true directions of the predicted events, in their order, and what of the truth is not predicted.
    pub fn joined(&self, truth: &Truth) -> Result<(Vec<Known>, Missing)> {
        let mut known: Vec<Option<Known>> = vec![None; self.ids.len()];
        let mut parts: BTreeMap<i64, (bool, Missing)> = BTreeMap::new();
        truth.each(|TrueEvent { id, direction: [azimuth, zenith], pulses, kind, energy, vertex, part }| {
            let (predicted, missing) = parts.entry(part).or_default();
            missing.of += 1;
            let Ok(place) = self.ids.binary_search(&id) else {
                missing.note(id);
                return Ok(());
            };
            *predicted = true;
            let direction = angles::vector(azimuth, zenith);
            let event = Known { direction, zenith, pulses, kind: kind.map(str::to_owned), energy, vertex };
            match known[place].replace(event) {
                None => Ok(()),
                Some(_) => Err(Error::input(&truth.files()[0], format!("event {id} has two true directions"))),
            }
        })?;
        if let Some(place) = known.iter().position(Option::is_none) {
            let problem = format!("predicts event {}, whose true direction is not known", self.ids[place]);
            return Err(Error::input(&self.path, problem).hint("pass the truth of the same events"));
        }
        let mut missing = Missing::default();
        if !matches!(truth, Truth::Simulation(_)) {
            parts.into_values().filter(|(predicted, _)| *predicted).for_each(|(_, part)| missing.join(part));
        }
        Ok((known.into_iter().flatten().collect(), missing))
    }
}

/// Events of a truth without a prediction, beside others of the same file or batch that have one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many.
    pub count: u64,
    /// Events of those files and batches.
    pub of: u64,
    /// The first few.
    pub examples: Vec<i64>,
}

impl Missing {
    const SHOWN: usize = 3;

    fn note(&mut self, id: i64) {
        self.count += 1;
        if self.examples.len() < Self::SHOWN {
            self.examples.push(id);
        }
    }

    fn join(&mut self, other: Self) {
        self.count += other.count;
        self.of += other.of;
        let room = Self::SHOWN.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }

    /// `2 of 4 events are not predicted: 1200, 2000`; none where nothing is missing.
    pub fn describe(&self) -> Option<String> {
        let named: Vec<String> = self.examples.iter().map(i64::to_string).collect();
        let more = if self.count as usize > named.len() { ", .." } else { "" };
        (self.count > 0)
            .then(|| format!("{} of {} events are not predicted: {}{more}", self.count, self.of, named.join(", ")))
    }
}

/// Unit vectors as they are inside, with x and y exchanged. Tables of other versions hold them that way already, and not
/// normalised: the angles say which way it is. The place of the first vector that is neither is the error.
fn inner(given: Vec<[f64; 3]>, directions: &[[f64; 3]]) -> std::result::Result<Vec<[f64; 3]>, usize> {
    // Beyond what narrow floats and the steep arcsine near the axes make of an angle.
    const NEAR: f64 = 0.01;
    let turned = |[x, y, z]: [f64; 3]| [y, x, z];
    let fits = |turn: bool| {
        let differs = |(v, d): (&[f64; 3], &[f64; 3])| {
            angles::length(*v) > 0.0 && angles::opening(if turn { turned(*v) } else { *v }, *d) > NEAR
        };
        given.iter().zip(directions).position(differs)
    };
    let Some(first) = fits(true) else { return Ok(given.into_iter().map(turned).collect()) };
    if fits(false).is_none() { Ok(given) } else { Err(first) }
}

/// Vectors of length kappa, where that is known.
fn scaled(vectors: Vec<[f64; 3]>, kappas: Option<&[f64]>) -> Vec<[f64; 3]> {
    let Some(kappas) = kappas else { return vectors };
    let scaled = |(v, kappa): (&[f64; 3], &f64)| {
        let length = angles::length(*v);
        v.map(|c| if length > 0.0 { c * kappa / length } else { 0.0 })
    };
    vectors.iter().zip(kappas).map(scaled).collect()
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
    /// Energy in GeV; NaN: not known.
    pub energy: f64,
    /// Vertex in metres; NaN: not known.
    pub vertex: [f64; 3],
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::store::tables::{Column, read_parquet, write_parquet};

    fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(name);
        common::durable::write(&path, text.as_bytes()).unwrap();
        path
    }

    const TRUTH: &str = "event_id,azimuth,zenith\n3,0.05,1.0\n8,6.2,1.2\n1200,1.0,0.5\n2000,3.0,2.0\n";

    #[test]
    fn csv_and_parquet_of_the_same_directions_are_the_same_truth() {
        let folder = tempfile::tempdir().unwrap();
        let csv = file(&folder, "t.csv", TRUTH);
        let parquet = folder.path().join("t.parquet");
        write_parquet(&parquet, &file::csv(&csv, &[]).unwrap()).unwrap();
        let all = |path: &Path| {
            let mut all = Vec::new();
            Truth::of_file(path)
                .unwrap()
                .each(|e| {
                    all.push((e.id, e.direction));
                    Ok(())
                })
                .unwrap();
            all
        };
        assert_eq!(all(&csv), all(&parquet));
        assert_eq!(all(&csv).len(), 4);
        assert!(Truth::of_file(&file(&folder, "r.csv", "id,azimuth\n1,2\n")).is_none());
    }

    #[test]
    fn events_that_are_not_predicted_are_counted_part_by_part() {
        let folder = tempfile::tempdir().unwrap();
        let truth = Truth::of_file(&file(&folder, "t.csv", TRUTH)).unwrap();
        let half = file(&folder, "h.csv", "event_id,azimuth,zenith\n3,0.05,1.0\n8,6.2,1.2\n");
        let (_, missing) = Predictions::read(&half, None).unwrap().joined(&truth).unwrap();
        assert_eq!(missing.describe().unwrap(), "2 of 4 events are not predicted: 1200, 2000");
        let (_, missing) = Predictions::read(&file(&folder, "w.csv", TRUTH), None).unwrap().joined(&truth).unwrap();
        assert_eq!(missing.describe(), None);
        let mut table = csv(&file(&folder, "t.csv", TRUTH), &[]).unwrap();
        table.push("batch_id", Column::I64(vec![1, 1, 2, 2])).unwrap();
        let batches = folder.path().join("b.parquet");
        write_parquet(&batches, &table).unwrap();
        let truth = Truth::of_file(&batches).unwrap();
        assert_eq!(
            Predictions::read(&half, None).unwrap().joined(&truth).unwrap().1,
            Missing { of: 2, ..Missing::default() }
        );
    }

    #[test]
    fn degrees_and_nan_are_refused_with_their_row() {
        let folder = tempfile::tempdir().unwrap();
        for (row, expected) in [
            ("8,57.3,1.0", "row 1, event 8: azimuth is 57.3, expected -2 pi to 2 pi"),
            ("8,1.0,57.3", "row 1, event 8: zenith is 57.3, expected 0 to pi"),
            ("8,1.0,-0.2", "row 1, event 8: zenith is -0.2"),
            ("8,-3.0,1.0", ""),
        ] {
            let path = file(&folder, "p.csv", &format!("event_id,azimuth,zenith\n3,0.05,1.0\n{row}\n"));
            let found = Predictions::read(&path, None).map(|_| ()).map_err(|e| e.to_string());
            assert!(found.as_ref().err().is_none_or(|e| e.contains(expected)), "{found:?}");
            assert_eq!(found.is_ok(), expected.is_empty());
            let found = Truth::of_file(&path).unwrap().each(|_| Ok(()));
            assert_eq!(found.is_ok(), expected.is_empty());
        }
    }

    #[test]
    fn the_vector_of_a_row_is_the_unit_vector_of_its_angles_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let vectors = [[3.0_f32, 1.0, -0.5], [-0.2, 0.7, 0.1], [0.0, 0.0, 0.0], [1e-3, -40.0, 2.0]];
        let path = folder.path().join("p.parquet");
        write(&path, &[1, 2, 3, 4], &vectors).unwrap();
        let table = read_parquet(&path, None).unwrap();
        let number = |name: &str, row: usize| f64::from(table.f32(name).unwrap()[row]);
        for row in 0..4 {
            let (a, z) = (number("azimuth", row), number("zenith", row));
            let expected = [a.cos() * z.sin(), a.sin() * z.sin(), z.cos()];
            let found = ["x", "y", "z"].map(|name| number(name, row));
            assert!(angles::opening(found, expected) < 1e-3, "{row}: {found:?} {expected:?}");
            assert!((angles::length(found) - 1.0).abs() < 1e-6);
        }
        let back = Predictions::read(&path, None).unwrap().vectors.unwrap();
        for (back, vector) in back.iter().zip(&vectors) {
            (0..3).for_each(|k| {
                assert!((back[k] - f64::from(vector[k])).abs() < 1e-5 * (1.0 + f64::from(vector[k]).abs()))
            });
        }
    }

    #[test]
    fn tables_with_the_vectors_of_networks_are_read_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let vectors = [[3.0_f32, 1.0, -0.5], [-0.2, 0.7, 0.1]];
        let mut old = Table::new();
        let angles: Vec<[f32; 2]> = vectors.iter().map(|&v| angles::angles(v)).collect();
        old.push("event_id", Column::I64(vec![1, 2])).unwrap();
        old.push("azimuth", Column::F32(angles.iter().map(|a| a[0]).collect())).unwrap();
        old.push("zenith", Column::F32(angles.iter().map(|a| a[1]).collect())).unwrap();
        for (k, name) in ["x", "y", "z"].into_iter().enumerate() {
            old.push(name, Column::F32(vectors.iter().map(|v| v[k]).collect())).unwrap();
        }
        let path = folder.path().join("old.parquet");
        write_parquet(&path, &old).unwrap();
        let back = Predictions::read(&path, None).unwrap().vectors.unwrap();
        assert!((back[0][0] - 3.0).abs() < 1e-5 && (back[1][1] - 0.7).abs() < 1e-5, "{back:?}");
        old.take("z").unwrap();
        old.push("z", Column::F32(vec![-0.5, -3.0])).unwrap();
        write_parquet(&path, &old).unwrap();
        let error = Predictions::read(&path, None).unwrap_err().to_string();
        assert!(error.contains("event 1") || error.contains("event 2"), "{error}");
    }
}
