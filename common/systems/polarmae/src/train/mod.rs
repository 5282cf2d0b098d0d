//! Training a network of this system: the tasks that the trainer runs, and what their checkpoints say.

mod ahead;
pub mod config;
mod pretrain;
mod run;
mod segment;
mod sets;
mod setup;
mod task;

use neural::trainer::Metric;

pub use config::{EncoderMode, ModelConfig, Pretraining, SegmentationTask, TrainConfig};
pub use neural::trainer::Options;
pub use pretrain::Pretrain;
pub use run::{Built, Network, Trained, about, build, start_from, train};
pub use segment::Segment;
pub(crate) use segment::classes_of;
pub use sets::Sets;
pub use setup::Setup;
pub(crate) use setup::class_names;
pub use task::Train;

/// A named figure of an evaluation.
fn metric(name: &str, value: f64) -> Metric {
    Metric { name: name.into(), value }
}
