//! Classes of all points of prepared events, or embeddings of their tokens and points, as files that lead back to the raw
//! voxels.

pub mod config;
pub mod embed;
mod task;
mod writer;

use std::path::Path;
use std::sync::Arc;

use common::cli::{progress, signals};
use common::{Error, Result};
use neural::precision::{Precision, with_autocast};
use neural::weights;
use serde_json::Value;
use tch::{Device, Kind};

use crate::batch::{Batch, Draw};
use crate::dataset::{EventView, Events, Target};
use crate::import;
use crate::models::floats;
use crate::models::segmentation::Segmentation;
use crate::preparation::Preparation;
use crate::train::{Built, ModelConfig, Network, SegmentationTask, build, class_names};
use crate::transforms::Transform;
pub use config::{NetworkConfig, PredictConfig};
pub use task::Predict;
pub use writer::{Finished, Writer};

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
    learned: Learned,
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
        let learned = Learned::of(path)?;
        let ModelConfig::Segmentation(task) = &model else {
            return Err(Error::input(path, "is a pretraining, which knows no classes of points")
                .hint("fine-tune it first: `train-model configs/polarmae/segment/polarmae_peft.yaml --from RUN`"));
        };
        let Built { params, network } = build(&model, settings.device, 0)?;
        weights::load(&params.state(), path, &import::allow())?;
        let Network::Segmentation(network) = network else {
            return Err(Error::failed("the network is no segmentation"));
        };
        Ok(Self { network, task: task.clone(), transforms, learned, member })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.task.network.num_classes
    }

    /// Their names.
    pub fn class_names(&self) -> Vec<String> {
        self.learned.class_names(self.classes())
    }

    /// What it learned from.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Predicts events together, by the rows of their points; `numbers` are theirs in their set.
    pub fn predict(&self, rows: Vec<Vec<f32>>, numbers: &[u64], settings: &Settings) -> Result<Vec<Predicted>> {
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
            let rows = views.iter().map(|view| events.rows(view)).collect();
            for ((number, view), predicted) in numbers.iter().zip(&views).zip(self.predict(rows, &numbers, settings)?) {
                take(*number, view, &predicted)?;
                bar.tick(1);
            }
        }
        bar.finish();
        Ok(())
    }
}

/// What a network learned from, as far as its weights say; published checkpoints say nothing.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    /// How the events were prepared.
    pub data: Option<Preparation>,
    /// What their points were classified as.
    pub target: Target,
    about: Value,
}

impl Learned {
    /// From a file of weights.
    pub fn of(path: &Path) -> Result<Self> {
        if path.extension().is_none_or(|e| e != "safetensors") {
            return Ok(Self::default());
        }
        let Some(about) = weights::metadata(path)? else { return Ok(Self::default()) };
        let data = serde_json::from_value(about["data"].clone()).ok();
        let target = serde_json::from_value(about["target"].clone()).unwrap_or_default();
        Ok(Self { data, target, about })
    }

    /// Names of so many classes.
    pub fn class_names(&self, count: usize) -> Vec<String> {
        class_names(self.target, count, &self.about)
    }

    /// Refuses events that were prepared otherwise, or with `adapt` brings their energies onto the network's scale.
    pub fn fit(&self, events: Events, adapt: bool) -> Result<Events> {
        let (Some(learned), Some(found)) = (&self.data, events.preparation()) else { return Ok(events) };
        let hint = "prepare the events as those of the training, or bring their energies onto the network's scale: \
                    `adapt_energies=true`";
        Ok(match learned.demand(&found, events.place(), adapt, hint)? {
            Some(scale) => events.onto(scale),
            None => events,
        })
    }
}

pub(crate) fn described(path: &Path) -> Result<NetworkConfig> {
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
