//! Event counts a file (`Nevents`): how many events there are, and how many are short, medium and long.
//!
//! Source: section 2.1; upstream `prepare_data.py`. Upstream keeps them as a pickled dictionary; here they are JSON, and
//! the pickle is read and written for exchange.

use std::path::Path;

use common::durable::{self, Written};
use common::store::pickle::Checkpoint;
use common::{Error, Result};
use serde::{Deserialize, Serialize};

/// Pulses from which an event is medium.
pub const MEDIUM: usize = 64;
/// Pulses from which an event is long.
pub const LONG: usize = 192;

/// Events of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All events.
    pub total: u64,
    /// Fewer than 64 pulses.
    pub short: u64,
    /// 64 to 191 pulses.
    pub medium: u64,
    /// 192 pulses and more.
    pub long: u64,
}

impl Counts {
    /// Counts events by their numbers of pulses.
    pub fn of(lengths: impl Iterator<Item = usize>) -> Self {
        let mut counts = Self::default();
        for length in lengths {
            counts.total += 1;
            *(if length < MEDIUM {
                &mut counts.short
            } else if length < LONG {
                &mut counts.medium
            } else {
                &mut counts.long
            }) += 1;
        }
        counts
    }
}

/// Counts of all files of `train/`, in file order.
pub type Nevents = Vec<(String, Counts)>;

/// Writes the counts as JSON, `{"batch_1.parquet": {"total": …}}`.
pub fn write_json(path: &Path, nevents: &Nevents) -> Result<Written> {
    let map: serde_json::Map<String, serde_json::Value> = nevents
        .iter()
        .map(|(name, counts)| Ok((name.clone(), serde_json::to_value(counts)?)))
        .collect::<Result<_, serde_json::Error>>()
        .map_err(|e| Error::failed(format!("event counts: {e}")))?;
    let text = serde_json::to_string_pretty(&map).map_err(|e| Error::failed(format!("event counts: {e}")))?;
    durable::write(path, format!("{text}\n").as_bytes())
}

/// Reads the counts from JSON or from a pickle, by the ending of the name.
pub fn read(path: &Path) -> Result<Nevents> {
    if path.extension().is_some_and(|e| e == "json") {
        let text = common::store::foreign::read_text(path)?;
        let map: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).map_err(|e| Error::input(path, format!("reading event counts: {e}")))?;
        return map
            .into_iter()
            .map(|(name, value)| match serde_json::from_value(value) {
                Ok(counts) => Ok((name, counts)),
                Err(e) => Err(Error::input(path, format!("`{name}`: {e}"))),
            })
            .collect();
    }
    let file = Checkpoint::open(path)?;
    let mut nevents = Nevents::new();
    for (name, value) in file.value().entries() {
        let count = |key: &str| -> Result<u64> {
            let found = value.expect(key)?.int()?;
            u64::try_from(found).map_err(|_| Error::input(path, format!("`{key}` is {found}, expected a count")))
        };
        let counts =
            Counts { total: count("total")?, short: count("short")?, medium: count("medium")?, long: count("long")? };
        nevents.push((name.text()?.to_owned(), counts));
    }
    if nevents.is_empty() {
        return Err(Error::input(path, "holds no event counts, expected a dictionary of files"));
    }
    Ok(nevents)
}

/// Writes the counts as `Nevents.pickle`, protocol 5, as Python's `pickle.dump` does.
pub fn write_pickle(path: &Path, nevents: &Nevents) -> Result<Written> {
    durable::write(path, &pickled(nevents))
}

/// Entries that Python puts behind one mark.
const BATCH: usize = 1000;

fn pickled(nevents: &Nevents) -> Vec<u8> {
    let mut pickle = Pickle::default();
    pickle.memoized(b"}");
    for batch in nevents.chunks(BATCH) {
        if batch.len() > 1 {
            pickle.body.push(b'(');
        }
        for (name, counts) in batch {
            pickle.text(name);
            pickle.memoized(b"}");
            pickle.body.push(b'(');
            for (key, count) in
                [("total", counts.total), ("short", counts.short), ("medium", counts.medium), ("long", counts.long)]
            {
                pickle.key(key);
                pickle.count(count);
            }
            pickle.body.push(b'u');
        }
        pickle.body.push(if batch.len() > 1 { b'u' } else { b's' });
    }
    pickle.body.push(b'.');
    let mut all = b"\x80\x05\x95".to_vec();
    all.extend((pickle.body.len() as u64).to_le_bytes());
    all.extend(pickle.body);
    all
}

#[derive(Default)]
struct Pickle {
    body: Vec<u8>,
    memo: usize,
    /// The inner keys are the same four objects in every dictionary, so Python refers back to them.
    keys: Vec<(&'static str, usize)>,
}

impl Pickle {
    fn memoized(&mut self, opcodes: &[u8]) {
        self.body.extend(opcodes);
        self.body.push(0x94);
        self.memo += 1;
    }

    fn text(&mut self, text: &str) {
        if let Ok(length) = u8::try_from(text.len()) {
            self.body.extend([0x8c, length]);
        } else {
            self.body.push(b'X');
            self.body.extend((text.len() as u32).to_le_bytes());
        }
        self.memoized(text.as_bytes());
    }

    fn key(&mut self, key: &'static str) {
        match self.keys.iter().find(|(known, _)| *known == key) {
            // The four keys are among the first seven objects, so one byte always holds their place.
            Some((_, place)) => self.body.extend([b'h', *place as u8]),
            None => {
                self.keys.push((key, self.memo));
                self.text(key);
            }
        }
    }

    fn count(&mut self, value: u64) {
        if let Ok(value) = u8::try_from(value) {
            self.body.extend([b'K', value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.body.push(b'M');
            self.body.extend(value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.body.push(b'J');
            self.body.extend(value.to_le_bytes());
        } else {
            self.body.extend([0x8a, 8]);
            self.body.extend(value.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_64_and_192_pulses() {
        let counts = Counts::of([1, 63, 64, 191, 192, 20_000].into_iter());
        assert_eq!(counts, Counts { total: 6, short: 2, medium: 2, long: 2 });
    }

    #[test]
    fn json_and_pickle_give_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        for files in [1, 2, 1500] {
            let nevents: Nevents = (0..files)
                .map(|i| {
                    (format!("batch_{i}.parquet"), Counts { total: i * 777, short: i, medium: 300, long: 1 << 33 })
                })
                .collect();
            let (json, pickle) = (folder.path().join("n.json"), folder.path().join("Nevents.pickle"));
            write_json(&json, &nevents).unwrap();
            write_pickle(&pickle, &nevents).unwrap();
            assert_eq!(read(&json).unwrap(), nevents);
            assert_eq!(read(&pickle).unwrap(), nevents);
        }
    }
}
