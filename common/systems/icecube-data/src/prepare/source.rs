//! A pulse file of any layout as rows of pulses: which event each belongs to, which sensor saw it, and when.

use std::collections::HashMap;
use std::ops::Range;

use common::store::tables::{Cells, ParquetFile, Table};
use common::{Error, Result};

use super::scan::Directions;
use crate::geometry;
use crate::graphnet::{Columns, GraphnetConfig, TruthColumns};
use crate::raw::PulseFile;
use crate::targets::{self, Extra};

/// Columns of a competition's pulse file.
const COMPETITION: [&str; 4] = ["sensor_id", "time", "charge", "auxiliary"];

/// Rows of pulses as they are found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawPulses {
    /// Number of the sensor.
    pub sensor: Vec<i64>,
    /// When, in ns.
    pub time: Vec<f64>,
    /// Photo-electrons.
    pub charge: Vec<f64>,
    /// Whether no neighbour confirms it.
    pub auxiliary: Vec<bool>,
}

/// Which layout files have, and what reading them needs.
#[derive(Debug, Clone)]
pub enum Reading<'a> {
    /// The competition's tables, whose pulses name their sensors.
    Competition,
    /// GraphNeT's tables, whose pulses have positions.
    Graphnet {
        /// Names of columns.
        config: &'a GraphnetConfig,
        /// Names of the structures of nested files.
        nested: Option<&'a (String, Option<String>)>,
        /// Sensors by their positions.
        places: &'a Places,
    },
}

/// A pulse file.
pub struct PulseReader<'a> {
    file: ParquetFile,
    source: &'a PulseFile,
    form: Form<'a>,
}

enum Form<'a> {
    Competition,
    Merged(&'a Places, Columns),
    /// Everything of the file in memory: event of each row, and the pulses.
    Nested(Vec<i64>, RawPulses),
}

impl<'a> PulseReader<'a> {
    /// Opens a file and finds its columns.
    pub fn open(source: &'a PulseFile, reading: &Reading<'a>) -> Result<Self> {
        let file = ParquetFile::open(&source.path)?;
        let form = match reading {
            Reading::Competition => Form::Competition,
            Reading::Graphnet { config, nested: None, places } => {
                Form::Merged(places, Columns::find(&file, None, &config.columns)?)
            }
            Reading::Graphnet { config, nested: Some((pulses, truth)), places } => {
                let nested = nested_pulses(&file, (pulses, truth.as_deref()), config)?;
                let sensor = places.all(&nested.positions, |row| Error::input(&source.path, row))?;
                let pulses = RawPulses { sensor, ..nested.pulses };
                Form::Nested(nested.ids, pulses)
            }
        };
        Ok(Self { file, source, form })
    }

    /// Number of pulses.
    pub fn rows(&self) -> usize {
        match &self.form {
            Form::Nested(ids, _) => ids.len(),
            _ => self.file.rows(),
        }
    }

    /// Whether the pulses of an event stand in the order of time.
    pub fn in_time(&self) -> bool {
        matches!(self.form, Form::Competition)
    }

    /// Event of each row.
    pub fn ids(&self, rows: Range<usize>) -> Result<Vec<i64>> {
        let column = match &self.form {
            Form::Nested(ids, _) => return Ok(ids[rows.start..rows.end.min(ids.len())].to_vec()),
            Form::Competition => "event_id",
            Form::Merged(_, columns) => columns.event.as_deref().unwrap_or("event_no"),
        };
        Ok(self.file.read(Some(&[column]), rows)?.whole(column)?.into_owned())
    }

