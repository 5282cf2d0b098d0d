//! IceCube: one network on prepared events, and its predictions of the validation events.

use std::path::{Path, PathBuf};

use common::config::{self, Resolved};
use common::durable;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use icecube::train::{self, Data, TrainConfig, Trained, published};
use neural::trainer::{AVERAGED, CHECKPOINTS, LAST, MODEL};
use serde_json::Value;
use tch::Device;

use crate::train_model::args::Args;
use crate::train_model::shared;

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    config: Resolved<TrainConfig>,
    /// Identity of the run for its checkpoints: other data, other weights or a limit make another run.
    hash: String,
    limit: Option<u64>,
    prepared: Manifest,
    /// The file of weights to begin with.
    weights: Option<PathBuf>,
    data: Data,
    device: Device,
    folder: PathBuf,
}

/// Whether a file is a `config.json` of the published scripts.
pub fn is_published(file: &Path) -> Result<bool> {
    let is_json = file.extension().is_some_and(|e| e == "json");
    Ok(is_json && config::peek(file, "system")?.is_none() && published::is_published(&read_json(file)?))
}

/// Trains a network.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = args.run.printed(resolve_config(&args)?)? else { return Ok(()) };
    let plan = resolve(&args, config)?;
    describe(&plan);
    if args.run.dry_run {
        return Ok(());
    }
    let config = &plan.config.value;
    let mut stage = shared::begin(&args, &config.system, config.seed, &plan.config, &[&plan.prepared])?;
    if let Some(weights) = &plan.weights {
        stage.input("weights", weights)?;
    }
    let options = shared::options(&args, &stage, plan.device, None);
    let trained = train::train(config, &plan.hash, &plan.data, options)?;
    publish(&mut stage, config, plan.config.annotated(), &trained)?;
    stage.finish()?;
    Ok(())
}

fn read_json(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::opening(file, e))?;
    serde_json::from_str(&text).map_err(|e| Error::usage(format!("`{}`: not JSON: {e}", file.display())))
}

fn resolve_config(args: &Args) -> Result<Resolved<TrainConfig>> {
    let file = &args.config.config;
    let smoke = [
        "training.epochs=1",
        "training.batch_size=8",
        "training.accumulate_rows=8",
        "val_batch_size=8",
        "sampler.sub_epochs=1",
    ];
    let mut overrides: Vec<String> = args.run.seed_override().into_iter().collect();
    overrides.extend(shared::smoke_overrides(args, &smoke));
    if let Some(weights) = &args.init {
        overrides.push(format!("weights={}", weights.display()));
    }
    if is_published(file)? {
        let theirs = published::override_pairs(&read_json(file)?, &args.config.overrides)?;
        let ours = published::translate(&theirs)?;
        let text = serde_json::to_string_pretty(&ours).map_err(|e| Error::failed(format!("translating: {e}")))?;
        return config::load_text(file, &(text + "\n"), &overrides);
    }
    overrides.splice(0..0, args.config.overrides.iter().cloned());
    config::load(Some(file), &overrides)
}

fn resolve(args: &Args, config: Resolved<TrainConfig>) -> Result<Plan> {
    let prepared = shared::prepared(args, "icecube")?;
    let device = shared::compute(args)?;
    let limit = shared::limit(args);
    let data = train::data(&config.value, &prepared, limit)?;
    let weights = config.value.weights.as_deref().map(train::weights_of).transpose()?;
    if let Some(file) = weights.as_deref().filter(|file| !file.is_file()) {
        return Err(Error::usage(format!("`weights`: there is no `{}`", file.display()))
            .hint("name a weights file, or the folder of a finished `train-model` stage"));
    }
    let hash = shared::identity(&config.hash, &prepared, weights.as_deref(), limit)?;
    let hash = hash + &train::identity_of_filter(&config.value)?;
    Ok(Plan { hash, limit, prepared, weights, data, device, folder: shared::folder(args), config })
}

fn describe(plan: &Plan) {
    let config = &plan.config.value;
    let training = &config.training;
    let steps = plan.data.order.len() / training.batch_size;
    tracing::info!("{}: {} on {:?}, into `{}`", config.member, config.model.name(), plan.device, plan.folder.display());
    tracing::info!(
        "{} training events, {} batches of {} a sub-epoch, {} sub-epochs; {} validation events",
        plan.data.train.rows(),
        plan.limit.map_or(steps, |limit| steps.min(limit)),
        training.batch_size,
        training.epochs,
        plan.data.valid.order.len()
    );
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &TrainConfig, annotated: &str, trained: &Trained) -> Result<()> {
    let measures = &trained.measures;
    let averaged = trained.model.ends_with(AVERAGED);
    let whose = if averaged { "averaged" } else { "raw" };
    let subtitle = format!(
        "{}, seed {}: mean opening angle {:.6} rad on {} validation events, {whose} weights",
        config.model.name(),
        config.seed,
        measures.angle,
        measures.events
    );
    shared::publish(stage, &trained.model, &config.member, &subtitle, annotated)?;
    stage.output("oof", &trained.oof);
    stage.output("history", &trained.history);
    // Both kinds of weights of the last sub-epoch, whichever is the result.
    let last = stage.folder().join(CHECKPOINTS).join(LAST);
    for (name, file) in [("last", MODEL), ("last_ema", AVERAGED)] {
        if last.join(file).is_file() {
            stage.output(name, &durable::hash_file(last.join(file))?);
        }
    }
    stage.metric("angle", measures.angle);
    stage.metric("vms", measures.vms);
    stage.metric("undirected", measures.undirected);
    stage.metric("weights", whose);
    if let Some(kept) = &trained.outcome.state.kept {
        stage.metric("best_epoch", kept.epoch + 1);
        stage.metric("best_angle", kept.score);
    }
    shared::ending(stage, &trained.outcome, "events_per_s");
    tracing::info!(
        "{}: mean opening angle {:.4} rad on {} validation events",
        config.member,
        measures.angle,
        measures.events
    );
    Ok(())
}
