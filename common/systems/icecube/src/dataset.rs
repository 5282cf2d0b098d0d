//! Prepared events as trainer and predictor see them: memory-mapped files, addressed as one long list, and the tensors
//! that networks read (section 4).

use std::path::Path;
use std::sync::Arc;

use common::seed::seed_for;
use common::stage::Manifest;
use common::store::tables::read_parquet;
use common::store::tensors::TensorFile;
use common::{Error, Result};
use neural::loader::{Field, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::detector::Frame;
use crate::nevents::{LONG, MEDIUM};
use crate::prepare::store::{is_auxiliary, sensor_of};
use crate::raw;
use crate::selection::{PulseRule, PulseView, Scratch};
use crate::sensors::{IceProfile, Sensors};
use crate::targets::Extra;
use crate::visit;

/// The five validation files of the published runs.
pub fn published_validation() -> Vec<String> {
    (655..660).map(|batch| format!("batch_{batch}.parquet")).collect()
}

/// Events by their number of pulses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lengths {
    /// All events.
    #[default]
    Total,
    /// Fewer than 64 pulses.
    Short,
    /// 64 to 191 pulses.
    Medium,
    /// 192 pulses and more.
    Long,
}

impl Lengths {
    fn takes(self, pulses: usize) -> bool {
        match self {
            Self::Total => true,
            Self::Short => pulses < MEDIUM,
            Self::Medium => (MEDIUM..LONG).contains(&pulses),
            Self::Long => pulses >= LONG,
        }
    }
}

/// Which number of pulses a network is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PulseCount {
    /// That of the whole event, as published.
    #[default]
    All,
    /// That of the pulses that were kept, as GraphNeT's networks were trained.
    Kept,
}

impl PulseCount {
    fn is_published(&self) -> bool {
        *self == Self::All
    }
}

/// How an event becomes the input of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InputConfig {
    /// Pulses of a sequence at most (upstream: `L`).
    pub length: usize,
    /// Which pulses of longer events are kept.
    pub rule: PulseRule,
    /// Which way up the ice profile is read.
    pub ice: IceProfile,
    /// Which number of pulses the network is told: `all` of the event, or the `kept` ones.
    #[serde(skip_serializing_if = "PulseCount::is_published")]
    pub pulse_count: PulseCount,
}

impl Default for InputConfig {
    fn default() -> Self {
        let pulse_count = PulseCount::All;
        Self { length: 192, rule: PulseRule::Uniform, ice: IceProfile::Published, pulse_count }
    }
}

/// Events of several files, one after the other.
pub struct Events {
    files: Vec<EventFile>,
    /// Events before each file, and all of them at the end.
    first: Vec<u64>,
    sensors: Arc<Sensors>,
}

/// One file of the event store.
pub struct EventFile {
    name: String,
    store: TensorFile,
    /// The events that were chosen; `None`: all.
    chosen: Option<Vec<u32>>,
    events: u64,
    directed: bool,
    /// Whether energy, vertex or kind are known.
    extra: bool,
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its id.
    pub id: i64,
    /// Its pulses.
    pub pulses: PulseView<'a>,
    /// Azimuth and zenith in radians, where they are known.
    pub direction: Option<[f64; 2]>,
    /// Energy, vertex and kind, where they are known.
    pub extra: Option<Extra>,
}

impl Events {
    /// Training events of a `prepare-data` stage: all files but those named in `validation`, by name as text.
    ///
    /// # Errors
    /// [`Error::Input`] for missing or changed files, [`Error::Usage`] where nothing is left.
    pub fn training(manifest: &Manifest, validation: &[String], lengths: Lengths) -> Result<Self> {
        let names = Self::named(manifest, "train/");
        let stems: Vec<&str> = validation.iter().map(|name| raw::stem(name)).collect();
        let names: Vec<String> = names.into_iter().filter(|name| !stems.contains(&name.as_str())).collect();
        if names.is_empty() {
            let folder = manifest.folder.display();
            return Err(Error::usage(format!("`{folder}` holds no training files beside those for validation"))
                .hint("prepare more files, or name fewer for validation"));
        }
        Self::of_stage(manifest, "train/", &names, lengths)
    }

    /// The validation files in the order given, which must all be there.
    pub fn validation(manifest: &Manifest, validation: &[String], lengths: Lengths) -> Result<Self> {
        let known = Self::named(manifest, "train/");
        let names: Vec<String> = validation.iter().map(|name| raw::stem(name).to_owned()).collect();
        if let Some(missing) = names.iter().find(|name| !known.contains(name)) {
            let problem = format!("`{}` holds no `train/{missing}` for validation", manifest.folder.display());
            return Err(Error::usage(problem).hint(format!("name files that are there: {}", known.join(", "))));
        }
        Self::of_stage(manifest, "train/", &names, lengths)
    }

