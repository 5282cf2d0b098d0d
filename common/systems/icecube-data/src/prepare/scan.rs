//! Which rows of a pulse file belong to which event, found by reading the column `event_id` alone.

use std::f64::consts::{PI, TAU};
use std::path::Path;

use common::store::tables::{ParquetFile, Table};
use common::{Error, Result};

use super::source::PulseReader;
use crate::raw::{Meta, PulseFile};
use crate::targets::{self, Extra};

/// Rows that are read at a time; memory holds one slice.
pub const SLICE_ROWS: usize = 1 << 21;

/// An event of a pulse file.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: i64,
    /// Its rows: (first, number). More than one entry only where its pulses do not lie together.
    pub rows: Vec<(u64, u64)>,
    /// Azimuth and zenith in radians; NaN where there is no meta file.
    pub direction: [f64; 2],
    /// Energy, vertex and kind, as far as they are known.
    pub extra: Extra,
}

impl Event {
    /// Number of pulses.
    pub fn pulses(&self) -> u64 {
        self.rows.iter().map(|(_, n)| n).sum()
    }
}

/// All events of a pulse file, ascending by id.
#[derive(Debug)]
pub struct Scan {
    /// The events.
    pub events: Vec<Event>,
    /// Rows of the file.
    pub rows: u64,
    /// Events of the meta file without a pulse; they are left out, as upstream does.
    pub empty: u64,
}

impl Scan {
    /// Reads the ids, slice by slice, and joins the directions.
    pub fn read(source: &PulseFile, pulses: &PulseReader<'_>, directions: Option<&Directions>) -> Result<Self> {
        let mut runs: Vec<(i64, u64, u64)> = Vec::new();
        for begin in (0..pulses.rows()).step_by(SLICE_ROWS) {
            for (row, &id) in pulses.ids(begin..begin + SLICE_ROWS)?.iter().enumerate() {
                match runs.last_mut() {
                    Some((last, _, n)) if *last == id => *n += 1,
                    _ => runs.push((id, (begin + row) as u64, 1)),
                }
            }
        }
        // Stable: the pulses of an event keep the order of the file.
        runs.sort_by_key(|(id, _, _)| *id);
        let mut events: Vec<Event> = Vec::with_capacity(runs.len());
        for (id, first, n) in runs {
            match events.last_mut() {
                Some(event) if event.id == id => event.rows.push((first, n)),
                _ => {
                    events.push(Event { id, rows: vec![(first, n)], direction: [f64::NAN; 2], extra: targets::UNKNOWN })
                }
            }
        }
        let mut scan = Self { events, rows: pulses.rows() as u64, empty: 0 };
        if let (Some(known), Some(meta)) = (directions, &source.meta) {
            scan.join(source, &meta.path, known)?;
        }
        Ok(scan)
    }

    /// Whether the file has the events one after the other in ascending order.
    pub fn in_order(&self) -> bool {
        let mut next = 0;
        self.events.iter().all(|event| {
            let [(first, n)] = event.rows[..] else { return false };
            let follows = first == next;
            next = first + n;
            follows
        })
    }

    /// Whether energy, vertex or kind of any event are known.
    pub fn knows_more(&self) -> bool {
        self.events.iter().any(|event| event.extra.iter().any(|value| !value.is_nan()))
    }

