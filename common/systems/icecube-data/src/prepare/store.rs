//! One pulse file as a file of the event store: what networks read, encoded once, mapped into memory.
//!
//! Tensors: `event_id` i64 `[n]`, ascending; `offset` i64 `[n + 1]`; `direction` f64 `[n, 2]` (azimuth, zenith; training
//! only), `extra` f32 `[n, 5]` (energy in GeV, vertex in metres, 1 for a track; NaN: not known; where the truth has any); and of the pulses, event by event in file order, `sensor` i16 (`sensor_id`, or `-1 - sensor_id` of an auxiliary
//! pulse), `time` f32 `(t - 10^4) / (3 10^4)` and `charge` f32 `log10(q) / 3`. Ten bytes a pulse. The numbers of the time
//! are those of the detector's config.

use std::path::Path;

use common::cli::signals;
use common::durable::Written;
use common::store::tensors::{Declaration, Dtype, TensorWriter};
use common::{Error, Result};
use serde_json::json;

use super::scan::{SLICE_ROWS, Scan};
use super::source::{PulseReader, RawPulses};
use crate::detector::TimeConfig;
use crate::raw::PulseFile;

/// Scaled time.
pub fn scaled_time(time_ns: f64, config: &TimeConfig) -> f32 {
    ((time_ns - config.shift_ns) / config.scale_ns) as f32
}

/// Scaled logarithm of a charge in photo-electrons.
pub fn scaled_charge(charge: f64) -> f32 {
    (charge.log10() / 3.0) as f32
}

/// Sensor and flag in one number.
pub fn packed(sensor_id: i16, auxiliary: bool) -> i16 {
    if auxiliary { !sensor_id } else { sensor_id }
}

/// Sensor of a packed number.
pub fn sensor_of(packed: i16) -> usize {
    (packed ^ (packed >> 15)) as usize
}

/// Whether a packed number is that of an auxiliary pulse.
pub fn is_auxiliary(packed: i16) -> bool {
    packed < 0
}

/// Writes the store file of one pulse file.
pub fn write(
    source: &PulseFile,
    pulses: &PulseReader<'_>,
    scan: &Scan,
    encoding: &Encoding,
    path: &Path,
) -> Result<Written> {
    let (n, rows) = (scan.events.len(), scan.rows as usize);
    let knows_more = scan.knows_more();
    let mut tensors = vec![
        Declaration::new("event_id", Dtype::I64, &[n]),
        Declaration::new("offset", Dtype::I64, &[n + 1]),
        Declaration::new("sensor", Dtype::I16, &[rows]),
        Declaration::new("time", Dtype::F32, &[rows]),
        Declaration::new("charge", Dtype::F32, &[rows]),
    ];
    if source.meta.is_some() {
        tensors.push(Declaration::new("direction", Dtype::F64, &[n, 2]));
        // Only where something is known: stores of the competition's files stay as they are.
        if knows_more {
            tensors.push(Declaration::new("extra", Dtype::F32, &[n, 5]));
        }
    }
    let about = json!({ "system": "icecube", "source": source.name, "events": n, "pulses": rows });
    let mut writer = TensorWriter::create(path, &tensors, Some(&about))?;
    let mut offset = 0;
    writer.append_elements("offset", &[0i64])?;
    for event in &scan.events {
        offset += event.pulses() as i64;
        writer.append_elements("event_id", &[event.id])?;
        writer.append_elements("offset", &[offset])?;
        if source.meta.is_some() {
            writer.append_elements("direction", &event.direction)?;
            if knows_more {
                writer.append_elements("extra", &event.extra)?;
            }
        }
    }
    // Only the competition's files are known to be in the order of time.
    let as_it_is = scan.in_order() && pulses.in_time() && !encoding.time.from_first;
    if as_it_is {
        for begin in (0..rows).step_by(SLICE_ROWS) {
            signals::check(super::SAVED)?;
            let found = pulses.pulses(begin..begin + SLICE_ROWS)?;
            Block::encode(&found, begin, encoding, source)?.append(&mut writer)?;
        }
    } else {
        // Events or pulses in another order: one file in memory, encoded, then event by event.
        let all = Block::read(pulses, encoding, source)?;
        for event in &scan.events {
            let mut block = Block::default();
            for &(first, n) in &event.rows {
                block.extend(&all, first as usize..(first + n) as usize);
            }
            if !pulses.in_time() {
                block.sort();
            }
            if encoding.time.from_first {
                block.begin_at_first(&encoding.time);
            }
            block.append(&mut writer)?;
        }
    }
    writer.finish()
}

