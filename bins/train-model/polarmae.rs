//! PoLAr-MAE: pretraining, or segmentation from a pretrained encoder.

use std::path::PathBuf;
use std::sync::Arc;

use common::config::{self, Resolved};
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use polarmae::dataset::Events;
use polarmae::train::{self, ModelConfig, Sets, TrainConfig, Trained, published};
use tch::Device;

use crate::train_model::args::Args;
use crate::train_model::shared;

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    config: Resolved<TrainConfig>,
    /// Identity of the run for its checkpoints: other data, another pretraining or a limit make another run.
    hash: String,
    upstream: Vec<Manifest>,
    sets: Sets,
    pretrained: Option<PathBuf>,
    device: Device,
    folder: PathBuf,
}

/// The config of the run, translated where it is the original's. None when it was only to be printed.
fn resolve_config(args: &Args, smoke: &[&str]) -> Result<Option<Resolved<TrainConfig>>> {
    let file = &args.config.config;
    let Some(theirs) = published::read(file)? else { return shared::resolve_config(args, smoke) };
    let ours = published::translate(&theirs)?;
    let text = serde_json::to_string_pretty(&ours).map_err(|e| Error::failed(format!("translating: {e}")))?;
    let mut overrides = args.config.overrides.clone();
    overrides.extend(args.run.seed_override());
    overrides.extend(shared::smoke_overrides(args, smoke));
    args.run.printed(config::load_text(file, &(text + "\n"), &overrides)?)
}

/// Trains a network.
pub fn run(args: Args) -> anyhow::Result<()> {
    let smoke = [
        "training.epochs=1",
        "training.batch_size=2",
        "training.accumulation=1",
        "training.max_steps=2",
        "data.max_valid_events=4",
    ];
    let Some(config) = resolve_config(&args, &smoke)? else { return Ok(()) };
    let plan = resolve(&args, config)?;
    describe(&plan);
    if args.run.dry_run {
        return Ok(());
    }
    let config = &plan.config.value;
    let upstream: Vec<&Manifest> = plan.upstream.iter().collect();
    let mut stage = shared::begin(&args, &config.system, config.seed, &plan.config, &upstream)?;
    if let Some(path) = &plan.pretrained {
        stage.input("pretrained", path)?;
    }
    let options = shared::options(&args, &stage, plan.device, plan.pretrained.as_deref());
    let trained = train::train(config, &plan.hash, &plan.sets, options)?;
    publish(&mut stage, config, plan.config.annotated(), &trained)?;
    stage.finish()?;
    Ok(())
}

fn resolve(args: &Args, config: Resolved<TrainConfig>) -> Result<Plan> {
    let from = shared::source(args, "a finished `prepare-data` stage, or of a pretraining to start from")?;
    let prepared = shared::prepared_of(&from, "polarmae")?;
    let device = shared::compute(args)?;
    let sets = Sets {
        train: Arc::new(Events::of_stage(&prepared, "train")?),
        valid: Arc::new(Events::of_stage(&prepared, "valid")?),
    };
    let mut upstream = vec![];
    let pretrained = match &config.value.model {
        ModelConfig::Mae(_) => None,
        ModelConfig::Segmentation(task) => match (&task.pretrained, from.find_if_any("train-model")?) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(stage)) => {
                let path = stage.output("model")?;
                upstream.push(stage);
                Some(path)
            }
            (None, None) => None,
        },
    };
    let hash = shared::identity(&config.hash, &prepared, pretrained.as_deref(), shared::limit(args))?;
    upstream.push(prepared);
    Ok(Plan { hash, upstream, sets, pretrained, device, folder: shared::folder(args), config })
}

fn describe(plan: &Plan) {
    let config = &plan.config.value;
    let what = match &config.model {
        ModelConfig::Mae(task) if task.network.energy_infilling => "PoLAr-MAE pretraining".to_string(),
        ModelConfig::Mae(_) => "Point-MAE pretraining".to_string(),
        ModelConfig::Segmentation(task) => match &plan.pretrained {
            Some(path) => format!("segmentation ({:?} encoder) from `{}`", task.encoder, path.display()),
            None => "segmentation from drawn weights: no pretraining is given".to_string(),
        },
    };
    tracing::info!("{}: {what} on {:?}, into `{}`", config.member, plan.device, plan.folder.display());
    let events = config.data.max_events.map_or(plan.sets.train.len(), |most| most.min(plan.sets.train.len()));
    let training = &config.training;
    let steps = events / training.batch_size;
    tracing::info!(
        "{events} training events, {steps} steps of {} an epoch, {} epochs, at most {} steps; {} validation events",
        training.batch_size,
        training.epochs,
        training.max_steps.map_or("any number of".to_string(), |steps| steps.to_string()),
        plan.sets.valid.len()
    );
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &TrainConfig, annotated: &str, trained: &Trained) -> Result<()> {
    let state = &trained.outcome.state;
    let figure = state.kept.as_ref().map_or("no finite score".to_string(), |kept| format!("score {:.6}", kept.score));
    let subtitle = format!("seed {}: {figure} on the validation events", config.seed);
    shared::publish(stage, &trained.model, &config.member, &subtitle, annotated)?;
    for (name, value) in &trained.before {
        stage.metric(&format!("untrained/{name}"), *value);
    }
    if let Some(first) = state.history.first() {
        stage.metric("first_training_loss", first.training_loss);
        stage.metric("first_score", first.score);
    }
    if let Some(last) = state.history.last() {
        for metric in &last.metrics {
            stage.metric(&format!("last/{}", metric.name), metric.value);
        }
    }
    if let Some(kept) = &state.kept {
        stage.metric("best_step", kept.global_step);
        stage.metric("best_score", kept.score);
        for metric in &kept.metrics {
            stage.metric(&metric.name, metric.value);
        }
    }
    shared::ending(stage, &trained.outcome, "events_per_s");
    Ok(())
}
