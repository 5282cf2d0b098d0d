//! The scalars of a run, in three forms: `metrics.jsonl` (one row a line), `metrics.csv` (one value a line, for
//! spreadsheets and plots) and a TensorBoard event file.
//!
//! A checkpoint holds the [`Positions`] where the files ended; a resumed run cuts them back to there and writes on, so
//! a run that was killed leaves the same rows as one that was not. JSON and csv hold no times and are identical byte for
//! byte. TensorBoard wants the time of each event; a fixed clock makes that file reproducible too.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::durable;
use crate::error::{Error, Result};

/// Where the files of a [`ScalarLog`] end, in bytes. The default is the beginning of a new run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Positions {
    /// Length of `metrics.jsonl`.
    pub jsonl: u64,
    /// Length of `metrics.csv`.
    pub csv: u64,
    /// Length of the event file.
    pub events: u64,
}

/// Name of the rows of JSON.
pub const JSONL: &str = "metrics.jsonl";
/// Name of the csv table `epoch,step,name,value`.
pub const CSV: &str = "metrics.csv";
/// Name of the event file. TensorBoard takes every file with `tfevents` in its name.
pub const EVENTS: &str = "events.out.tfevents.podium";

/// The open metric files of a run.
pub struct ScalarLog {
    jsonl: Appended,
    csv: Appended,
    events: Appended,
    clock: Box<dyn Fn() -> f64 + Send>,
}

/// A file that only grows; every row is one write, so a reader sees whole rows.
struct Appended {
    path: PathBuf,
    file: File,
    length: u64,
}

impl ScalarLog {
    /// Opens the files in `folder` and cuts them back to `positions`; the default begins anew.
    ///
    /// # Errors
    /// [`Error::Input`] where a file is shorter than `positions` says, [`Error::Io`] from the system.
    pub fn resume(folder: impl AsRef<Path>, positions: &Positions) -> Result<Self> {
        Self::with_clock(folder, positions, || {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
        })
    }

    /// As [`ScalarLog::resume`], with a clock (seconds since 1970) for the times in the event file.
    pub fn with_clock(
        folder: impl AsRef<Path>,
        positions: &Positions,
        clock: impl Fn() -> f64 + Send + 'static,
    ) -> Result<Self> {
        let folder = folder.as_ref();
        durable::create_folder(folder)?;
        let open = |name: &str, length: u64| -> Result<Appended> {
            let path = folder.join(name);
            let file = durable::appendable(&path, length)?;
            Ok(Appended { path, file, length })
        };
        let mut log = Self {
            jsonl: open(JSONL, positions.jsonl)?,
            csv: open(CSV, positions.csv)?,
            events: open(EVENTS, positions.events)?,
            clock: Box::new(clock),
        };
        if log.csv.length == 0 {
            log.csv.write(b"epoch,step,name,value\n")?;
        }
        if log.events.length == 0 {
            let mut event = Vec::new();
            event.push(0x09);
            event.extend((log.clock)().to_le_bytes());
            field(&mut event, 3, b"brain.Event:2");
            log.events.write(&record(&event))?;
        }
        Ok(log)
    }

    /// Writes the scalars of one step to all three files. A value that is not finite becomes `null` in JSON.
    pub fn write(&mut self, epoch: u64, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        let mut row = Map::new();
        row.insert("epoch".into(), epoch.into());
        row.insert("step".into(), step.into());
        let mut lines = String::new();
        for (name, value) in scalars {
            row.insert((*name).to_owned(), (*value).into());
            // Names are our own and hold no comma.
            lines.push_str(&format!("{epoch},{step},{name},"));
            lines.push_str(ryu::Buffer::new().format(*value));
            lines.push('\n');
        }
        let mut line = Value::Object(row).to_string();
        line.push('\n');
        self.jsonl.write(line.as_bytes())?;
        self.csv.write(lines.as_bytes())?;
        self.events.write(&record(&event((self.clock)(), step, scalars)))
    }

    /// Puts everything on the disk and says where the files end, for the checkpoint.
    pub fn sync(&mut self) -> Result<Positions> {
        for appended in [&self.jsonl, &self.csv, &self.events] {
            appended.file.sync_data().map_err(|e| Error::io("syncing", &appended.path, e))?;
        }
        Ok(Positions { jsonl: self.jsonl.length, csv: self.csv.length, events: self.events.length })
    }
}

