//! Point clouds as tables: one row a point, in `.npy`, `.npz` or parquet.
//!
//! A `.npy` file is one event, its columns told by their places. An `.npz` holds the same array under the name of the
//! layout's data set, or one array a column; parquet has one column a name. Both may hold many events, told apart by a
//! column, and labels of points. Parquet is read event by event.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use common::store::npy::{NpyArray, NpzFile};
use common::store::tables::{Column, ParquetFile, Table};
use common::{Error, Result};

use super::layout::{Layout, TableColumns};
use super::select::{Owners, RawEvent};

/// Rows of the event column that are held at a time.
const BLOCK_ROWS: usize = 1 << 20;

/// Columns that rows of points have at most, unless there are more rows still.
const MOST_COLUMNS: usize = 32;

/// An open table.
#[derive(Debug)]
pub(super) struct TableSource {
    path: PathBuf,
    data: Data,
    /// Where each event begins, and the end of the last one.
    offsets: Vec<usize>,
    /// Number of each event, as the file has it.
    numbers: Vec<i64>,
    labelled: bool,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one value a file")]
enum Data {
    /// Everything in memory.
    Whole(Rows),
    /// A table that is read in parts: the columns that it has of those that are asked for.
    Parquet(ParquetFile, Vec<&'static str>, TableColumns),
}

/// Rows of points with their labels.
#[derive(Debug, Default)]
struct Rows {
    values: Vec<f32>,
    width: usize,
    places: [usize; 4],
    semantic: Option<Vec<i64>>,
    cluster: Option<Vec<i64>>,
    particle: Option<Vec<i64>>,
}

impl Rows {
    fn event(&self, rows: Range<usize>) -> RawEvent<'_> {
        let owners = match self.semantic.is_some() || self.cluster.is_some() || self.particle.is_some() {
            true => Owners::Points {
                semantic: self.semantic.as_ref().map(|v| &v[rows.clone()]),
                cluster: self.cluster.as_ref().map(|v| &v[rows.clone()]),
                particle: self.particle.as_ref().map(|v| &v[rows.clone()]),
            },
            false => Owners::None,
        };
        let values = &self.values[rows.start * self.width..rows.end * self.width];
        RawEvent { rows: values, width: self.width, places: self.places, owners }
    }
}

impl TableSource {
    /// One event: an array of rows.
    pub(super) fn npy(path: &Path, layout: &Layout) -> Result<Self> {
        let rows = of_array(path, &NpyArray::open(path)?, layout)?;
        let points = rows.values.len() / rows.width;
        Self::whole(path, rows, None, points)
    }

    /// One array of rows, or one array a column.
    pub(super) fn npz(path: &Path, layout: &Layout) -> Result<Self> {
        let file = NpzFile::open(path)?;
        let names = &layout.table;
        let whole = |name: &str| file.contains(name).then(|| file.read(name)?.to_i64()).transpose();
        let mut rows = if file.contains(&layout.points) {
            of_array(path, &file.read(&layout.points)?, layout)?
        } else {
            let column = |name: &String| -> Result<Vec<f32>> {
                Ok(file.read(name)?.to_f64().into_iter().map(|v| v as f32).collect())
            };
            let missing = [&names.x, &names.y, &names.z, &names.energy].into_iter().find(|name| !file.contains(name));
            if let Some(missing) = missing {
                let listed = file.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let problem =
                    format!("has no array `{}` of rows and none `{missing}`; it holds {listed}", layout.points);
                return Err(Error::input(path, problem)
                    .hint("name them: `layout.points=NAME`, or `layout.table.x=NAME` and so on"));
            }
            of_columns(path, &[column(&names.x)?, column(&names.y)?, column(&names.z)?, column(&names.energy)?])?
        };
        (rows.semantic, rows.cluster) = (whole(&names.semantic)?, whole(&names.cluster)?);
        rows.particle = whole(&names.particle)?;
        let points = rows.values.len() / rows.width;
        Self::whole(path, rows, whole(&names.event)?, points)
    }

