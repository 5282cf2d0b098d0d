//! Which rows of a pulse file belong to which event, found by reading the column `event_id` alone.

use common::store::tables::{ParquetFile, read_parquet};
use common::{Error, Result};

use crate::raw::PulseFile;

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
    pub fn read(source: &PulseFile, pulses: &ParquetFile) -> Result<Self> {
        let mut runs: Vec<(i64, u64, u64)> = Vec::new();
        for begin in (0..pulses.rows()).step_by(SLICE_ROWS) {
            let table = pulses.read(Some(&["event_id"]), begin..begin + SLICE_ROWS)?;
            for (row, &id) in table.i64("event_id")?.iter().enumerate() {
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
                _ => events.push(Event { id, rows: vec![(first, n)], direction: [f64::NAN; 2] }),
            }
        }
        let mut scan = Self { events, rows: pulses.rows() as u64, empty: 0 };
        if source.meta.is_some() {
            scan.join(source)?;
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

    fn join(&mut self, source: &PulseFile) -> Result<()> {
        let Some(path) = &source.meta else { return Ok(()) };
        let columns = ["event_id", "first_pulse_index", "last_pulse_index", "azimuth", "zenith"];
        let table = read_parquet(path, Some(&columns))?;
        let (ids, first, last) =
            (table.i64("event_id")?, table.i64("first_pulse_index")?, table.i64("last_pulse_index")?);
        let (azimuth, zenith) = (table.f64("azimuth")?, table.f64("zenith")?);
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&i| ids[i]);
        if let Some(pair) = order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
            let problem = format!("event {} stands in rows {} and {}", ids[pair[0]], pair[0], pair[1]);
            return Err(Error::input(path, problem));
        }
        let mut known = order.into_iter().peekable();
        for event in &mut self.events {
            while known.next_if(|&i| ids[i] < event.id).is_some() {
                self.empty += 1;
            }
            let Some(row) = known.next_if(|&i| ids[i] == event.id) else {
                let problem = format!("has no event {}, which `{}` has", event.id, source.path.display());
                return Err(Error::input(path, problem).hint("pulse file and meta file must belong together"));
            };
            let bad = |problem: String| Err(Error::input(path, format!("row {row}, event {}: {problem}", event.id)));
            let (begin, n) = event.rows[0];
            if event.rows.len() > 1 || first[row] != begin as i64 || last[row] + 1 != (begin + n) as i64 {
                let found: Vec<String> = event.rows.iter().map(|(b, n)| format!("{b}..={}", b + n - 1)).collect();
                return bad(format!(
                    "rows {}..={} of `{}`, but its pulses are rows {}",
                    first[row],
                    last[row],
                    source.path.display(),
                    found.join(", ")
                ));
            }
            let direction = [azimuth[row], zenith[row]];
            for (name, value, limit) in [("azimuth", direction[0], 2.0), ("zenith", direction[1], 1.0)] {
                if !(0.0..=limit * std::f64::consts::PI).contains(&value) {
                    return bad(format!("{name} is {value}, expected 0 to {limit} pi"));
                }
            }
            event.direction = direction;
        }
        self.empty += known.count() as u64;
        Ok(())
    }
}