    /// The test events, by name of their files as text.
    pub fn test(manifest: &Manifest) -> Result<Self> {
        let names = Self::named(manifest, "test/");
        if names.is_empty() {
            let problem = format!("`{}` holds no test events", manifest.folder.display());
            return Err(Error::usage(problem).hint("prepare them: `test=all` in the config of `prepare-data`"));
        }
        Self::of_stage(manifest, "test/", &names, Lengths::Total)
    }

    /// Names of the files of a part, sorted as upstream sorts them: with their ending.
    fn named(manifest: &Manifest, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> =
            manifest.outputs.keys().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect();
        names.sort_by_key(|name| format!("{name}.parquet"));
        names
    }

    fn of_stage(manifest: &Manifest, prefix: &str, names: &[String], lengths: Lengths) -> Result<Self> {
        let sensors = Arc::new(Sensors::open(&manifest.output("sensors")?)?);
        let files = names
            .iter()
            .map(|name| EventFile::open(name, &manifest.output(&format!("{prefix}{name}"))?, lengths))
            .collect::<Result<Vec<_>>>()?;
        Self::new(files, sensors)
    }

    /// From files directly.
    pub fn new(files: Vec<EventFile>, sensors: Arc<Sensors>) -> Result<Self> {
        let mut first = vec![0];
        for file in &files {
            file.check_sensors(sensors.len())?;
            first.push(first[first.len() - 1] + file.events);
        }
        Ok(Self { files, first, sensors })
    }

    /// Number of events.
    pub fn len(&self) -> u64 {
        self.first[self.first.len() - 1]
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events of each file.
    pub fn chunks(&self) -> Vec<u64> {
        self.files.iter().map(|file| file.events).collect()
    }

    /// Names of the files: `batch_1`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// The detector.
    pub fn sensors(&self) -> &Sensors {
        &self.sensors
    }

    /// How many of these events are among `others` as well, and the first of them.
    pub fn shared_with(&self, others: &Self) -> Result<(u64, Option<i64>)> {
        let sorted = |file: &EventFile| -> Result<Vec<i64>> {
            let ids = file.store.i64("event_id")?;
            Ok(match &file.chosen {
                Some(chosen) => chosen.iter().map(|&place| ids[place as usize]).collect(),
                None => ids.to_vec(),
            })
        };
        let (mut count, mut first) = (0, None);
        for file in &self.files {
            let ours = sorted(file)?;
            let (Some(&low), Some(&high)) = (ours.first(), ours.last()) else { continue };
            for other in &others.files {
                let known = other.store.i64("event_id")?;
                // Ids ascend within a file, so most pairs of files are told apart by their ends.
                if known.first().is_none_or(|least| *least > high) || known.last().is_none_or(|most| *most < low) {
                    continue;
                }
                let theirs = sorted(other)?;
                for id in ours.iter().filter(|id| theirs.binary_search(id).is_ok()) {
                    count += 1;
                    first.get_or_insert(*id);
                }
            }
        }
        Ok((count, first))
    }

    /// Whether directions are known.
    pub fn directed(&self) -> bool {
        self.files.iter().all(|file| file.directed)
    }

    /// Number of pulses of an event; 0 beyond the last.
    pub fn pulses(&self, event: u64) -> usize {
        let found = self.locate(event).and_then(|(file, place)| file.range(place));
        found.map_or(0, |range| range.len())
    }

    /// Whether something of energy, vertex and kind is known in all files.
    pub fn extra(&self) -> bool {
        self.directed() && self.files.iter().all(|file| file.extra)
    }

    /// An event.
    pub fn event(&self, event: u64) -> Result<Event<'_>> {
        let (file, place) = self.locate(event)?;
        file.event(place)
    }

    /// Keeps only the events whose id `keep` accepts.
    #[must_use]
    pub fn filtered(mut self, keep: impl Fn(i64) -> bool) -> Self {
        let mut first = vec![0];
        for file in &mut self.files {
            let ids = file.store.i64("event_id").unwrap_or_default();
            let kept = |place: &u32| ids.get(*place as usize).is_some_and(|id| keep(*id));
            let chosen: Vec<u32> = match &file.chosen {
                Some(chosen) => chosen.iter().copied().filter(kept).collect(),
                None => (0..file.events as u32).filter(kept).collect(),
            };
            file.events = chosen.len() as u64;
            file.chosen = Some(chosen);
            first.push(first[first.len() - 1] + file.events);
        }
        self.first = first;
        self
    }