    fn whole(path: &Path, rows: Rows, events: Option<Vec<i64>>, points: usize) -> Result<Self> {
        for (name, column) in
            [("semantic", &rows.semantic), ("cluster", &rows.cluster), ("particle", &rows.particle), ("event", &events)]
        {
            if let Some(column) = column
                && column.len() != points
            {
                let problem = format!("has {points} points and {} values of `{name}`, expected as many", column.len());
                return Err(Error::input(path, problem));
            }
        }
        let mut bounds = Bounds::default();
        match &events {
            Some(events) => bounds.add(path, events)?,
            None => bounds.add(path, &vec![0; points])?,
        }
        let labelled = rows.semantic.is_some();
        let (offsets, numbers) = bounds.ends(points, events.is_none());
        Ok(Self { path: path.to_path_buf(), data: Data::Whole(rows), offsets, numbers, labelled })
    }

    /// A table whose columns have names.
    pub(super) fn parquet(path: &Path, layout: &Layout) -> Result<Self> {
        let file = ParquetFile::open(path)?;
        let names = layout.table.clone();
        let has = |name: &str| file.schema().iter().any(|(known, _)| known == name);
        let known = ["semantic", "cluster", "particle"];
        let found: Vec<&'static str> = known.into_iter().filter(|key| has(column(&names, key))).collect();
        let mut bounds = Bounds::default();
        let whole = !has(&names.event);
        for begin in (0..file.rows()).step_by(BLOCK_ROWS) {
            let rows = begin..(begin + BLOCK_ROWS).min(file.rows());
            match whole {
                true => bounds.add(path, &vec![0; rows.len()])?,
                false => {
                    let mut table = file.read(Some(&[&names.event]), rows)?;
                    bounds.add(path, &integers(path, &names.event, table.take(&names.event)?)?)?;
                }
            }
        }
        // A missing column is told before anything is written.
        for name in [&names.x, &names.y, &names.z, &names.energy] {
            file.read(Some(&[name]), 0..0)?;
        }
        let (offsets, numbers) = bounds.ends(file.rows(), whole);
        let labelled = found.contains(&"semantic");
        Ok(Self { path: path.to_path_buf(), data: Data::Parquet(file, found, names), offsets, numbers, labelled })
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn labelled(&self) -> bool {
        self.labelled
    }

    /// The number that the file gives an event.
    pub(super) fn number(&self, event: usize) -> i64 {
        self.numbers[event]
    }

    pub(super) fn counts(&self, range: Range<usize>) -> Vec<i64> {
        range.map(|event| (self.offsets[event + 1] - self.offsets[event]) as i64).collect()
    }

    /// Hands each event of a range on.
    pub(super) fn each(
        &self,
        range: Range<usize>,
        take: &mut dyn FnMut(usize, RawEvent) -> Result<(), String>,
    ) -> Result<()> {
        let told = |event: usize, problem: String| {
            Error::input(&self.path, format!("event {}: {problem}", self.numbers[event]))
        };
        for event in range {
            let rows = self.offsets[event]..self.offsets[event + 1];
            match &self.data {
                Data::Whole(whole) => take(event, whole.event(rows)),
                Data::Parquet(file, found, names) => {
                    let part = part(&self.path, file, found, names, rows)?;
                    take(event, part.event(0..part.values.len() / part.width))
                }
            }
            .map_err(|problem| told(event, problem))?;
        }
        Ok(())
    }
}

/// Where events begin, from the numbers of their rows.
#[derive(Default)]
struct Bounds {
    starts: Vec<usize>,
    numbers: Vec<i64>,
    seen: HashSet<i64>,
    rows: usize,
}

impl Bounds {
    fn add(&mut self, path: &Path, events: &[i64]) -> Result<()> {
        for (at, &event) in events.iter().enumerate() {
            if self.numbers.last() == Some(&event) {
                continue;
            }
            if !self.seen.insert(event) {
                let problem = format!("row {}: event {event} begins again, after other events", self.rows + at);
                return Err(Error::input(path, problem).hint("sort the rows by event"));
            }
            self.starts.push(self.rows + at);
            self.numbers.push(event);
        }
        self.rows += events.len();
        Ok(())
    }

