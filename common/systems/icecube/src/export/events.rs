//! Pulses to compare a module with `predict` by, and how the programs scale them.

use common::Result;
use common::seed::rng_for;
use common::stage::Manifest;
use rand::RngExt;
use tch::{Kind, Tensor};

use crate::dataset::{Events, InputConfig, Lengths, PulseCount};
use crate::detector::Frame;
use crate::prepare::store::{is_auxiliary, scaled_charge, scaled_time, sensor_of};

/// Events of prepared data, or none: then they are drawn.
pub struct Pulses {
    events: Option<Events>,
    frame: Frame,
}

/// One pulse in raw units.
struct Pulse {
    position: [f32; 3],
    time: f32,
    charge: f32,
    auxiliary: i64,
    sensor: i64,
}

impl Pulses {
    /// The events of the data behind a network.
    pub fn behind(prepared: Option<&Manifest>, frame: &Frame) -> Result<Self> {
        let events = match prepared {
            Some(stage) if stage.outputs.keys().any(|name| name.starts_with("test/")) => Some(Events::test(stage)?),
            Some(stage) if stage.outputs.keys().any(|name| name.starts_with("train/")) => {
                Some(Events::training(stage, &[], Lengths::Total)?)
            }
            _ => None,
        };
        Ok(Self { events: events.filter(|events| !events.is_empty()), frame: frame.clone() })
    }

    /// Raw tensors of so many events of at most so many pulses, the longest ones filling them.
    pub fn draw(&self, events: i64, pulses: i64, seed: u64, sensors: bool) -> Result<Vec<Tensor>> {
        let (b, l) = (events as usize, pulses as usize);
        let mut rng = rng_for(seed, "export pulses", 0);
        let (mut position, mut time, mut charge) = (vec![0.0; b * l * 3], vec![0.0; b * l], vec![0.0; b * l]);
        let (mut auxiliary, mut sensor) = (vec![0_i64; b * l], vec![0_i64; b * l]);
        let (mut mask, mut count) = (vec![false; b * l], vec![0_i64; b]);
        for (event, count) in count.iter_mut().enumerate() {
            let most = if event == 0 { l } else { rng.random_range(1..=l) };
            let found = match &self.events {
                Some(events) => self.real(events, rng.random_range(0..events.len()))?,
                None => (0..most).map(|_| drawn(&mut rng)).collect(),
            };
            *count = found.len().max(1) as i64;
            for (pulse, at) in found.iter().take(most).zip(event * l..) {
                position[3 * at..3 * at + 3].copy_from_slice(&pulse.position);
                (time[at], charge[at]) = (pulse.time, pulse.charge);
                (auxiliary[at], sensor[at], mask[at]) = (pulse.auxiliary, pulse.sensor, true);
            }
        }
        let mut all = vec![
            Tensor::from_slice(&position).view([events, pulses, 3]),
            Tensor::from_slice(&time).view([events, pulses]),
            Tensor::from_slice(&charge).view([events, pulses]),
            Tensor::from_slice(&auxiliary).view([events, pulses]),
            Tensor::from_slice(&mask).view([events, pulses]),
            Tensor::from_slice(&count),
        ];
        if sensors {
            all.push(Tensor::from_slice(&sensor).view([events, pulses]));
        }
        Ok(all)
    }

    fn real(&self, events: &Events, number: u64) -> Result<Vec<Pulse>> {
        let pulses = events.event(number)?.pulses;
        let frame = &self.frame;
        let of = |i: usize| {
            let sensor = sensor_of(pulses.sensor[i]);
            let place = events.sensors().positions[sensor];
            Pulse {
                position: std::array::from_fn(|k| (f64::from(place[k]) * frame.scale_m + frame.centre_m[k]) as f32),
                time: (f64::from(pulses.time[i]) * frame.time.scale_ns + frame.time.shift_ns) as f32,
                charge: 10f32.powf(pulses.charge[i] * 3.0),
                auxiliary: i64::from(is_auxiliary(pulses.sensor[i])),
                sensor: sensor as i64,
            }
        };
        Ok((0..pulses.sensor.len()).map(of).collect())
    }
}

fn drawn(rng: &mut impl RngExt) -> Pulse {
    Pulse {
        position: std::array::from_fn(|_| rng.random_range(-500.0..500.0)),
        time: rng.random_range(9_000.0..16_000.0),
        charge: 10f32.powf(rng.random_range(-0.6..1.2)),
        auxiliary: i64::from(rng.random_range(0..4) != 0),
        sensor: rng.random_range(0..5160),
    }
}

/// The tensors of a batch in the order of [`crate::batch::NAMES`], each value scaled on the host as `prepare-data` does.
pub fn scaled(
    inputs: &[Tensor],
    frame: &Frame,
    input: &InputConfig,
    tables: Option<&(Tensor, Tensor)>,
) -> Result<Vec<Tensor>> {
    let read = |t: &Tensor| {
        Vec::<f64>::try_from(t.to_kind(Kind::Double).contiguous().flatten(0, -1))
            .map_err(|e| common::Error::failed(format!("reading pulses: {e}")))
    };
    let (mask, position, time, charge) = (read(&inputs[4])?, read(&inputs[0])?, read(&inputs[1])?, read(&inputs[2])?);
    let (b, l) = (inputs[4].size()[0], inputs[4].size()[1]);
    let there = |at: usize| mask[at] != 0.0;
    let first = |at: usize| {
        let begin = at / l as usize * l as usize;
        let own = (begin..begin + l as usize).filter(|&i| there(i)).map(|i| time[i]);
        if frame.time.from_first { own.fold(f64::INFINITY, f64::min) } else { 0.0 }
    };
    let n = mask.len();
    let mut all = (vec![0.0_f32; 3 * n], vec![0.0_f32; n], vec![0.0_f32; n]);
    for at in (0..n).filter(|&at| there(at)) {
        for k in 0..3 {
            all.0[3 * at + k] = (position[3 * at + k] - frame.centre_m[k]) as f32 / frame.scale_m as f32;
        }
        all.1[at] = scaled_time(time[at] - first(at), &frame.time);
        all.2[at] = scaled_charge(charge[at]);
    }
    let absent = inputs[4].logical_not();
    let whole = |t: &Tensor| t.to_kind(Kind::Int64).masked_fill(&absent, 0);
    let (qe, ice, sensor) = match tables {
        Some((efficiency, ice)) => {
            let sensor = whole(&inputs[6]);
            let flat = sensor.flatten(0, 1);
            let ice = ice.index_select(0, &flat).view([b, l, 2]).masked_fill(&absent.unsqueeze(-1), 0.0);
            (whole(&efficiency.index_select(0, &flat).view([b, l])), ice, sensor)
        }
        None => {
            let zeros = whole(&inputs[3].zeros_like());
            (zeros.shallow_clone(), Tensor::zeros([b, l, 2], (Kind::Float, zeros.device())), zeros)
        }
    };
    let kept = inputs[4].sum_dim_intlist([1_i64].as_slice(), false, Kind::Int64);
    let count = if input.pulse_count == PulseCount::Kept { kept } else { inputs[5].shallow_clone() };
    Ok(vec![
        Tensor::from_slice(&all.0).view([b, l, 3]),
        Tensor::from_slice(&all.1).view([b, l]),
        Tensor::from_slice(&all.2).view([b, l]),
        whole(&inputs[3]),
        qe,
        ice,
        inputs[4].shallow_clone(),
        sensor,
        count,
        Tensor::arange(b, (Kind::Int64, inputs[4].device())),
    ])
}
