//! Classes of all points of prepared events, as files: HDF5 in the style of the raw data, and one table.

pub mod config;
mod task;

use std::path::Path;
use std::sync::Arc;

use common::cli::{progress, signals};
use common::durable::Written;
use common::store::hdf5::ListWriter;
use common::store::tables::{Column, ColumnKind, ParquetWriter, Table};
use common::{Error, Result};
use neural::precision::{Precision, with_autocast};
use neural::weights;
use serde_json::Value;
use tch::{Device, Kind};

use crate::batch::{Batch, Draw};
use crate::dataset::{EventView, Events};
use crate::energy::EnergyScale;
use crate::grouping::CHANNELS;
use crate::import;
use crate::models::floats;
use crate::models::segmentation::{CLASS_NAMES, Segmentation};
use crate::train::{Built, ModelConfig, Network, SegmentationTask, build};
use crate::transforms::Transform;
use common::confusion::Confusion;
pub use config::{NetworkConfig, PredictConfig};
pub use task::Predict;

/// How networks are run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where.
    pub device: Device,
    /// Events that are predicted together. 1: an event's classes depend on nothing else. Published code predicted
    /// batches, whose norm spans all of their events.
    pub batch: u64,
    /// Number format.
    pub precision: Precision,
}

/// A trained segmentation network.
pub struct Segmenter {
    network: Segmentation,
    task: SegmentationTask,
    transforms: Vec<Transform>,
    /// Name of the network.
    pub member: String,
}

/// Classes of the points of one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// `[points, classes]`.
    pub probabilities: Vec<f32>,
    /// The most probable class of each point; the lowest of equal ones.
    pub classes: Vec<i64>,
}

impl Segmenter {
    /// Opens weights that say which network they are, or, with `known`, a published checkpoint (`.ckpt`).
    pub fn open(path: &Path, known: Option<&NetworkConfig>, settings: &Settings) -> Result<Self> {
        let NetworkConfig { model, transforms, member } = match known {
            Some(known) => known.clone(),
            None => described(path)?,
        };
        let ModelConfig::Segmentation(task) = &model else {
            return Err(Error::input(path, "is a pretraining, which knows no classes of points")
                .hint("fine-tune it first: `train-model configs/polarmae/segment/polarmae_peft.yaml --from RUN`"));
        };
        let Built { params, network } = build(&model, settings.device, 0)?;
        weights::load(&params.state(), path, &import::allow())?;
        let Network::Segmentation(network) = network else {
            return Err(Error::failed("the network is no segmentation"));
        };
        Ok(Self { network, task: task.clone(), transforms, member })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.task.network.num_classes
    }

    /// Predicts events together; `numbers` are theirs in their set.
    pub fn predict(&self, events: &[EventView], numbers: &[u64], settings: &Settings) -> Result<Vec<Predicted>> {
        let rows = events.iter().map(|event| event.points.to_vec()).collect();
        let network = &self.task.network;
        let draw = Draw { seed: 0, step: 0, events: numbers };
        let batch = Batch::new(rows, &self.transforms, &network.encoder.tokenizer, draw, settings.device)?;
        let points = batch.point_batch(network.ghost_neighbors, settings.device);
        let logits = tch::no_grad(|| {
            with_autocast(settings.precision, settings.device, || {
                self.network.forward(&batch.grouped, &points, false, false)
            })
        })?;
        let probabilities = floats(&logits.softmax(-1, Kind::Float))?;
        let classes = crate::train::classes_of(&logits)?;
        let width = self.classes();
        let cut = |(start, length): (i64, i64)| {
            let rows = start as usize..(start + length) as usize;
            Predicted {
                probabilities: probabilities[rows.start * width..rows.end * width].to_vec(),
                classes: classes[rows].to_vec(),
            }
        };
        Ok(points.runs.iter().map(cut).collect())
    }

    /// Predicts the first `most` events of a set in order, and hands each to `take`.
    pub fn run(
        &self,
        events: &Arc<Events>,
        most: u64,
        settings: &Settings,
        mut take: impl FnMut(u64, &EventView, &Predicted) -> Result<()>,
    ) -> Result<()> {
        let count = most.min(events.len());
        let bar = progress::Bar::new("predict", count);
        for start in (0..count).step_by(settings.batch as usize) {
            signals::check("nothing is written; the same command predicts anew")?;
            let numbers: Vec<u64> = (start..(start + settings.batch).min(count)).collect();
            let views = numbers.iter().map(|&i| events.get(i)).collect::<Result<Vec<_>>>()?;
            for ((number, view), predicted) in numbers.iter().zip(&views).zip(self.predict(&views, &numbers, settings)?)
            {
                take(*number, view, &predicted)?;
                bar.tick(1);
            }
        }
        bar.finish();
        Ok(())
    }
}

