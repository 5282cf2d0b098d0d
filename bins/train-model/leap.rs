//! LEAP: one network on the arrays of one chain, and its out-of-fold predictions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::config::Resolved;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use leap::dataset::Dataset;
use leap::train::{self, Arrays, TrainConfig, Trained};
use neural::loader::{Head, Source};
use tch::Device;

use crate::train_model::args::Args;
use crate::train_model::shared;

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
    let smoke = ["training.epochs=1", "training.batch_size=8", "training.accumulation=1", "val_batch_size=8"];
    let Some(config) = shared::resolve_config(&args, &smoke)? else { return Ok(()) };
    let plan = resolve(&args, config)?;
    describe(&plan);
    if args.run.dry_run {
        return Ok(());
    }
    let config = &plan.config.value;
    let mut stage = shared::begin(&args, &config.system, config.seed, &plan.config, &[&plan.prepared])?;
    if let Some(initial) = &plan.initial {
        stage.input("init", initial)?;
    }
    let options = shared::options(&args, &stage, plan.device, plan.initial.as_deref());
    let trained = train::train(config, &plan.hash, &plan.arrays, options)?;
    publish(&mut stage, config, plan.config.annotated(), &trained)?;
    stage.finish()?;
    Ok(())
}

fn resolve(args: &Args, config: Resolved<TrainConfig>) -> Result<Plan> {
    let prepared = shared::prepared(args, "leap")?;
    let device = shared::compute(args)?;
    let limit = shared::limit(args);
    let arrays = arrays(&prepared, &config.value, limit)?;
    let initial = initial(args, &config.value)?;
    let hash = shared::identity(&config.hash, &prepared, initial.as_deref(), limit)?;
    Ok(Plan { hash, limit, prepared, initial, arrays, device, folder: shared::folder(args), config })
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
            Some(batches) => Arc::new(Head::new(valid, batches * config.val_batch_size)),
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
    let subtitle = format!(
        "{} of chain {}, seed {}: R2 {:.6} on the validation rows",
        config.model.name(),
        config.chain(),
        config.seed,
        trained.score.mean()
    );
    shared::publish(stage, &trained.model, &config.member, &subtitle, annotated)?;
    stage.output("oof", &trained.oof);
    if config.oof_npy {
        stage.output("oof.npy", &train::write_npy(&trained.oof.path, &stage.folder().join("oof.npy"))?);
    }
    stage.metric("r2", trained.score.mean());
    for (name, r2) in leap::columns::GROUP_NAMES.iter().zip(trained.score.groups()) {
        stage.metric(&format!("r2/{name}"), r2);
    }
    if let Some(kept) = &trained.outcome.state.kept {
        stage.metric("best_epoch", kept.epoch + 1);
        stage.metric("best_step", kept.global_step);
        stage.metric("best_score", kept.score);
    }
    shared::ending(stage, &trained.outcome, "rows_per_s");
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