    fn join(&mut self, source: &PulseFile, path: &Path, known: &Directions) -> Result<()> {
        let mut order: Vec<usize> = (0..known.ids.len()).collect();
        order.sort_by_key(|&i| known.ids[i]);
        let ids = &known.ids;
        if let Some(pair) = order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
            let problem =
                format!("event {} stands in rows {} and {}", ids[pair[0]], known.rows[pair[0]], known.rows[pair[1]]);
            return Err(Error::input(path, problem));
        }
        let mut rows = order.into_iter().peekable();
        for event in &mut self.events {
            while rows.next_if(|&i| ids[i] < event.id).is_some() {
                self.empty += 1;
            }
            let Some(i) = rows.next_if(|&i| ids[i] == event.id) else {
                let problem = format!("has no event {}, which `{}` has", event.id, source.path.display());
                return Err(Error::input(path, problem).hint("pulse file and meta file must belong together"));
            };
            let bad =
                |problem: String| Error::input(path, format!("row {}, event {}: {problem}", known.rows[i], event.id));
            // Which rows they are may differ, as in a part of a batch; how many there are may not.
            if let Some((first, last)) = known.ranges.as_ref().map(|ranges| ranges[i])
                && last - first + 1 != event.pulses() as i64
            {
                let found: Vec<String> = event.rows.iter().map(|(b, n)| format!("{b}..={}", b + n - 1)).collect();
                let file = source.path.display();
                let problem =
                    format!("rows {first}..={last} of `{file}`, but its pulses are rows {}", found.join(", "));
                return Err(bad(problem).hint(
                    "pulses are missing or belong elsewhere; where they were left out on purpose, take the columns \
                     `first_pulse_index` and `last_pulse_index` out of the meta file",
                ));
            }
            let direction = known.angles[i];
            for (name, value, most, range) in
                [("azimuth", direction[0], TAU, "0 to 2 pi"), ("zenith", direction[1], PI, "0 to pi")]
            {
                // Both ends as floats of 32 bits have them lie beyond by that much.
                if !(0.0..=most + 2e-7).contains(&value) {
                    let error = bad(format!("{name} is {value}, expected {range}"));
                    return Err(match value {
                        _ if value > most => error.hint("angles are in radians: degrees times 0.01745329"),
                        _ if value < 0.0 => error.hint("azimuths are counted from 0: add 2 pi to those below"),
                        _ => error,
                    });
                }
            }
            event.direction = direction;
            if let Some(extra) = &known.extra {
                event.extra = extra[i];
            }
        }
        self.empty += rows.count() as u64;
        Ok(())
    }
}

/// What a table of truths says of its events.
#[derive(Debug, Default)]
pub struct Directions {
    /// Event ids.
    pub ids: Vec<i64>,
    /// Where each event stands in the table.
    pub rows: Vec<usize>,
    /// Azimuth and zenith.
    pub angles: Vec<[f64; 2]>,
    /// First and last pulse, where the table says so.
    pub ranges: Option<Vec<(i64, i64)>>,
    /// Energy, vertex and kind, where the table knows any.
    pub extra: Option<Vec<Extra>>,
}

impl Directions {
    /// Reads a meta file of the competition.
    pub fn read(meta: &Meta) -> Result<Self> {
        // What is not known of an event, as its kind, may be missing; ids and angles are demanded where they are read.
        let file = ParquetFile::open(&meta.path)?.with_holes();
        let ranged = ["first_pulse_index", "last_pulse_index"].into_iter().all(|name| file.has(name));
        let mut columns = vec!["event_id", "azimuth", "zenith"];
        columns.extend(ranged.then_some(["first_pulse_index", "last_pulse_index"]).into_iter().flatten());
        columns.extend(targets::COLUMNS.iter().filter(|name| file.has(name)));
        let mut all = Self { ranges: ranged.then(Vec::new), ..Self::default() };
        let whole = vec![(0, file.rows())];
        for &(first, n) in meta.rows.as_ref().unwrap_or(&whole) {
            all.take(&file.read(Some(&columns), first..first + n)?, first)?;
        }
        Ok(all)
    }

    fn take(&mut self, table: &Table, first: usize) -> Result<()> {
        self.ids.extend_from_slice(&table.whole("event_id")?);
        self.rows.extend(first..first + table.rows());
        let (azimuth, zenith) = (table.numbers("azimuth")?, table.numbers("zenith")?);
        self.angles.extend(azimuth.iter().zip(zenith.iter()).map(|(a, z)| [*a, *z]));
        if let Some(extra) = targets::of_table(table)? {
            self.extra.get_or_insert_default().extend(extra);
        }
        if let Some(ranges) = &mut self.ranges {
            let (first, last) = (table.whole("first_pulse_index")?, table.whole("last_pulse_index")?);
            ranges.extend(first.iter().zip(last.iter()).map(|(a, b)| (*a, *b)));
        }
        Ok(())
    }
}