    /// The pulses of some rows.
    pub fn pulses(&self, rows: Range<usize>) -> Result<RawPulses> {
        match &self.form {
            Form::Competition => {
                let table = self.file.read(Some(&COMPETITION), rows)?;
                Ok(RawPulses {
                    sensor: table.whole("sensor_id")?.into_owned(),
                    time: table.numbers("time")?.into_owned(),
                    charge: table.numbers("charge")?.into_owned(),
                    auxiliary: table.flags("auxiliary")?.into_owned(),
                })
            }
            Form::Merged(places, columns) => {
                let first = rows.start;
                let (pulses, positions) = merged_pulses(&self.file, columns, rows)?;
                let path = &self.source.path;
                let sensor =
                    places.all(&positions, |problem| Error::input(path, format!("from row {first} on: {problem}")))?;
                Ok(RawPulses { sensor, ..pulses })
            }
            Form::Nested(_, all) => {
                let rows = rows.start..rows.end.min(all.time.len());
                Ok(RawPulses {
                    sensor: all.sensor[rows.clone()].to_vec(),
                    time: all.time[rows.clone()].to_vec(),
                    charge: all.charge[rows.clone()].to_vec(),
                    auxiliary: all.auxiliary[rows].to_vec(),
                })
            }
        }
    }

    /// The directions of its events, where they are known.
    pub fn directions(&self, reading: &Reading<'_>) -> Result<Option<Directions>> {
        let Some(meta) = &self.source.meta else { return Ok(None) };
        match reading {
            Reading::Competition => Directions::read(meta).map(Some),
            Reading::Graphnet { config, nested, .. } => {
                let file = ParquetFile::open(&meta.path)?;
                let structure = nested.and_then(|(_, truth)| truth.as_deref());
                let columns = TruthColumns::find(&file, structure, &config.columns)?;
                truth_of(&file, &columns).map(Some)
            }
        }
    }
}

/// Angles of GraphNeT's tables; azimuths are counted from 0.
fn truth_of(file: &ParquetFile, columns: &TruthColumns) -> Result<Directions> {
    let mut names = vec![columns.azimuth.as_str(), columns.zenith.as_str()];
    names.extend(columns.event.as_deref());
    let table = flat(file, &names)?;
    let ids = match &columns.event {
        Some(event) => table.whole(event)?.into_owned(),
        None => (0..file.rows() as i64).collect(),
    };
    let (azimuth, zenith) = (table.numbers(&columns.azimuth)?, table.numbers(&columns.zenith)?);
    // What is no angle in radians stays as it is, and is refused where it is joined.
    let turned = |a: f64| if a.abs() <= std::f64::consts::TAU { a.rem_euclid(std::f64::consts::TAU) } else { a };
    let angles = azimuth.iter().zip(zenith.iter()).map(|(a, z)| [turned(*a), *z]).collect();
    let extra = extra_of(file, columns)?;
    Ok(Directions { rows: (0..ids.len()).collect(), ids, angles, ranges: None, extra: Some(extra) })
}

/// Energy, vertex and kind, as far as the columns are there.
fn extra_of(file: &ParquetFile, columns: &TruthColumns) -> Result<Vec<Extra>> {
    let mut all = vec![targets::UNKNOWN; file.rows()];
    let mut names: Vec<&str> = columns.energy.iter().map(String::as_str).collect();
    names.extend(columns.vertex.iter().flatten().map(String::as_str));
    names.extend(columns.kind.iter().flat_map(|(code, interaction)| [code.as_str(), interaction]));
    let table = flat(file, &names)?;
    if let Some(name) = &columns.energy {
        all.iter_mut().zip(table.numbers(name)?.iter()).for_each(|(extra, value)| extra[0] = *value as f32);
    }
    for (place, name) in columns.vertex.iter().flatten().enumerate() {
        all.iter_mut().zip(table.numbers(name)?.iter()).for_each(|(extra, value)| extra[1 + place] = *value as f32);
    }
    if let Some((code, interaction)) = &columns.kind {
        let (codes, interactions) = (table.whole(code)?, table.whole(interaction)?);
        for (extra, (code, interaction)) in all.iter_mut().zip(codes.iter().zip(interactions.iter())) {
            extra[4] = targets::is_track(*code, *interaction);
        }
    }
    Ok(all)
}