    /// Keeps only the events that a table of predictions gives a kappa of at least `least`.
    pub fn with_kappa(self, predictions: &Path, least: f64) -> Result<Self> {
        let table = read_parquet(predictions, Some(&["event_id", "kappa"]))?;
        let (ids, kappas) = (table.whole("event_id")?, table.numbers("kappa")?);
        let mut known = std::collections::HashMap::with_capacity(ids.len());
        for (row, (&id, &kappa)) in ids.iter().zip(kappas.iter()).enumerate() {
            if known.insert(id, kappa).is_some() {
                return Err(Error::input(predictions, format!("row {row}: event {id} is there twice")));
            }
        }
        let (all, lacking) = (self.len(), std::cell::Cell::new(0_u64));
        let kept = self.filtered(|id| match known.get(&id) {
            Some(kappa) if !kappa.is_nan() => *kappa >= least,
            _ => {
                lacking.set(lacking.get() + 1);
                false
            }
        });
        if lacking.get() > 0 && !kept.is_empty() {
            tracing::warn!(
                "`{}` gives no kappa of {} of the {all} events: they are left out; `predict --set train` predicts all",
                predictions.display(),
                lacking.get()
            );
        }
        if kept.is_empty() {
            let problem = format!("gives none of the events a kappa of at least {least}");
            return Err(Error::input(predictions, problem).hint("the predictions must be those of the same events"));
        }
        Ok(kept)
    }

    fn locate(&self, event: u64) -> Result<(&EventFile, usize)> {
        if event >= self.len() {
            return Err(Error::failed(format!("event {event} of {}", self.len())));
        }
        let file = self.first.partition_point(|first| *first <= event) - 1;
        let place = (event - self.first[file]) as usize;
        let file = &self.files[file];
        Ok((file, file.chosen.as_ref().map_or(place, |chosen| chosen[place] as usize)))
    }
}

impl EventFile {
    /// Maps a file of the store and checks that its tensors fit each other.
    pub fn open(name: &str, path: &Path, lengths: Lengths) -> Result<Self> {
        let store = TensorFile::open(path)?;
        let n = store.elements_of_shape::<i64>("event_id", &[None])?.len();
        let offsets = store.elements_of_shape::<i64>("offset", &[Some(n + 1)])?;
        let pulses = store.elements_of_shape::<i16>("sensor", &[None])?.len();
        for column in ["time", "charge"] {
            store.elements_of_shape::<f32>(column, &[Some(pulses)])?;
        }
        if offsets[0] != 0 || offsets[n] != pulses as i64 || offsets.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(Error::input(path, "`offset` does not divide the pulses into events")
                .hint("the file is damaged: run `prepare-data` again"));
        }
        let directed = store.contains("direction");
        if directed {
            store.elements_of_shape::<f64>("direction", &[Some(n), Some(2)])?;
        }
        let extra = store.contains("extra");
        if extra {
            store.elements_of_shape::<f32>("extra", &[Some(n), Some(5)])?;
        }
        let chosen: Option<Vec<u32>> = (lengths != Lengths::Total).then(|| {
            let length = |place: &usize| (offsets[place + 1] - offsets[*place]) as usize;
            (0..n).filter(|place| lengths.takes(length(place))).map(|place| place as u32).collect()
        });
        let events = chosen.as_ref().map_or(n, Vec::len) as u64;
        Ok(Self { name: name.to_owned(), store, chosen, events, directed, extra })
    }

    fn check_sensors(&self, sensors: usize) -> Result<()> {
        let packed = self.store.elements::<i16>("sensor")?;
        match packed.iter().position(|&s| sensor_of(s) >= sensors) {
            None => Ok(()),
            Some(pulse) => {
                let problem = format!("pulse {pulse} is of sensor {}, there are {sensors}", sensor_of(packed[pulse]));
                Err(Error::input(self.store.path(), problem).hint("run `prepare-data` again"))
            }
        }
    }

    fn range(&self, place: usize) -> Result<std::ops::Range<usize>> {
        let offsets = self.store.elements::<i64>("offset")?;
        Ok(offsets[place] as usize..offsets[place + 1] as usize)
    }

    fn event(&self, place: usize) -> Result<Event<'_>> {
        let range = self.range(place)?;
        let direction = match self.directed {
            true => {
                let all = self.store.elements::<f64>("direction")?;
                Some([all[2 * place], all[2 * place + 1]])
            }
            false => None,
        };
        let extra = match self.extra {
            true => {
                let all = self.store.elements::<f32>("extra")?;
                Some(std::array::from_fn(|k| all[5 * place + k]))
            }
            false => None,
        };
        Ok(Event {
            extra,
            id: self.store.elements::<i64>("event_id")?[place],
            pulses: PulseView {
                sensor: &self.store.elements::<i16>("sensor")?[range.clone()],
                time: &self.store.elements::<f32>("time")?[range.clone()],
                charge: &self.store.elements::<f32>("charge")?[range],
            },
            direction,
        })
    }
}

