//! `train-model tracknet`: the step-ahead network, or the network of the tracker, on prepared tracks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::Resolved;
use common::driver::{Ending, Help, Request, Task};
use common::stage::{Manifest, Stage};
use common::{Result, durable};
use neural::loader::{Head, Source};
use neural::stages::{self, Begun, Told, TrainFlags};
use neural::trainer::Outcome;

use super::config::NetworkKind;
use super::{TrainConfig, asked, train};
use crate::boxes::demand_normalizer;
use crate::dataset::Dataset;
use crate::tracker::source::TrackerSource;
use crate::tracker::train::{self as tracker, TrackerConfig};
use crate::{checkpoint, predict};

/// A training about to run.
pub struct Train {
    config: Resolved<TrainConfig>,
    /// Identity of the run for its checkpoints: other data or a limit make another run.
    hash: String,
    prepared: Manifest,
    tracks: Tracks,
    /// The file of weights to begin with.
    initial: Option<PathBuf>,
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
    const HELP: Help = Help { flags: &[("--init", "as `pretrained` of the config")], ..Help::NONE };
    const READS: &'static [&'static str] = &["--init", "--prefix", "--drop"];
    const SMOKE: &'static [&'static str] =
        &["training.epochs=1", "training.batch_size=8", "training.accumulation=1", "val_batch_size=8"];
    type Flags = TrainFlags;
    type Config = TrainConfig;

    fn overrides(request: &Request<TrainFlags>) -> Result<Vec<String>> {
        request.flags.init_as("pretrained", "pretrained_part")
    }

    fn plan(request: &Request<TrainFlags>, config: Resolved<TrainConfig>) -> Result<Self> {
        let prepared = stages::prepared(request, Self::SYSTEM)?;
        let begun = Begun::training(request)?;
        let value = &config.value;
        asked::tell_differences(request.config, request.overrides, &prepared);
        tell_unread(value);
        let initial = value.pretrained.as_deref().map(stages::weights_of).transpose()?;
        let mut hash = stages::identity(&config.hash, &prepared, initial.as_deref(), begun.limit)?;
        if let Some(map) = density_map(value) {
            // Its figures stand in the logs of the run.
            hash += &format!(" density {}", durable::hash_file(map)?.blake3);
        }
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
        if let (Tracks::StepAhead { train, .. }, Some(file)) = (&tracks, &initial) {
            demand_normalizer(file, &train.normalizer(), &prepared.folder)?;
        }
        Ok(Self { config, hash, prepared, tracks, initial, begun })
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

    fn inputs(&self) -> Vec<(String, PathBuf)> {
        let initial = self.initial.iter().map(|file| ("init".to_string(), file.clone()));
        let map = density_map(&self.config.value).map(|map| ("hit_density".to_string(), map.to_path_buf()));
        initial.chain(map).collect()
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let Self { config, hash, tracks, initial, begun, .. } = self;
        stages::hparams(stage, &config.text)?;
        let options = begun.options(stage, initial.as_deref());
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

/// The map of hits, where the run has one.
fn density_map(config: &TrainConfig) -> Option<&Path> {
    let path = config.hit_density_stats_path.as_deref()?;
    (config.network == NetworkKind::StepAhead && path.is_file()).then_some(path)
}

/// Says what the chosen network does not read of the config.
fn tell_unread(config: &TrainConfig) {
    let (unread, whose) = match config.network {
        NetworkKind::StepAhead if config.tracker != TrackerConfig::default() => ("tracker", "the tracker"),
        NetworkKind::Tracker if config.hit_density_stats_path.is_some() => {
            ("hit_density_stats_path", "the published network")
        }
        _ => return,
    };
    tracing::warn!("`{unread}` is read by {whose} alone, `network` is {:?}: it changes nothing", config.network);
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
