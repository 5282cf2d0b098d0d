//! Prepared events as training sees them: memory-mapped shards, addressed as one list.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::stage::Manifest;
use common::store::tensors::TensorFile;
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::classes::UNLABELLED;
use crate::energy::EnergyScale;
use crate::grouping::CHANNELS;
use crate::preparation::Preparation;

/// All events of a set.
#[derive(Debug, Clone)]
pub struct Events {
    shards: Arc<Vec<Shard>>,
    events: u64,
    /// The file of the first ones, for messages.
    place: PathBuf,
    /// The scales that energies are on and are brought onto, where they differ.
    rescale: Option<(EnergyScale, EnergyScale)>,
}

#[derive(Debug)]
struct Shard {
    file: TensorFile,
    source: String,
    raw: String,
    /// Events before this shard, and in it.
    first: u64,
    events: u64,
}

/// What the points of an event are classified as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Their semantic type: shower, track, Michel electron, delta ray.
    #[default]
    Semantic,
    /// The kind of their particle: photon, electron, muon, pion, proton. In files of the later releases.
    Particle,
}

/// One event, as it lies in its file.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventView<'a> {
    /// Rows of x, y, z in voxels and the energy on its scale.
    pub points: &'a [f32],
    /// Class of each point; [`UNLABELLED`] where there is none.
    pub semantic: &'a [u8],
    /// Number of each point's cluster within the event; -1 where it is not known.
    pub cluster: &'a [i32],
    /// Kind of each point's particle; empty where the raw file does not say.
    pub particle: &'a [u8],
    /// Row of each point in the raw event; empty in shards of earlier versions.
    pub voxel: &'a [i32],
    /// Rows of the raw event; 0 in shards of earlier versions.
    pub raw_points: i64,
    /// Name of the raw file, without its ending.
    pub source: &'a str,
    /// Path of the raw file below the raw folder.
    pub raw: &'a str,
    /// Number of the event in the raw file.
    pub row: i64,
}

impl EventView<'_> {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.semantic.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.semantic.is_empty()
    }

    /// Classes as labels of a loss; -1 for points without one.
    pub fn labels(&self) -> Vec<i64> {
        labels(self.semantic)
    }

    /// Labels of a target; none where the file does not know them.
    pub fn labels_of(&self, target: Target) -> Vec<i64> {
        match target {
            Target::Semantic => self.labels(),
            Target::Particle if self.particle.is_empty() => vec![-1; self.len()],
            Target::Particle => labels(self.particle),
        }
    }
}

fn labels(classes: &[u8]) -> Vec<i64> {
    classes.iter().map(|&class| if class == UNLABELLED { -1 } else { i64::from(class) }).collect()
}

impl Events {
    /// A set (`train`, `valid`, `test`) of a `prepare-data` stage. Every file's hash is checked once.
    pub fn of_stage(manifest: &Manifest, set: &str) -> Result<Self> {
        let files = manifest.outputs_with_prefix(&format!("{set}/"))?;
        if files.is_empty() {
            return Err(Error::input(&manifest.folder, format!("holds no prepared events of the set `{set}`"))
                .hint("name its folder in the `sets` of the config of `prepare-data`"));
        }
        Self::open(&files.into_iter().map(|(_, path)| path).collect::<Vec<_>>())
    }