    /// Beginnings and the end, and the numbers of events; a file that is one event has it even without rows.
    fn ends(mut self, rows: usize, whole: bool) -> (Vec<usize>, Vec<i64>) {
        if whole && self.starts.is_empty() {
            (self.starts, self.numbers) = (vec![0], vec![0]);
        }
        self.starts.push(rows);
        (self.starts, self.numbers)
    }
}

fn of_array(path: &Path, array: &NpyArray, layout: &Layout) -> Result<Rows> {
    let places = layout.point_columns.places();
    let least = places.iter().max().map_or(0, |place| place + 1);
    let [points, width] = array.shape() else {
        let problem = format!("has the shape {:?}, expected points by columns", array.shape());
        return Err(Error::input(path, problem).hint("one event a file; many events go into parquet or HDF5"));
    };
    if *width < least {
        let problem = format!("has {width} columns, expected at least {least}: x, y, z, energy at {places:?}");
        return Err(Error::input(path, problem).hint("`layout.point_columns` says where they are"));
    }
    if *width > MOST_COLUMNS && width > points {
        let problem = format!("has {points} rows of {width} columns, expected a row a point");
        return Err(Error::input(path, problem).hint("the array lies on its side: write its transpose, `array.T`"));
    }
    let values: Vec<f32> = match array.elements::<f32>() {
        Ok(values) => values.into_owned(),
        Err(_) => array.to_f64().into_iter().map(|v| v as f32).collect(),
    };
    debug_assert_eq!(values.len(), points * width);
    Ok(Rows { values, width: *width, places, ..Rows::default() })
}

fn of_columns(path: &Path, columns: &[Vec<f32>; 4]) -> Result<Rows> {
    let points = columns[0].len();
    if let Some(other) = columns.iter().find(|column| column.len() != points) {
        return Err(Error::input(path, format!("has columns of {points} and {} points", other.len())));
    }
    let values = (0..points).flat_map(|at| columns.iter().map(move |column| column[at])).collect();
    Ok(Rows { values, width: 4, places: [0, 1, 2, 3], ..Rows::default() })
}

/// Name in the file of a column of labels.
fn column<'a>(names: &'a TableColumns, key: &str) -> &'a str {
    match key {
        "semantic" => &names.semantic,
        "cluster" => &names.cluster,
        _ => &names.particle,
    }
}

/// Rows of a parquet file.
fn part(path: &Path, file: &ParquetFile, found: &[&str], names: &TableColumns, rows: Range<usize>) -> Result<Rows> {
    let places = [names.x.as_str(), &names.y, &names.z, &names.energy];
    let mut wanted = places.to_vec();
    wanted.extend(found.iter().map(|key| column(names, key)));
    let mut table: Table = file.read(Some(&wanted), rows)?;
    let mut float = |name: &str| -> Result<Vec<f32>> {
        Ok(match table.take(name)? {
            Column::F32(values) => values,
            Column::F64(values) => values.into_iter().map(|v| v as f32).collect(),
            other => integers(path, name, other)?.into_iter().map(|v| v as f32).collect(),
        })
    };
    let columns = [float(places[0])?, float(places[1])?, float(places[2])?, float(places[3])?];
    let mut rows = of_columns(path, &columns)?;
    for key in found {
        let name = column(names, key);
        let values = Some(integers(path, name, table.take(name)?)?);
        match *key {
            "semantic" => rows.semantic = values,
            "cluster" => rows.cluster = values,
            _ => rows.particle = values,
        }
    }
    Ok(rows)
}

