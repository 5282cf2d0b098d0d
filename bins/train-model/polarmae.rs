//! PoLAr-MAE: pretraining, or segmentation from a pretrained encoder.

use std::path::PathBuf;
use std::sync::Arc;

use common::cli::print_line;
use common::config::{self, Resolved};
use common::curves::Curves;
use common::durable;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use neural::device;
use neural::trainer::{Resume, Training};
use polarmae::dataset::Events;
use polarmae::train::{self, ModelConfig, Options, Sets, TrainConfig, Trained};
use tch::Device;

use crate::args::Args;

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    config: Resolved<TrainConfig>,
    training: Training,
    /// Identity of the run for its checkpoints: a limited run is another one.
    hash: String,
    limit: Option<u64>,
    upstream: Vec<Manifest>,
    sets: Sets,
    pretrained: Option<PathBuf>,
    device: Device,
    folder: PathBuf,
}

/// Trains a network.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = resolve_config(&args)? else { return Ok(()) };
    let plan = resolve(&args, config)?;
    describe(&plan);
    if args.run.dry_run {
        return Ok(());
    }
    let config = &plan.config.value;
    let mut stage =
        Stage::begin("train-model", &config.system, &plan.folder, &plan.config.text, config.seed, args.run.force)?;
    plan.upstream.iter().for_each(|manifest| stage.upstream(manifest));
    if let Some(path) = &plan.pretrained {
        stage.input("pretrained", path)?;
    }
    let hparams = durable::write(stage.folder().join("hparams.yaml"), plan.config.text.as_bytes())?;
    stage.output("hparams", &hparams);
    let resume = if args.run.force { Resume::Never } else { args.resume.clone() };
    let options = Options {
        folder: stage.folder().to_path_buf(),
        device: plan.device,
        resume,
        max_steps: plan.limit,
        pretrained: plan.pretrained.as_deref(),
        observer: None,
    };
    let trained = train::train(config, &plan.training, &plan.hash, &plan.sets, options)?;
    publish(&mut stage, config, plan.config.annotated(), &trained)?;
    stage.finish()?;
    Ok(())
}

/// None when the config was only to be printed.
fn resolve_config(args: &Args) -> anyhow::Result<Option<Resolved<TrainConfig>>> {
    let mut overrides = args.config.overrides.clone();
    if let Some(seed) = args.run.seed {
        overrides.push(format!("seed={seed}"));
    }
    if args.fast_dev_run {
        let smoke = [
            "training.epochs=1",
            "training.batch_size=2",
            "training.accumulation=1",
            "training.max_steps=2",
            "data.max_valid_events=4",
        ];
        overrides.extend(smoke.map(String::from));
    }
    let config = config::load::<TrainConfig>(Some(&args.config.config), &overrides)?;
    if args.run.print_config {
        print_line(config.annotated().trim_end())?;
        return Ok(None);
    }
    Ok(Some(config))
}

fn resolve(args: &Args, config: Resolved<TrainConfig>) -> Result<Plan> {
    let from = args.from.from.as_deref().ok_or_else(|| {
        Error::usage(
            "`--from` is missing: the folder of a finished `prepare-data` stage, or of a pretraining to start from",
        )
        .hint("for example `--from data`, or `--from -` behind a pipe")
    })?;
    let from = Manifest::read(from)?;
    let prepared = from.find("prepare-data")?;
    if prepared.system != "polarmae" {
        let problem = format!("is of the system `{}`, expected `polarmae`", prepared.system);
        return Err(Error::input(&prepared.folder, problem));
    }
    let device = device::choose(&args.device.device)?;
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::keep_freed_blocks();
    let sets = Sets {
        train: Arc::new(Events::of_stage(&prepared, "train")?),
        valid: Arc::new(Events::of_stage(&prepared, "valid")?),
    };
    let mut upstream = vec![];
    let pretrained = match &config.value.model {
        ModelConfig::Mae(_) => None,
        ModelConfig::Segmentation(task) => match (&task.pretrained, from.find("train-model")) {
            (Some(path), _) => Some(path.clone()),
            (None, Ok(stage)) => {
                let path = stage.output("model")?;
                upstream.push(stage);
                Some(path)
            }
            (None, Err(_)) => None,
        },
    };
    upstream.push(prepared);
    let (training, told) = config.value.training();
    if let Some(told) = told {
        tracing::info!("{told}");
    }
    let mut hash = config.hash.clone();
    if let Some(path) = &pretrained {
        hash.push_str(&format!(" from {}", durable::hash_file(path)?.blake3));
    }
    if let Some(limit) = args.run.limit {
        hash.push_str(&format!(" limit {limit}"));
    }
    let folder = args.run.folder("train-model");
    Ok(Plan { training, hash, limit: args.run.limit, upstream, sets, pretrained, device, folder, config })
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
    let steps = events / plan.training.batch_size;
    tracing::info!(
        "{events} training events, {steps} steps of {} an epoch, {} epochs, at most {} steps; {} validation events",
        plan.training.batch_size,
        plan.training.epochs,
        plan.training.max_steps.map_or("any number of".to_string(), |steps| steps.to_string()),
        plan.sets.valid.len()
    );
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &TrainConfig, annotated: &str, trained: &Trained) -> Result<()> {
    stage.output("model", &durable::hash_file(&trained.model)?);
    let folder = stage.folder().to_path_buf();
    for name in ["metrics.jsonl", "metrics.csv"] {
        if folder.join(name).is_file() {
            stage.output(name, &durable::hash_file(folder.join(name))?);
        }
    }
    let state = &trained.outcome.state;
    let figure = state.kept.as_ref().map_or("no finite score".to_string(), |kept| format!("score {:.6}", kept.score));
    let subtitle = format!("seed {}: {figure} on the validation events", config.seed);
    let report = Curves::read(&folder.join("metrics.jsonl"))?.report(&config.member, &subtitle, annotated)?;
    stage.output("report", &report.write(&folder.join("report.html"))?);
    stage.metric("member", config.member.clone());
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
    stage.metric("steps", state.global_step);
    stage.metric("skipped_steps", state.skipped);
    stage.metric("ended", state.finished.clone().unwrap_or_default());
    stage.metric("events_per_s", (trained.outcome.rows_per_s * 10.0).round() / 10.0);
    Ok(())
}
