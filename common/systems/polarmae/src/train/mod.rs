//! Training a network of this system: the tasks that the trainer runs, and what their checkpoints say.

pub mod config;
mod pretrain;
mod run;
mod segment;

use std::sync::Arc;

use common::Result;
use neural::trainer::Metric;

use crate::dataset::{EventView, Events};
pub use config::{EncoderMode, ModelConfig, Pretraining, SegmentationTask, TrainConfig};
pub use neural::trainer::Options;
pub use pretrain::Pretrain;
pub use run::{Built, Network, Sets, Trained, about, build, model_of, start_from, train};
pub(crate) use segment::classes_of;
pub use segment::{Evaluated, Segment, evaluate};

/// A named figure of an evaluation.
fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.into(), value }
}

/// Rows of x, y, z, energy of each event.
type Points = Vec<Vec<f32>>;
/// Semantic type of each of its points.
type Labels = Vec<Vec<i64>>;

/// Reads events by number: their points, and their labels.
fn read(events: &Arc<Events>, numbers: &[u64]) -> Result<(Points, Labels)> {
    let views = numbers.iter().map(|&i| events.get(i)).collect::<Result<Vec<EventView>>>()?;
    Ok((views.iter().map(|v| v.points.to_vec()).collect(), views.iter().map(EventView::labels).collect()))
}