fn described(path: &Path) -> Result<NetworkConfig> {
    let bad = |problem: &str| {
        Error::input(path, problem.to_string()).hint(
            "a published checkpoint needs the config of its network: `predict CONFIG --weights FILE --data FOLDER`",
        )
    };
    if path.extension().is_none_or(|e| e != "safetensors") {
        return Err(bad("does not say which network it holds"));
    }
    let about: Value = weights::metadata(path)?.ok_or_else(|| bad("does not say which network it holds"))?;
    let part = |key: &str| about[key].clone();
    let model =
        serde_json::from_value(part("model")).map_err(|e| bad(&format!("describes an unknown network: {e}")))?;
    let transforms =
        serde_json::from_value(part("transforms")).map_err(|e| bad(&format!("describes unknown transforms: {e}")))?;
    Ok(NetworkConfig { model, transforms, member: about["member"].as_str().unwrap_or_default().to_string() })
}

/// Writes predictions event by event; memory does not grow with their number.
pub struct Writer {
    lists: ListWriter,
    table: ParquetWriter,
    classes: usize,
    scale: EnergyScale,
    pending: Pending,
    counted: Confusion,
}

#[derive(Default)]
struct Pending {
    whole: [Vec<i64>; 5],
    values: Vec<Vec<f32>>,
}

/// Points that are collected before a part of the table is written.
const BLOCK: usize = 1 << 18;
const WHOLE: [&str; 5] = ["event", "row", "point", "label", "prediction"];
const PLACE: [&str; 4] = ["x", "y", "z", "energy_mev"];

impl Writer {
    /// Opens `predictions.h5` and `predictions.parquet` in `folder`.
    pub fn create(folder: &Path, classes: usize, scale: EnergyScale) -> Result<Self> {
        let lists = ListWriter::create(
            folder.join("predictions.h5"),
            &["point", "probability"],
            &["prediction", "label", "source_row"],
        )?;
        let mut schema: Vec<(String, ColumnKind)> = WHOLE.iter().map(|n| ((*n).to_string(), ColumnKind::I64)).collect();
        let named =
            PLACE.iter().map(|n| (*n).to_string()).chain(CLASS_NAMES[..classes].iter().map(|n| format!("p_{n}")));
        schema.extend(named.map(|name| (name, ColumnKind::F32)));
        let table = ParquetWriter::create(folder.join("predictions.parquet"), &schema)?;
        let pending = Pending { values: vec![vec![]; PLACE.len() + classes], ..Pending::default() };
        Ok(Self { lists, table, classes, scale, pending, counted: Confusion::new(classes) })
    }

    /// Appends one event.
    pub fn append(&mut self, number: u64, event: &EventView, predicted: &Predicted) -> Result<()> {
        let labels = event.labels();
        self.counted.add(&labels, &predicted.classes);
        let mut points = event.points.to_vec();
        points.chunks_exact_mut(CHANNELS).for_each(|row| row[3] = self.scale.inverse(f64::from(row[3])));
        let narrow = |list: &[i64]| list.iter().map(|&v| v as i32).collect::<Vec<_>>();
        self.lists.append_floats("point", &points)?;
        self.lists.append_floats("probability", &predicted.probabilities)?;
        self.lists.append_integers("prediction", &narrow(&predicted.classes))?;
        self.lists.append_integers("label", &narrow(&labels))?;
        self.lists.append_integers("source_row", &[event.row as i32])?;
        for (i, (row, p)) in
            points.chunks_exact(CHANNELS).zip(predicted.probabilities.chunks_exact(self.classes)).enumerate()
        {
            let whole = [number as i64, event.row, i as i64, labels[i], predicted.classes[i]];
            self.pending.whole.iter_mut().zip(whole).for_each(|(column, v)| column.push(v));
            self.pending.values.iter_mut().zip(row.iter().chain(p)).for_each(|(column, v)| column.push(*v));
        }
        if self.pending.whole[0].len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let mut table = Table::new();
        for (name, column) in WHOLE.iter().zip(&mut self.pending.whole) {
            table.push(*name, Column::I64(std::mem::take(column)))?;
        }
        let names =
            PLACE.iter().map(|n| (*n).to_string()).chain(CLASS_NAMES[..self.classes].iter().map(|n| format!("p_{n}")));
        for (name, column) in names.zip(&mut self.pending.values) {
            table.push(name, Column::F32(std::mem::take(column)))?;
        }
        self.table.append(&table)
    }

    /// Publishes both files: HDF5, parquet, and the counts of all points with a known label.
    pub fn finish(mut self) -> Result<(Written, Written, Confusion)> {
        self.flush()?;
        Ok((self.lists.finish()?, self.table.finish()?, self.counted))
    }
}