    /// Shards in this order.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut shards = Vec::with_capacity(paths.len());
        let mut first = 0;
        for path in paths {
            let file = TensorFile::open(path)?;
            let events = check(&file, path)?;
            let text =
                |key: &str| file.metadata().and_then(|m| m["identity"][key].as_str()).unwrap_or_default().to_string();
            let source = text("source");
            let raw = match text("file") {
                none if none.is_empty() => format!("{source}.h5"),
                raw => raw,
            };
            shards.push(Shard { file, source, raw, first, events });
            first += events;
        }
        let place = paths.first().cloned().unwrap_or_default();
        Ok(Self { shards: Arc::new(shards), events: first, place, rescale: None })
    }

    /// Number of events.
    pub fn len(&self) -> u64 {
        self.events
    }

    /// A file of the events, to be named where something is wrong with all of them.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The scale of energies that the events were prepared with: that of [`EventView::points`].
    pub fn energy_scale(&self) -> Option<EnergyScale> {
        let metadata = self.shards.first()?.file.metadata()?;
        serde_json::from_value(metadata["energy"].clone()).ok()
    }

    /// How the events were prepared; not known of shards of earlier versions.
    pub fn preparation(&self) -> Option<Preparation> {
        let metadata = self.shards.first()?.file.metadata()?;
        serde_json::from_value(metadata["preparation"].clone()).ok()
    }

    /// Whether any file of the set knows this of its points.
    pub fn knows(&self, target: Target) -> bool {
        match target {
            Target::Semantic => self.labelled(),
            Target::Particle => self.shards.iter().any(|shard| shard.file.contains("particle")),
        }
    }

    /// Whether any point of the set has a class.
    pub fn labelled(&self) -> bool {
        let has = |shard: &Shard| shard.file.metadata().is_none_or(|m| m["labelled"].as_bool() != Some(false));
        self.shards.iter().any(has)
    }

    /// The same events, their energies brought onto another scale by [`Events::rows`].
    #[must_use]
    pub fn onto(mut self, scale: EnergyScale) -> Self {
        self.rescale = self.energy_scale().filter(|from| *from != scale).map(|from| (from, scale));
        self
    }

    /// The other scale that [`Events::onto`] brought energies onto, if any.
    pub fn moved_onto(&self) -> Option<EnergyScale> {
        self.rescale.map(|(_, onto)| onto)
    }

    /// Rows of an event's points as networks take them: energies on the scale of [`Events::onto`].
    pub fn rows(&self, event: &EventView) -> Vec<f32> {
        let mut rows = event.points.to_vec();
        if let Some((from, onto)) = self.rescale {
            rows.chunks_exact_mut(CHANNELS)
                .for_each(|row| row[3] = onto.forward(f64::from(from.inverse(f64::from(row[3])))));
        }
        rows
    }

    /// One event.
    pub fn get(&self, event: u64) -> Result<EventView<'_>> {
        if event >= self.events {
            return Err(Error::failed(format!("event {event} of a set of {}", self.events)));
        }
        let shard = &self.shards[self.shards.partition_point(|s| s.first + s.events <= event)];
        let local = (event - shard.first) as usize;
        let offsets = shard.file.i64("offsets")?;
        let (from, to) = (offsets[local] as usize, offsets[local + 1] as usize);
        let has = |name: &str| shard.file.contains(name);
        Ok(EventView {
            points: &shard.file.f32("points")?[from * CHANNELS..to * CHANNELS],
            semantic: &shard.file.u8("semantic")?[from..to],
            cluster: &shard.file.i32("cluster")?[from..to],
            particle: if has("particle") { &shard.file.u8("particle")?[from..to] } else { &[] },
            voxel: if has("voxel") { &shard.file.i32("voxel")?[from..to] } else { &[] },
            raw_points: if has("raw_points") { shard.file.i64("raw_points")?[local] } else { 0 },
            source: &shard.source,
            raw: &shard.raw,
            row: shard.file.i64("event")?[local],
        })
    }
}

/// Checks a shard, and gives its number of events.
fn check(file: &TensorFile, path: &Path) -> Result<u64> {
    let offsets = file.elements_of_shape::<i64>("offsets", &[None])?;
    let events = offsets.len().saturating_sub(1);
    let points = file.elements_of_shape::<u8>("semantic", &[None])?.len();
    file.elements_of_shape::<f32>("points", &[Some(points), Some(CHANNELS)])?;
    file.elements_of_shape::<i32>("cluster", &[Some(points)])?;
    file.elements_of_shape::<i64>("event", &[Some(events)])?;
    if file.contains("particle") {
        file.elements_of_shape::<u8>("particle", &[Some(points)])?;
    }
    if file.contains("voxel") {
        file.elements_of_shape::<i32>("voxel", &[Some(points)])?;
        file.elements_of_shape::<i64>("raw_points", &[Some(events)])?;
    }
    let sound = offsets.first() == Some(&0)
        && offsets.last() == Some(&(points as i64))
        && offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    if !sound {
        return Err(
            Error::input(path, "`offsets` do not rise from 0 to the number of points").hint("prepare the data again")
        );
    }
    Ok(events as u64)
}
