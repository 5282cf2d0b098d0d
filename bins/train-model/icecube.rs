//! IceCube: one network on prepared events, and its predictions of the validation events.

use std::path::{Path, PathBuf};

use common::cli::print_line;
use common::config::{self, Resolved};
use common::curves::Curves;
use common::durable;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use icecube::train::{self, Data, Options, TrainConfig, Trained, published};
use neural::device;
use neural::trainer::{AVERAGED, CHECKPOINTS, LAST, MODEL, Resume};
use serde_json::Value;
use tch::Device;

use crate::args::Args;

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    config: Resolved<TrainConfig>,
    /// Identity of the run for its checkpoints: a limited run is another one.
    hash: String,
    limit: Option<u64>,
    prepared: Manifest,
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
    let config = resolve_config(&args)?;
    if args.run.print_config {
        return Ok(print_line(config.annotated().trim_end())?);
    }
    let plan = resolve(&args, config)?;
    describe(&plan);
    if args.run.dry_run {
        return Ok(());
    }
    let config = &plan.config.value;
    let mut stage =
        Stage::begin("train-model", &config.system, &plan.folder, &plan.config.text, config.seed, args.run.force)?;
    stage.upstream(&plan.prepared);
    if let Some(weights) = &config.weights {
        stage.input("weights", &train::weights_of(weights)?)?;
    }
    let hparams = durable::write(stage.folder().join("hparams.yaml"), plan.config.text.as_bytes())?;
    stage.output("hparams", &hparams);
    let resume = if args.run.force { Resume::Never } else { args.resume.clone() };
    let options = Options {
        folder: stage.folder().to_path_buf(),
        device: plan.device,
        resume,
        max_steps: plan.limit,
        observer: None,
    };
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
    let mut overrides = vec![];
    if let Some(seed) = args.run.seed {
        overrides.push(format!("seed={seed}"));
    }
    if args.fast_dev_run {
        let smoke = ["training.epochs=1", "training.batch_size=8", "training.accumulate_rows=8", "val_batch_size=8"];
        overrides.extend(smoke.map(String::from));
        overrides.push("sampler.sub_epochs=1".into());
    }
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
    let from = args.from.from.as_deref().ok_or_else(|| {
        Error::usage("`--from` is missing: the folder of a finished `prepare-data` stage")
            .hint("for example `--from data`, or `--from -` behind a pipe")
    })?;
    let prepared = Manifest::read(from)?.find("prepare-data")?;
    let device = device::choose(&args.device.device)?;
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::keep_freed_blocks();
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
    let data = train::data(&config.value, &prepared, limit)?;
    if let Some(weights) = &config.value.weights {
        let file = train::weights_of(weights)?;
        if !file.is_file() {
            return Err(Error::usage(format!("`weights`: there is no `{}`", file.display()))
                .hint("name a weights file, or the folder of a finished `train-model` stage"));
        }
    }
    let hash = match limit {
        Some(limit) => format!("{} limit {limit}", config.hash),
        None => config.hash.clone(),
    };
    Ok(Plan { hash, limit, prepared, data, device, folder: args.run.folder("train-model"), config })
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
    stage.output("model", &durable::hash_file(&trained.model)?);
    stage.output("oof", &trained.oof);
    stage.output("history", &trained.history);
    let folder = stage.folder().to_path_buf();
    // Both kinds of weights of the last sub-epoch, whichever is the result.
    let last = folder.join(CHECKPOINTS).join(LAST);
    for (name, file) in [("last", MODEL), ("last_ema", AVERAGED)] {
        if last.join(file).is_file() {
            stage.output(name, &durable::hash_file(last.join(file))?);
        }
    }
    for name in ["metrics.jsonl", "metrics.csv"] {
        if folder.join(name).is_file() {
            stage.output(name, &durable::hash_file(folder.join(name))?);
        }
    }
    let measures = &trained.measures;
    let averaged = trained.model.ends_with(AVERAGED);
    let whose = if averaged { "averaged" } else { "raw" };
    let curves = Curves::read(&folder.join("metrics.jsonl"))?;
    let subtitle = format!(
        "{}, seed {}: mean opening angle {:.6} rad on {} validation events, {whose} weights",
        config.model.name(),
        config.seed,
        measures.angle,
        measures.events
    );
    let report = curves.report(&config.member, &subtitle, annotated)?;
    stage.output("report", &report.write(&folder.join("report.html"))?);
    let state = &trained.outcome.state;
    stage.metric("member", config.member.clone());
    stage.metric("angle", measures.angle);
    stage.metric("vms", measures.vms);
    stage.metric("undirected", measures.undirected);
    stage.metric("weights", whose);
    if let Some(kept) = &state.kept {
        stage.metric("best_epoch", kept.epoch + 1);
        stage.metric("best_angle", kept.score);
    }
    stage.metric("steps", state.global_step);
    stage.metric("skipped_steps", state.skipped);
    stage.metric("events_per_s", trained.outcome.rows_per_s.round());
    stage.metric("data_wait", (trained.outcome.data_wait * 1e4).round() / 1e4);
    tracing::info!(
        "{}: mean opening angle {:.4} rad on {} validation events",
        config.member,
        measures.angle,
        measures.events
    );
    Ok(())
}