/// Events as a source of batches. Tensors of a batch, cut to the longest kept event of it and padded with zeros:
/// `pos` f32 `[B, L, 3]`, `time` f32 `[B, L]`, `charge` f32 `[B, L]`, `auxiliary` i64 `[B, L]`, `qe` i64 `[B, L]`,
/// `ice_properties` f32 `[B, L, 2]`, `mask` bool `[B, L]`, `sensor_id` i64 `[B, L]`, `L0` i64 `[B]` (pulses of the whole
/// event), `idx` i64 `[B]` (event id), and, where directions are known, `target` f32 `[B, 2]`, and, where more is known, `extra` f32
/// `[B, 5]` (log10 of the energy in GeV, vertex in units of positions, 1 for a track).
pub struct EventSource {
    events: Arc<Events>,
    input: InputConfig,
    seed: u64,
    /// Pads to this length instead of the batch's longest event.
    pad_to: Option<usize>,
}

impl EventSource {
    /// Batches of `events`. The random choice of pulses depends on `seed`, the event's id and the visit.
    pub fn new(events: Arc<Events>, input: InputConfig, seed: u64) -> Self {
        Self { events, input, seed, pad_to: None }
    }

    /// Pads every batch to the full sequence length, as upstream's loader does (the networks cut it again).
    #[must_use]
    pub fn padded(mut self) -> Self {
        self.pad_to = Some(self.input.length);
        self
    }

    /// The events.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }
}

impl Source for EventSource {
    fn rows(&self) -> u64 {
        self.events.len()
    }

    fn fields(&self) -> Vec<Field> {
        // Events differ in length: there is no row of fixed shape.
        Vec::new()
    }

    fn gather(&self, _: &[u64], _: &mut [Vec<f32>]) -> Result<()> {
        Err(Error::failed("events have no rows of fixed width"))
    }

    fn tensors(&self, rows: &[u64]) -> Result<Vec<Tensor>> {
        let events = rows
            .iter()
            .map(|&row| {
                let (event, visit) = visit::split(row);
                Ok((self.events.event(event)?, visit))
            })
            .collect::<Result<Vec<_>>>()?;
        let longest = events.iter().map(|(event, _)| event.pulses.sensor.len().min(self.input.length)).max();
        let length = self.pad_to.unwrap_or(longest.unwrap_or(0));
        let mut batch = Buffers::new(rows.len(), length, self.events.directed());
        batch.extra = self.events.extra().then(|| vec![0.0; 5 * rows.len()]);
        let mut scratch = Scratch::default();
        let sensors = self.events.sensors();
        for (place, (event, visit)) in events.iter().enumerate() {
            let seed = if event.pulses.sensor.len() > self.input.length {
                seed_for(self.seed ^ visit.wrapping_mul(0x9e37_79b9_7f4a_7c15), "pulses", event.id as u64)
            } else {
                0
            };
            let kept = self.input.rule.choose(event.pulses, self.input.length, seed, &sensors.positions, &mut scratch);
            batch.fill(place, event, kept, sensors, sensors.ice(self.input.ice));
            if self.input.pulse_count == PulseCount::Kept {
                batch.pulses[place] = kept.len() as i64;
            }
        }
        batch.tensors()
    }
}

/// Values of a batch before they become tensors.
pub struct Buffers {
    events: usize,
    length: usize,
    pos: Vec<f32>,
    time: Vec<f32>,
    charge: Vec<f32>,
    auxiliary: Vec<i64>,
    qe: Vec<i64>,
    ice: Vec<f32>,
    mask: Vec<bool>,
    sensor: Vec<i64>,
    pulses: Vec<i64>,
    ids: Vec<i64>,
    target: Option<Vec<f32>>,
    extra: Option<Vec<f32>>,
}