/// What encoding depends on beside the pulses.
#[derive(Debug, Clone, Copy)]
pub struct Encoding {
    /// Number of sensors.
    pub sensors: usize,
    /// How times are scaled.
    pub time: TimeConfig,
}

/// Encoded pulses.
#[derive(Default)]
struct Block {
    sensor: Vec<i16>,
    time: Vec<f32>,
    charge: Vec<f32>,
}

impl Block {
    fn read(pulses: &PulseReader<'_>, encoding: &Encoding, source: &PulseFile) -> Result<Self> {
        let mut all = Self::default();
        for begin in (0..pulses.rows()).step_by(SLICE_ROWS) {
            signals::check(super::SAVED)?;
            let block = Self::encode(&pulses.pulses(begin..begin + SLICE_ROWS)?, begin, encoding, source)?;
            all.extend(&block, 0..block.sensor.len());
        }
        Ok(all)
    }

    fn extend(&mut self, from: &Self, rows: std::ops::Range<usize>) {
        self.sensor.extend_from_slice(&from.sensor[rows.clone()]);
        self.time.extend_from_slice(&from.time[rows.clone()]);
        self.charge.extend_from_slice(&from.charge[rows]);
    }

    fn append(&self, writer: &mut TensorWriter) -> Result<()> {
        writer.append_elements("sensor", &self.sensor)?;
        writer.append_elements("time", &self.time)?;
        writer.append_elements("charge", &self.charge)
    }

    /// By time; pulses of one time keep their order.
    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.time.len()).collect();
        order.sort_by(|&a, &b| self.time[a].total_cmp(&self.time[b]));
        self.sensor = order.iter().map(|&i| self.sensor[i]).collect();
        self.charge = order.iter().map(|&i| self.charge[i]).collect();
        self.time = order.iter().map(|&i| self.time[i]).collect();
    }

    /// Counts times from the first pulse, which then stands at minus the shift.
    fn begin_at_first(&mut self, time: &TimeConfig) {
        let first = self.time.iter().copied().fold(f32::INFINITY, f32::min);
        let begin = scaled_time(0.0, time);
        self.time.iter_mut().for_each(|t| *t = *t - first + begin);
    }

    /// Checks and encodes rows of a file; `first` is the number of the first one, for messages.
    fn encode(pulses: &RawPulses, first: usize, encoding: &Encoding, source: &PulseFile) -> Result<Self> {
        let bad = |row: usize, problem: String| Error::input(&source.path, format!("row {}: {problem}", first + row));
        let RawPulses { sensor: ids, time, charge, auxiliary } = pulses;
        let sensors = encoding.sensors;
        if let Some(row) = time.iter().position(|t| !t.is_finite()) {
            return Err(bad(row, format!("time is {}, expected a finite number", time[row])));
        }
        if let Some(row) = ids.iter().position(|id| !(0..sensors as i64).contains(id)) {
            return Err(bad(row, format!("sensor_id is {}, expected 0 to {}", ids[row], sensors - 1)));
        }
        if let Some(row) = charge.iter().position(|q| !(q.is_finite() && *q > 0.0)) {
            return Err(bad(row, format!("charge is {}, expected more than 0", charge[row])));
        }
        Ok(Self {
            sensor: ids.iter().zip(auxiliary.iter()).map(|(&id, &aux)| packed(id as i16, aux)).collect(),
            time: time.iter().map(|&t| scaled_time(t, &encoding.time)).collect(),
            charge: charge.iter().map(|&q| scaled_charge(q)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensor_and_flag_share_sixteen_bits() {
        for sensor in [0i16, 1, 5159, i16::MAX] {
            for auxiliary in [false, true] {
                let number = packed(sensor, auxiliary);
                assert_eq!((sensor_of(number), is_auxiliary(number)), (sensor as usize, auxiliary));
            }
        }
    }
}