impl Appended {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io("writing", &self.path, e))?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// `Event { wall_time = 1, step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } } }` of TensorFlow's
/// `event.proto` and `summary.proto`.
fn event(wall_time: f64, step: u64, scalars: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (name, scalar) in scalars {
        let mut value = Vec::new();
        field(&mut value, 1, name.as_bytes());
        value.push(0x15);
        value.extend((*scalar as f32).to_le_bytes());
        field(&mut summary, 1, &value);
    }
    let mut event = vec![0x09];
    event.extend(wall_time.to_le_bytes());
    event.push(0x10);
    varint(&mut event, step);
    field(&mut event, 5, &summary);
    event
}

/// A length-delimited field of protobuf.
fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, content.len() as u64);
    out.extend(content);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A record of TensorFlow's file format: length and content, each with its masked checksum.
fn record(content: &[u8]) -> Vec<u8> {
    let masked = |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (content.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), content, &masked(content)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(folder: &Path) -> Vec<Vec<u8>> {
        [JSONL, CSV, EVENTS].iter().map(|name| std::fs::read(folder.join(name)).unwrap()).collect()
    }

    #[test]
    fn a_resumed_log_is_identical_to_an_uninterrupted_one() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
        let clock = || 1.7e9;
        let mut log = ScalarLog::with_clock(&whole, &Positions::default(), clock).unwrap();
        for step in 1..=5u32 {
            log.write(1, step.into(), &[("loss", 1.0 / f64::from(step)), ("lr", 1e-3)]).unwrap();
        }
        drop(log);
        let mut log = ScalarLog::with_clock(&broken, &Positions::default(), clock).unwrap();
        log.write(1, 1, &[("loss", 1.0), ("lr", 1e-3)]).unwrap();
        log.write(1, 2, &[("loss", 0.5), ("lr", 1e-3)]).unwrap();
        let positions = log.sync().unwrap();
        log.write(1, 3, &[("loss", 77.0), ("lr", 1e-3)]).unwrap();
        drop(log);
        let mut log = ScalarLog::with_clock(&broken, &positions, clock).unwrap();
        for step in 3..=5u32 {
            log.write(1, step.into(), &[("loss", 1.0 / f64::from(step)), ("lr", 1e-3)]).unwrap();
        }
        assert_eq!(content(&whole), content(&broken));
        let json = String::from_utf8(content(&whole)[0].clone()).unwrap();
        assert!(json.starts_with("{\"epoch\":1,\"step\":1,\"loss\":1.0,\"lr\":0.001}\n"), "{json}");
        let csv = String::from_utf8(content(&whole)[1].clone()).unwrap();
        assert!(csv.starts_with("epoch,step,name,value\n1,1,loss,1.0\n1,1,lr,0.001\n"), "{csv}");
        // A new run in the same folder begins anew.
        drop(ScalarLog::resume(&broken, &Positions::default()).unwrap());
        assert_eq!(content(&broken)[0], b"");
    }

    #[test]
    fn a_file_shorter_than_the_checkpoint_says_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let positions = Positions { jsonl: 10, ..Positions::default() };
        let error = ScalarLog::resume(folder.path(), &positions).err().unwrap();
        assert!(matches!(error, Error::Input { .. }), "{error}");
    }

    #[test]
    fn events_have_the_bytes_that_tensorboard_reads() {
        // As TensorBoard's protobuf classes serialise step 300, tag `a`, value 0.5, wall time 2.
        let expected = b"\x09\0\0\0\0\0\0\0\x40\x10\xac\x02\x2a\x0a\x0a\x08\x0a\x01a\x15\0\0\0\x3f";
        let found = event(2.0, 300, &[("a", 0.5)]);
        assert_eq!(found, expected);
        let framed = record(&found);
        assert_eq!(framed.len(), 16 + found.len());
        // TensorBoard's own `masked_crc32c` of eight zero bytes.
        assert_eq!(&record(&[])[..12], b"\0\0\0\0\0\0\0\0\x29\x03\x98\x07");
    }
}