impl Buffers {
    /// Zeros for `events` events of `length` pulses.
    pub fn new(events: usize, length: usize, directed: bool) -> Self {
        let n = events * length;
        Self {
            events,
            length,
            pos: vec![0.0; 3 * n],
            time: vec![0.0; n],
            charge: vec![0.0; n],
            auxiliary: vec![0; n],
            qe: vec![0; n],
            ice: vec![0.0; 2 * n],
            mask: vec![false; n],
            sensor: vec![0; n],
            pulses: vec![0; events],
            ids: vec![0; events],
            target: directed.then(|| vec![0.0; 2 * events]),
            extra: None,
        }
    }

    /// Writes the kept pulses of an event.
    pub fn fill(&mut self, place: usize, event: &Event<'_>, kept: &[u32], sensors: &Sensors, ice: &[[f32; 2]]) {
        let begin = place * self.length;
        let pulses = &event.pulses;
        for (at, &pulse) in (begin..begin + self.length).zip(kept) {
            let pulse = pulse as usize;
            let packed = pulses.sensor[pulse];
            let sensor = sensor_of(packed);
            self.pos[3 * at..3 * at + 3].copy_from_slice(&sensors.positions[sensor]);
            self.ice[2 * at..2 * at + 2].copy_from_slice(&ice[sensor]);
            self.time[at] = pulses.time[pulse];
            self.charge[at] = pulses.charge[pulse];
            self.auxiliary[at] = i64::from(is_auxiliary(packed));
            self.qe[at] = i64::from(sensors.efficiency[sensor]);
            self.mask[at] = true;
            self.sensor[at] = sensor as i64;
        }
        self.pulses[place] = pulses.sensor.len() as i64;
        self.ids[place] = event.id;
        if let (Some(target), Some(direction)) = (&mut self.target, event.direction) {
            target[2 * place..2 * place + 2].copy_from_slice(&direction.map(|angle| angle as f32));
        }
        if let (Some(all), Some(extra)) = (&mut self.extra, event.extra) {
            all[5 * place..5 * place + 5].copy_from_slice(&scaled(extra, &sensors.frame));
        }
    }

    /// The tensors, in the order of [`EventSource`].
    pub fn tensors(self) -> Result<Vec<Tensor>> {
        let (b, l) = (self.events as i64, self.length as i64);
        let made = [
            Tensor::f_from_slice(&self.pos).and_then(|t| t.f_reshape([b, l, 3])),
            Tensor::f_from_slice(&self.time).and_then(|t| t.f_reshape([b, l])),
            Tensor::f_from_slice(&self.charge).and_then(|t| t.f_reshape([b, l])),
            Tensor::f_from_slice(&self.auxiliary).and_then(|t| t.f_reshape([b, l])),
            Tensor::f_from_slice(&self.qe).and_then(|t| t.f_reshape([b, l])),
            Tensor::f_from_slice(&self.ice).and_then(|t| t.f_reshape([b, l, 2])),
            Tensor::f_from_slice(&self.mask).and_then(|t| t.f_reshape([b, l])),
            Tensor::f_from_slice(&self.sensor).and_then(|t| t.f_reshape([b, l])),
            Tensor::f_from_slice(&self.pulses),
            Tensor::f_from_slice(&self.ids),
        ];
        let target = self.target.map(|target| Tensor::f_from_slice(&target).and_then(|t| t.f_reshape([b, 2])));
        let extra = self.extra.map(|extra| Tensor::f_from_slice(&extra).and_then(|t| t.f_reshape([b, 5])));
        made.into_iter()
            .chain(target)
            .chain(extra)
            .map(|tensor| tensor.map_err(|e| Error::failed(format!("making the tensors of a batch: {e}"))))
            .collect()
    }
}

/// Energy, vertex and kind as heads give them.
fn scaled([energy, x, y, z, track]: Extra, frame: &Frame) -> Extra {
    let place = |v: f32, k: usize| (f64::from(v) - frame.centre_m[k]) as f32 / frame.scale_m as f32;
    let log = if energy > 0.0 { energy.log10() } else { f32::NAN };
    [log, place(x, 0), place(y, 1), place(z, 2), track]
}

/// The inverse of what networks learn: energy in GeV, vertex in metres, probability of a track of its logit.
pub fn unscaled([energy, x, y, z, track]: Extra, frame: &Frame) -> Extra {
    let place = |v: f32, k: usize| v * frame.scale_m as f32 + frame.centre_m[k] as f32;
    [10f32.powf(energy), place(x, 0), place(y, 1), place(z, 2), 1.0 / (1.0 + (-track).exp())]
}
