//! `train-model tracknet`: the step-ahead network, or the network of the tracker, on prepared tracks.

use std::path::Path;
use std::sync::Arc;

use common::Result;
use common::config::Resolved;
use common::driver::{Ending, Help, Request, Task};
use common::stage::{Manifest, Stage};
use neural::loader::{Head, Source};
use neural::stages::{self, Begun, Told, TrainFlags};
use neural::trainer::Outcome;

use super::config::NetworkKind;
use super::{TrainConfig, train};
use crate::dataset::Dataset;
use crate::tracker::source::TrackerSource;
use crate::tracker::train as tracker;
use crate::{checkpoint, predict};

/// A training about to run.
pub struct Train {
    config: Resolved<TrainConfig>,
    /// Identity of the run for its checkpoints: other data or a limit make another run.
    hash: String,
    prepared: Manifest,
    tracks: Tracks,
    begun: Begun,
}

/// The tracks of a run, as its network reads them.
enum Tracks {
    StepAhead { train: Arc<Dataset>, valid: Arc<Dataset> },
    Tracker { train: Box<TrackerSource>, valid: Box<TrackerSource> },
}

impl Tracks {
    /// Training and validating ones.
    fn rows(&self) -> [u64; 2] {
        match self {
            Self::StepAhead { train, valid } => [train.rows(), valid.rows()],
            Self::Tracker { train, valid } => [train.rows(), valid.rows()],
        }
    }
}

impl Task for Train {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "train-model";
    const HELP: Help = Help::NONE;
    const SMOKE: &'static [&'static str] =
        &["training.epochs=1", "training.batch_size=8", "training.accumulation=1", "val_batch_size=8"];
    type Flags = TrainFlags;
    type Config = TrainConfig;

    fn plan(request: &Request<TrainFlags>, config: Resolved<TrainConfig>) -> Result<Self> {
        let prepared = stages::prepared(request, Self::SYSTEM)?;
        let begun = Begun::training(request)?;
        let value = &config.value;
        let hash = stages::identity(&config.hash, &prepared, None, begun.limit)?;
        let tracks = match value.network {
            NetworkKind::StepAhead => Tracks::StepAhead {
                train: Arc::new(Dataset::of_stage(&prepared, "train")?),
                valid: Arc::new(Dataset::of_stage(&prepared, "valid")?),
            },
            NetworkKind::Tracker => {
                let (train, valid) = tracker::sources(&prepared, &value.tracker, value.seed)?;
                Tracks::Tracker { train: Box::new(train), valid: Box::new(valid) }
            }
        };
        Ok(Self { config, hash, prepared, tracks, begun })
    }

    fn describe(&self) -> Vec<String> {
        let value = &self.config.value;
        let [rows, valid] = self.tracks.rows();
        let (batch, epochs) = (value.training.batch_size, value.training.epochs);
        let limits = [self.begun.limit, value.limit_train_batches];
        let steps = limits.into_iter().flatten().fold(rows.div_ceil(batch), u64::min);
        vec![format!(
            "{}: {rows} training tracks, {steps} steps of {batch} an epoch, {epochs} epochs; {valid} validating tracks",
            value.member
        )]
    }

    fn upstream<'a>(&'a self, _: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        vec![&self.prepared]
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let Self { config, hash, tracks, begun, .. } = self;
        stages::hparams(stage, &config.text)?;
        let options = begun.options(stage, None);
        match tracks {
            Tracks::StepAhead { train: source, valid: shown } => {
                let normalizer = source.normalizer();
                let valid: Arc<dyn Source> = Arc::clone(&shown) as Arc<dyn Source>;
                let valid = match begun.limit {
                    Some(batches) => Arc::new(Head::new(valid, batches * config.value.val_batch_size)),
                    None => valid,
                };
                let trained = train(&config.value, &hash, (source, valid), normalizer, options)?;
                // As published, the first validating track; at the end of the run, not in every epoch.
                let best = checkpoint::load(&trained.model)?;
                let (page, flat) = predict::picture_of_track(&best.network, &shown, 0, stage.folder())?;
                stage.output("last_track_viz.html", &page);
                stage.output("last_track_viz.svg", &flat);
                publish(stage, &config, &trained.outcome, &trained.model)?;
            }
            Tracks::Tracker { train, valid } => {
                let (outcome, model) = tracker::train(&config.value, &hash, (*train, *valid), options)?;
                publish(stage, &config, &outcome, &model)?;
            }
        }
        Ok(Ending::Finished)
    }
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &Resolved<TrainConfig>, outcome: &Outcome, model: &Path) -> Result<()> {
    let (value, state) = (&config.value, &outcome.state);
    let best = state.kept.as_ref().map_or(f64::NAN, |kept| kept.score);
    let subtitle = format!("{:?}, seed {}: validation loss {best:.6}", value.network, value.seed);
    stages::publish(stage, model, &value.member)?;
    if let Some(kept) = &state.kept {
        stage.metric("val_loss", kept.score);
        stage.metric("best_epoch", kept.epoch + 1);
        stage.metric("best_step", kept.global_step);
        for metric in &kept.metrics {
            stage.metric(&metric.name, metric.value);
        }
    }
    let told = Told { member: &value.member, subtitle: &subtitle, annotated: config.annotated(), rows: "rows_per_s" };
    stages::ending(stage, outcome, &told)?;
    tracing::info!("{}: validation loss {best:.6}", value.member);
    Ok(())
}