/// Whole numbers of a column, also where they are stored as floats.
fn integers(path: &Path, name: &str, column: Column) -> Result<Vec<i64>> {
    let wrong = |found: String| Error::input(path, format!("column `{name}` holds {found}, expected whole numbers"));
    let whole = |values: Vec<f64>| -> Result<Vec<i64>> {
        let one = |v: f64| if v.fract() == 0.0 && v.abs() < 9e15 { Ok(v as i64) } else { Err(wrong(v.to_string())) };
        values.into_iter().map(one).collect()
    };
    match column {
        Column::I64(values) => Ok(values),
        Column::I32(values) => Ok(values.into_iter().map(i64::from).collect()),
        Column::I16(values) => Ok(values.into_iter().map(i64::from).collect()),
        Column::Bool(values) => Ok(values.into_iter().map(i64::from).collect()),
        Column::F64(values) => whole(values),
        Column::F32(values) => whole(values.into_iter().map(f64::from).collect()),
        other => Err(wrong(other.kind().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use common::store::npy::write_npy;
    use common::store::tables::write_parquet;

    use super::super::{RawFile, Selection, Tally};
    use super::*;
    use crate::classes::UNLABELLED;

    fn read(path: &Path, layout: &Layout, selection: &Selection) -> Result<Vec<super::super::Event>> {
        let file = RawFile::open(path, layout)?;
        let events = file.events(0..file.len(), selection, |_| true, &mut Tally::default())?;
        Ok(events.into_iter().flatten().collect())
    }

    #[test]
    fn an_array_is_one_event_and_its_columns_are_told_by_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        write_npy(&path, &[2, 5], &[9.0f64, 1.0, 2.0, 3.0, 5.0, 9.0, 4.0, 5.0, 6.0, 0.01]).unwrap();
        let mut layout = Layout::default();
        layout.point_columns.energy = 4;
        (layout.point_columns.x, layout.point_columns.y, layout.point_columns.z) = (1, 2, 3);
        let selection = Selection { remove_low_energy_scatters: false, ..Selection::default() };
        let events = read(&path, &layout, &selection).unwrap();
        assert_eq!(
            (events.len(), &events[0].points[..3], events[0].voxel.as_slice()),
            (1, &[1.0, 2.0, 3.0][..], &[0][..])
        );
        assert_eq!((events[0].raw_points, events[0].semantic.as_slice()), (2, &[UNLABELLED][..]));
        layout.point_columns.energy = 7;
        let error = read(&path, &layout, &selection).unwrap_err().to_string();
        assert!(error.contains("has 5 columns, expected at least 8"), "{error}");
    }

    #[test]
    fn tables_hold_many_events_with_labels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let mut table = Table::new();
        table.push("event", Column::I64(vec![70, 70, 5])).unwrap();
        for name in ["x", "y", "z", "e"] {
            table.push(name, Column::F64(vec![1.0, 2.0, 3.0])).unwrap();
        }
        table.push("semantic", Column::I32(vec![4, 1, 0])).unwrap();
        write_parquet(&path, &table).unwrap();
        let mut layout = Layout::default();
        layout.table.energy = "e".into();
        let events = read(&path, &layout, &Selection::default()).unwrap();
        assert_eq!(events.iter().map(|e| e.semantic.clone()).collect::<Vec<_>>(), [vec![1], vec![0]]);
        let file = RawFile::open(&path, &layout).unwrap();
        assert_eq!((file.counts(0..2).unwrap(), file.number(0), file.number(1)), (vec![2, 1], 70, 5));
        let error = RawFile::open(&path, &Layout::default()).unwrap_err().to_string();
        assert!(error.contains("has no column `energy`"), "{error}");
        let mut table = Table::new();
        table.push("event", Column::I64(vec![1, 2, 1])).unwrap();
        for name in ["x", "y", "z", "energy"] {
            table.push(name, Column::F32(vec![1.0, 2.0, 3.0])).unwrap();
        }
        write_parquet(&path, &table).unwrap();
        let error = RawFile::open(&path, &Layout::default()).unwrap_err().to_string();
        assert!(error.contains("row 2: event 1 begins again"), "{error}");
    }
}
