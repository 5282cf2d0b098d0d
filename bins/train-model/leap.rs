//! LEAP: one network on the arrays of one chain, and its out-of-fold predictions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::cli::print_line;
use common::config::{self, Resolved};
use common::curves::Curves;
use common::durable;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use leap::dataset::Dataset;
use leap::train::{self, Arrays, Options, TrainConfig, Trained};
use neural::device;
use neural::loader::Source;
use neural::trainer::Resume;
use tch::Device;

use crate::args::Args;

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    config: Resolved<TrainConfig>,
    /// Identity of the run for its checkpoints: other data or a limit make another run.
    hash: String,
    limit: Option<u64>,
    prepared: Manifest,
    /// Weights to begin with.
    initial: Option<PathBuf>,
    arrays: Arrays,
    device: Device,
    folder: PathBuf,
}

/// Trains a network.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = resolve_config(&args)? else { return Ok(()) };
    let plan = resolve(&args, config)?;
    if args.run.dry_run {
        describe(&plan);
        return Ok(());
    }
    let config = &plan.config.value;
    let mut stage =
        Stage::begin("train-model", &config.system, &plan.folder, &plan.config.text, config.seed, args.run.force)?;
    stage.upstream(&plan.prepared);
    if let Some(initial) = &plan.initial {
        stage.input("init", initial)?;
    }
    // Where TensorBoard users look for it.
    let hparams = durable::write(stage.folder().join("hparams.yaml"), plan.config.text.as_bytes())?;
    stage.output("hparams", &hparams);
    describe(&plan);
    let resume = if args.run.force { Resume::Never } else { args.resume.clone() };
    let options = Options {
        folder: stage.folder().to_path_buf(),
        device: plan.device,
        resume,
        max_steps: plan.limit,
        initial: plan.initial.as_deref(),
        observer: None,
    };
    let trained = train::train(config, &plan.hash, &plan.arrays, options)?;
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
        let smoke = ["training.epochs=1", "training.batch_size=8", "training.accumulation=1", "val_batch_size=8"];
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
        Error::usage("`--from` is missing: the folder of a finished `prepare-data` stage")
            .hint("for example `--from data`, or `--from -` behind a pipe")
    })?;
    let prepared = Manifest::read(from)?.find("prepare-data")?;
    let device = device::choose(&args.device.device)?;
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::keep_freed_blocks();
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
    let arrays = arrays(&prepared, &config.value, limit)?;
    let initial = initial(args, &config.value)?;
    let mut hash = format!("{} data {}", config.hash, prepared.identity());
    if let Some(limit) = limit {
        hash = format!("{hash} limit {limit}");
    }
    // Other weights to begin with are another run.
    if let Some(path) = &initial {
        hash = format!("{hash} init {}", durable::hash_file(path)?.blake3);
    }
    Ok(Plan { hash, limit, prepared, initial, arrays, device, folder: args.run.folder("train-model"), config })
}

/// The file that `--init` means.
fn initial(args: &Args, config: &TrainConfig) -> Result<Option<PathBuf>> {
    match &args.init {
        Some(path) if path.is_file() => Ok(Some(path.clone())),
        Some(path) => {
            let stage = Manifest::read(&path.to_string_lossy())?.find("train-model")?;
            stage.output("model").map(Some)
        }
        None if config.initial.is_some() => {
            Err(Error::usage("`--init` is missing: the config begins with the weights of another run")
                .hint("name the folder of that run: `--init runs/lstmmamba_stage1`; or draw them: `initial=null`"))
        }
        None => Ok(None),
    }
}

fn arrays(prepared: &Manifest, config: &TrainConfig, limit: Option<u64>) -> Result<Arrays> {
    let chain = config.chain();
    let valid_file = prepared.output(&format!("{chain}/valid"))?;
    let valid: Arc<dyn Source> = Arc::new(Dataset::open(&[("valid".to_string(), valid_file.clone())], None)?);
    Ok(Arrays {
        train: Arc::new(Dataset::train(prepared, chain, &config.rows.selection())?),
        order: None,
        valid: match limit {
            Some(batches) => Arc::new(neural::loader::Head::new(valid, batches * config.val_batch_size)),
            None => valid,
        },
        constants: train::constants_of(&valid_file, chain)?,
    })
}

fn describe(plan: &Plan) {
    let config = &plan.config.value;
    let training = &config.training;
    let steps = plan.arrays.train.rows() / training.batch_size;
    tracing::info!(
        "{}: {} of chain {} on {:?}, into `{}`",
        config.member,
        config.model.name(),
        config.chain(),
        plan.device,
        plan.folder.display()
    );
    tracing::info!(
        "{} training rows, {} steps of {} an epoch, {} epochs; {} validation rows",
        plan.arrays.train.rows(),
        plan.limit.map_or(steps, |limit| steps.min(limit)),
        training.batch_size,
        training.epochs,
        plan.arrays.valid.rows()
    );
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &TrainConfig, annotated: &str, trained: &Trained) -> Result<()> {
    stage.output("model", &durable::hash_file(&trained.model)?);
    stage.output("oof", &trained.oof);
    let folder = stage.folder().to_path_buf();
    for name in ["metrics.jsonl", "metrics.csv"] {
        if folder.join(name).is_file() {
            stage.output(name, &durable::hash_file(folder.join(name))?);
        }
    }
    let curves = Curves::read(&folder.join("metrics.jsonl"))?;
    let subtitle = format!(
        "{} of chain {}, seed {}: R2 {:.6} on the validation rows",
        config.model.name(),
        config.chain(),
        config.seed,
        trained.score.mean()
    );
    let report = curves.report(&config.member, &subtitle, annotated)?;
    stage.output("report", &report.write(&folder.join("report.html"))?);
    if config.oof_npy {
        stage.output("oof.npy", &train::write_npy(&trained.oof.path, &folder.join("oof.npy"))?);
    }
    let state = &trained.outcome.state;
    stage.metric("member", config.member.clone());
    stage.metric("r2", trained.score.mean());
    for (name, r2) in leap::columns::GROUP_NAMES.iter().zip(trained.score.groups()) {
        stage.metric(&format!("r2/{name}"), r2);
    }
    if let Some(kept) = &state.kept {
        stage.metric("best_epoch", kept.epoch + 1);
        stage.metric("best_step", kept.global_step);
        stage.metric("best_score", kept.score);
    }
    stage.metric("steps", state.global_step);
    stage.metric("skipped_steps", state.skipped);
    stage.metric("ended", state.finished.clone().unwrap_or_default());
    stage.metric("rows_per_s", trained.outcome.rows_per_s.round());
    stage.metric("data_wait", (trained.outcome.data_wait * 1e4).round() / 1e4);
    tracing::info!(
        "{}: R2 {:.6} on {} validation rows",
        config.member,
        trained.score.mean(),
        rows_of(&trained.oof.path)?
    );
    Ok(())
}

fn rows_of(oof: &Path) -> Result<usize> {
    Ok(common::store::tensors::TensorFile::open(oof)?.shape("predictions")?[0])
}
