//! `train-model polarmae`: pretraining, or segmentation from a pretrained encoder.

use std::path::{Path, PathBuf};

use common::Result;
use common::config::{self, Resolved};
use common::driver::{Ending, Help, Request, Task};
use common::stage::{Manifest, Stage};
use neural::stages::{self, Begun, Told, TrainFlags};
use polarmae_data::labels::{LEARNS, TRAIN_EVENTS};

use super::config::EncoderMode;
use super::{ModelConfig, Sets, TrainConfig, Trained, train};
use crate::dataset::Events;
use crate::published;

/// A training about to run.
pub struct Train {
    config: Resolved<TrainConfig>,
    /// Identity of the run for its checkpoints: other data, another pretraining or a limit make another run.
    hash: String,
    upstream: Vec<Manifest>,
    sets: Sets,
    pretrained: Option<PathBuf>,
    begun: Begun,
}

impl Task for Train {
    const SYSTEM: &'static str = crate::NAME;
    const STAGE: &'static str = "train-model";
    const HELP: Help = Help {
        flags: &[(
            "--init",
            "as `pretrained` of the model in the config; a segmentation takes the encoder of a pretraining",
        )],
        examples: "  \
  Pretraining of PoLAr-MAE, then linear probing from it:
    train-model configs/polarmae/pretrain/polarmae.yaml --from store --out mae
    train-model configs/polarmae/segment/polarmae_peft.yaml --from mae \\
      --out peft",
        ..Help::NONE
    };
    const READS: &'static [&'static str] = &["--init", "--prefix", "--drop"];
    const SMOKE: &'static [&'static str] = &[
        "training.epochs=1",
        "training.batch_size=2",
        "training.accumulation=1",
        "training.max_steps=2",
        "data.max_valid_events=4",
    ];
    type Flags = TrainFlags;
    type Config = TrainConfig;

    fn recognises(file: &Path) -> Result<bool> {
        published::recognises(file)
    }

    fn config(request: &Request<TrainFlags>) -> Result<Resolved<TrainConfig>> {
        let overrides = request.all_overrides::<Self>()?;
        let load = |overrides: &[String]| -> Result<Resolved<TrainConfig>> {
            match request.config {
                Some(file) => published::load(file, overrides),
                None => config::load(None, overrides),
            }
        };
        let config = load(&overrides)?;
        // Which keys `--init` is short for depends on what is trained.
        let model = if matches!(config.value.model, ModelConfig::Mae(_)) { "mae" } else { "segmentation" };
        let init =
            request.flags.init_as(&format!("model.{model}.pretrained"), &format!("model.{model}.pretrained_part"))?;
        if init.is_empty() { Ok(config) } else { load(&[overrides, init].concat()) }
    }

    fn plan(request: &Request<TrainFlags>, config: Resolved<TrainConfig>) -> Result<Self> {
        let from = request.demanded("a finished `prepare-data` stage, or of a pretraining to start from")?;
        let prepared = stages::prepared_of(from, Self::SYSTEM)?;
        let begun = Begun::training(request)?;
        let events = |set: &str| Events::of_stage(&prepared, set);
        let (train, valid) = (events("train")?, events("valid")?);
        let mut upstream = vec![];
        let pretrained = match &config.value.model {
            ModelConfig::Mae(task) => task.pretrained.as_deref().map(stages::weights_of).transpose()?,
            ModelConfig::Segmentation(task) => match (&task.pretrained, from.find_if_any("train-model")?) {
                (Some(path), _) => Some(stages::weights_of(path)?),
                (None, Some(stage)) => {
                    let path = stage.output("model")?;
                    upstream.push(stage);
                    Some(path)
                }
                (None, None) => None,
            },
        };
        let sets = Sets::new(train, valid, &config.value, pretrained.as_deref())?;
        let hash = stages::identity(&config.hash, &prepared, pretrained.as_deref(), begun.limit)?;
        upstream.push(prepared);
        Ok(Self { config, hash, upstream, sets, pretrained, begun })
    }

    fn describe(&self) -> Vec<String> {
        let config = &self.config.value;
        let what = match &config.model {
            ModelConfig::Mae(task) if task.network.energy_infilling => "PoLAr-MAE pretraining".to_string(),
            ModelConfig::Mae(_) => "Point-MAE pretraining".to_string(),
            ModelConfig::Segmentation(task) => match &self.pretrained {
                Some(path) => format!("segmentation ({:?} encoder) from `{}`", task.encoder, path.display()),
                None => "segmentation from drawn weights: no pretraining is given".to_string(),
            },
        };
        let events = self.events();
        let training = &config.training;
        let steps = events / training.batch_size;
        let most = training.max_steps.map_or("any number of".to_string(), |steps| steps.to_string());
        vec![
            format!("{}: {what} on {:?}", config.member, self.begun.device),
            format!(
                "{events} training events, {steps} steps of {} an epoch, {} epochs, at most {most} steps; {} validation events",
                training.batch_size,
                training.epochs,
                self.sets.valid.len()
            ),
        ]
    }

    fn upstream<'a>(&'a self, _: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        self.upstream.iter().collect()
    }

    fn inputs(&self) -> Vec<(String, PathBuf)> {
        self.pretrained.iter().map(|path| ("pretrained".to_string(), path.clone())).collect()
    }

    fn run(self, stage: &mut Stage) -> Result<Ending> {
        let config = &self.config.value;
        stages::hparams(stage, &self.config.text)?;
        let options = self.begun.options(stage, self.pretrained.as_deref());
        let trained = train(config, &self.hash, &self.sets, options)?;
        stage.metric(TRAIN_EVENTS, self.events());
        if let ModelConfig::Segmentation(task) = &config.model {
            let learns = match (&self.pretrained, task.encoder) {
                (None, EncoderMode::Learns) => "all, from nothing",
                (None, _) => "head alone, on drawn features",
                (Some(_), EncoderMode::Learns) => "all, pretrained",
                (Some(_), _) => "head alone, pretrained",
            };
            stage.metric(LEARNS, learns);
        }
        publish(stage, config, self.config.annotated(), &trained)?;
        Ok(Ending::Finished)
    }
}

impl Train {
    /// Number of training events.
    fn events(&self) -> u64 {
        let there = self.sets.train.len();
        self.config.value.data.max_events.map_or(there, |most| most.min(there))
    }
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &TrainConfig, annotated: &str, trained: &Trained) -> Result<()> {
    let state = &trained.outcome.state;
    let figure = state.kept.as_ref().map(|kept| format!("{} {:.6}", kept.criterion.name, kept.shown()));
    let figure = figure.unwrap_or_else(|| "no finite score".to_string());
    let subtitle = format!("seed {}: {figure} on the validation events", config.seed);
    stages::publish(stage, &trained.model, &config.member)?;
    for (name, value) in &trained.before {
        stage.metric(&format!("untrained/{name}"), *value);
    }
    if let Some(first) = state.history.first() {
        stage.metric("first_training_loss", first.training_loss);
        stage.metric("first_score", first.shown());
    }
    if let Some(last) = state.history.last() {
        for metric in &last.metrics {
            stage.metric(&format!("last/{}", metric.name), metric.value);
        }
    }
    if let Some(kept) = &state.kept {
        stage.metric("best_step", kept.global_step);
        stage.metric("best_score", kept.shown());
        for metric in &kept.metrics {
            stage.metric(&metric.name, metric.value);
        }
    }
    let told = Told { member: &config.member, subtitle: &subtitle, annotated, rows: "events_per_s" };
    stages::ending(stage, &trained.outcome, &told)?;
    Ok(())
}
