//! Prepared events as training sees them: memory-mapped shards, addressed as one list.

use std::path::{Path, PathBuf};

use common::stage::Manifest;
use common::store::tensors::TensorFile;
use common::{Error, Result};

use crate::energy::EnergyScale;
use crate::grouping::CHANNELS;

/// All events of a set.
#[derive(Debug)]
pub struct Events {
    shards: Vec<Shard>,
    events: u64,
}

#[derive(Debug)]
struct Shard {
    file: TensorFile,
    source: String,
    /// Events before this shard, and in it.
    first: u64,
    events: u64,
}

/// One event, as it lies in its file.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// Rows of x, y, z in voxels and the energy on its scale.
    pub points: &'a [f32],
    /// Semantic type of each point.
    pub semantic: &'a [u8],
    /// Number of each point's cluster within the event.
    pub cluster: &'a [i32],
    /// Name of the raw file, without its ending.
    pub source: &'a str,
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

    /// Semantic types as labels of a loss.
    pub fn labels(&self) -> Vec<i64> {
        self.semantic.iter().map(|&s| i64::from(s)).collect()
    }
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
            let source = file.metadata().and_then(|m| m["identity"]["source"].as_str()).unwrap_or_default().to_string();
            shards.push(Shard { file, source, first, events });
            first += events;
        }
        Ok(Self { shards, events: first })
    }

    /// Number of events.
    pub fn len(&self) -> u64 {
        self.events
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The scale of energies that the events were prepared with.
    pub fn energy_scale(&self) -> Option<EnergyScale> {
        let metadata = self.shards.first()?.file.metadata()?;
        serde_json::from_value(metadata["energy"].clone()).ok()
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
        Ok(EventView {
            points: &shard.file.f32("points")?[from * CHANNELS..to * CHANNELS],
            semantic: &shard.file.u8("semantic")?[from..to],
            cluster: &shard.file.i32("cluster")?[from..to],
            source: &shard.source,
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