/// Columns of a value a row, of flat or nested files, as a table under their full names.
fn flat(file: &ParquetFile, names: &[&str]) -> Result<Table> {
    let mut table = Table::new();
    for (name, cells) in names.iter().zip(file.cells(names, 0..usize::MAX)?) {
        match cells {
            Cells::Values(column) => table.push(*name, column)?,
            Cells::Lists(_) => {
                let problem = format!("column `{name}` holds lists, expected a value for each event");
                return Err(Error::input(file.path(), problem));
            }
        }
    }
    Ok(table)
}

/// Pulses and where their sensors are, of a table of a row a pulse.
fn merged_pulses(file: &ParquetFile, columns: &Columns, rows: Range<usize>) -> Result<(RawPulses, Vec<[f64; 3]>)> {
    let [x, y, z] = &columns.position;
    let mut names = vec![columns.time.as_str(), x, y, z];
    names.extend(columns.charge.as_deref());
    names.extend(columns.auxiliary.iter().map(|(name, _)| name.as_str()));
    pulses_in(&file.read(Some(&names), rows)?, columns)
}

fn pulses_in(table: &Table, columns: &Columns) -> Result<(RawPulses, Vec<[f64; 3]>)> {
    let [x, y, z] = &columns.position;
    let time = table.numbers(&columns.time)?.into_owned();
    let charge = match &columns.charge {
        Some(name) => table.numbers(name)?.into_owned(),
        None => vec![1.0; time.len()],
    };
    let auxiliary = match &columns.auxiliary {
        Some((name, opposite)) => table.flags(name)?.iter().map(|flag| flag ^ opposite).collect(),
        None => vec![false; time.len()],
    };
    let (x, y, z) = (table.numbers(x)?, table.numbers(y)?, table.numbers(z)?);
    let positions = (0..time.len()).map(|i| [x[i], y[i], z[i]]).collect();
    Ok((RawPulses { sensor: Vec::new(), time, charge, auxiliary }, positions))
}

/// Everything of a nested file.
struct Nested {
    ids: Vec<i64>,
    pulses: RawPulses,
    positions: Vec<[f64; 3]>,
}

fn nested_pulses(file: &ParquetFile, (pulses, truth): (&str, Option<&str>), config: &GraphnetConfig) -> Result<Nested> {
    let columns = Columns::find(file, Some(pulses), &config.columns)?;
    let [x, y, z] = &columns.position;
    let mut names = vec![columns.time.as_str(), x, y, z];
    names.extend(columns.charge.as_deref());
    names.extend(columns.auxiliary.iter().map(|(name, _)| name.as_str()));
    let (mut table, mut offsets): (Table, Option<Vec<usize>>) = (Table::new(), None);
    for (name, cells) in names.iter().zip(file.cells(&names, 0..usize::MAX)?) {
        let Cells::Lists(lists) = cells else {
            let problem = format!("column `{name}` holds a value for each event, expected a list");
            return Err(Error::input(file.path(), problem));
        };
        if let Some(row) = offsets.as_ref().and_then(|known| known.iter().zip(&lists.offsets).position(|(a, b)| a != b))
        {
            let problem = format!("row {}: `{name}` has another number of pulses than `{}`", row - 1, names[0]);
            return Err(Error::input(file.path(), problem));
        }
        offsets.get_or_insert(lists.offsets);
        // An empty list of booleans or the like has no values, but a type all the same.
        table.push(*name, lists.values)?;
    }
    let offsets = offsets.unwrap_or_default();
    let truth_event = match truth {
        Some(truth) => TruthColumns::find(file, Some(truth), &config.columns)?.event,
        None => None,
    };
    let events: Vec<i64> = match columns.event.as_ref().or(truth_event.as_ref()) {
        Some(name) => flat(file, &[name])?.whole(name)?.into_owned(),
        None => (0..file.rows() as i64).collect(),
    };
    let counts = offsets.windows(2).map(|pair| pair[1] - pair[0]);
    let ids = events.iter().zip(counts).flat_map(|(id, n)| std::iter::repeat_n(*id, n)).collect();
    let (pulses, positions) = pulses_in(&table, &columns)?;
    Ok(Nested { ids, pulses, positions })
}

/// Positions of the sensors that a file's pulses are of.
pub fn positions(
    source: &PulseFile,
    config: &GraphnetConfig,
    nested: Option<&(String, Option<String>)>,
) -> Result<Vec<[f64; 3]>> {
    let file = ParquetFile::open(&source.path)?;
    match nested {
        Some((pulses, truth)) => Ok(nested_pulses(&file, (pulses, truth.as_deref()), config)?.positions),
        None => {
            let columns = Columns::find(&file, None, &config.columns)?;
            let mut all = Vec::new();
            for begin in (0..file.rows()).step_by(super::scan::SLICE_ROWS) {
                let [x, y, z] = &columns.position;
                let table = file.read(Some(&[x, y, z]), begin..begin + super::scan::SLICE_ROWS)?;
                let (x, y, z) = (table.numbers(x)?, table.numbers(y)?, table.numbers(z)?);
                for i in 0..x.len() {
                    // Zero has no sign here.
                    let place = [x[i] + 0.0, y[i] + 0.0, z[i] + 0.0];
                    if !place.iter().all(|v| v.is_finite()) {
                        let problem = format!("row {}: a sensor at {place:?}, expected finite numbers", begin + i);
                        return Err(Error::input(&source.path, problem));
                    }
                    all.push(place);
                }
                all.sort_by(geometry::by_place);
                all.dedup();
            }
            Ok(all)
        }
    }
}

/// Sensors by their positions in metres: tables and pulses come from different programs, so the last digits may differ.
#[derive(Debug, Clone, Default)]
pub struct Places {
    cells: HashMap<[i64; 3], Vec<usize>>,
    positions: Vec<[f64; 3]>,
}

/// What two notes of one position may differ by, in metres.
const NEAR_M: f64 = 0.02;

impl Places {
    /// A hash over the positions in their order, which numbers the sensors of pulses.
    pub fn identity(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.positions.as_flattened().iter().for_each(|value| {
            hasher.update(&value.to_le_bytes());
        });
        hasher.finalize().to_hex().to_string()
    }

    /// Sensors in their order.
    pub fn new(positions: Vec<[f64; 3]>) -> Self {
        let mut cells: HashMap<[i64; 3], Vec<usize>> = HashMap::new();
        for (place, position) in positions.iter().enumerate() {
            cells.entry(Self::cell(*position)).or_default().push(place);
        }
        Self { cells, positions }
    }

    fn cell(position: [f64; 3]) -> [i64; 3] {
        position.map(|c| (c / NEAR_M).floor() as i64)
    }

    /// The sensor at a position.
    pub fn find(&self, position: [f64; 3]) -> Option<usize> {
        let [x, y, z] = Self::cell(position);
        let near = |place: &usize| self.positions[*place].iter().zip(position).all(|(a, b)| (a - b).abs() < NEAR_M);
        let mut around =
            (-1..=1).flat_map(|i| (-1..=1).flat_map(move |j| (-1..=1).map(move |k| [x + i, y + j, z + k])));
        around.find_map(|cell| self.cells.get(&cell)?.iter().copied().find(near))
    }

    /// The sensors of pulses.
    fn all(&self, positions: &[[f64; 3]], error: impl Fn(String) -> Error) -> Result<Vec<i64>> {
        // Neighbouring pulses are often of one sensor.
        let mut last: Option<([f64; 3], i64)> = None;
        positions
            .iter()
            .enumerate()
            .map(|(row, &position)| {
                if let Some((known, sensor)) = last
                    && known == position
                {
                    return Ok(sensor);
                }
                let found = self.find(position).ok_or_else(|| {
                    let [x, y, z] = position;
                    error(format!("pulse {row} is of a sensor at ({x}, {y}, {z}) m, where the detector has none"))
                        .hint("name the right table with `detector.sensors=FILE`, or none: `detector.sensors=null`")
                })?;
                last = Some((position, found as i64));
                Ok(found as i64)
            })
            .collect()
    }
}
