//! From arguments to a finished stage.

use std::path::PathBuf;
use std::sync::Arc;

use common::config::{self, Resolved};
use common::durable;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use leap::columns::GROUPS;
use leap::dataset::Dataset;
use leap::finetune::{self, Base, FinetuneConfig, Merged};
use leap::train::{self, Arrays, Options};
use neural::device;
use neural::loader::{Head, Source};
use neural::trainer::Resume;
use tch::Device;

use crate::finetune_group::args::Args;

/// What will be done: everything resolved and found, nothing written.
struct Plan {
    config: Resolved<FinetuneConfig>,
    /// Identity of the run for its checkpoints.
    hash: String,
    limit: Option<u64>,
    groups: Vec<usize>,
    base: Base,
    upstream: Vec<Manifest>,
    arrays: Arrays,
    device: Device,
    folder: PathBuf,
}

/// Fine-tunes the groups of a network.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = resolve_config(&args)? else { return Ok(()) };
    let plan = resolve(&args, config)?;
    describe(&plan);
    if args.run.dry_run {
        return Ok(());
    }
    let config = &plan.config.value;
    let mut stage =
        Stage::begin("finetune-group", &config.system, &plan.folder, &plan.config.text, config.seed, args.run.force)?;
    plan.upstream.iter().for_each(|manifest| stage.upstream(manifest));
    stage.input("base", &plan.base.path)?;
    let resume = if args.run.force { Resume::Never } else { args.resume.clone() };
    let options = |resume: &Resume| Options {
        folder: stage.folder().to_path_buf(),
        device: plan.device,
        resume: resume.clone(),
        max_steps: plan.limit,
        initial: None,
        observer: None,
    };
    let base_score = finetune::score_base(&plan.base, config, &plan.arrays, &options(&resume))?;
    tracing::info!("base: R2 {:.6}", base_score.mean());
    let mut tuned = vec![];
    for group in 0..GROUPS {
        let wanted = plan.groups.contains(&group);
        if wanted || finetune::is_done(stage.folder(), group) {
            let resume = if wanted { &resume } else { &Resume::Auto };
            tuned.push(finetune::tune(
                group,
                &plan.base,
                &base_score,
                config,
                &plan.hash,
                &plan.arrays,
                options(resume),
            )?);
        }
    }
    if tuned.len() < GROUPS {
        let missing: Vec<String> =
            (0..GROUPS).filter(|g| tuned.iter().all(|t| t.group != *g)).map(|g| g.to_string()).collect();
        tracing::info!("groups {} are still to be done; the stage ends with the last of them", missing.join(", "));
        return Ok(());
    }
    let merged = finetune::merge(&plan.base, base_score, tuned, config, &plan.arrays, &options(&resume))?;
    publish(&mut stage, config, &merged)?;
    stage.finish()?;
    Ok(())
}

/// None when the config was only to be printed.
fn resolve_config(args: &Args) -> anyhow::Result<Option<Resolved<FinetuneConfig>>> {
    let file = &args.config.config;
    if config::peek(file, "system")?.as_deref() != Some("leap") {
        return Err(
            Error::usage(format!("`{}` has no `system: leap`, the only system with groups", file.display())).into()
        );
    }
    let smoke = ["training.epochs=1", "training.batch_size=8", "training.accumulation=1", "val_batch_size=8"];
    let more = if args.fast_dev_run { smoke.map(String::from).to_vec() } else { vec![] };
    Ok(args.run.config(&args.config, more)?)
}

fn resolve(args: &Args, config: Resolved<FinetuneConfig>) -> Result<Plan> {
    let groups = finetune::parse_groups(&args.group)?;
    let device = device::choose(&args.device.device)?;
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::for_long_runs();
    let mut upstream = vec![];
    let base = match (&args.base, args.from.from.as_deref()) {
        (Some(file), _) => Base::open(file)?,
        (None, Some(from)) => {
            let trained = Manifest::read(from)?.find("train-model")?;
            let base = Base::open(&trained.output("model")?)?;
            upstream.push(trained);
            base
        }
        (None, None) => {
            return Err(Error::usage("`--from` is missing: the folder of a finished `train-model` stage")
                .hint("for example `--from runs/022`, or `--base FILE --data FOLDER` for a converted checkpoint"));
        }
    };
    let prepared = match (&args.data, upstream.first()) {
        (Some(data), _) => Manifest::read(data)?.find("prepare-data")?,
        (None, Some(trained)) => trained.find("prepare-data")?,
        (None, None) => return Err(Error::usage("`--data` is missing: the folder of a finished `prepare-data` stage")),
    };
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
    let arrays = arrays(&prepared, &base, &config.value, limit)?;
    // Base and data belong to the identity of the run: others give another result.
    let (weights, data) = (durable::hash_file(&base.path)?.blake3, prepared.identity());
    let hash = format!("{} base {weights} data {data} limit {limit:?}", config.hash);
    upstream.push(prepared);
    let folder = args.run.folder("finetune-group");
    Ok(Plan { config, hash, limit, groups, base, upstream, arrays, device, folder })
}

fn arrays(prepared: &Manifest, base: &Base, config: &FinetuneConfig, limit: Option<u64>) -> Result<Arrays> {
    let valid_file = prepared.output(&format!("{}/valid", base.chain))?;
    let valid: Arc<dyn Source> = Arc::new(Dataset::open(&[("valid".to_string(), valid_file.clone())], None)?);
    Ok(Arrays {
        train: Arc::new(Dataset::train(prepared, base.chain, &config.rows.selection())?),
        order: None,
        valid: match limit {
            Some(batches) => Arc::new(Head::new(valid, batches * config.val_batch_size)),
            None => valid,
        },
        constants: train::constants_of(&valid_file, base.chain)?,
    })
}

fn describe(plan: &Plan) {
    let config = &plan.config.value;
    tracing::info!(
        "{}: groups {:?} of {} from `{}`, on {:?}, into `{}`",
        config.member,
        plan.groups,
        plan.base.model.name(),
        plan.base.path.display(),
        plan.device,
        plan.folder.display()
    );
    tracing::info!(
        "{} training rows, batches of {}; {} validation rows",
        plan.arrays.train.rows(),
        config.training.batch_size,
        plan.arrays.valid.rows()
    );
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &FinetuneConfig, merged: &Merged) -> Result<()> {
    stage.metric("member", config.member.clone());
    stage.metric("r2", merged.score.mean());
    stage.metric("base_r2", merged.base.mean());
    for tuned in &merged.groups {
        let name = leap::columns::GROUP_NAMES[tuned.group];
        stage.output(&format!("groups/g{}", tuned.group), &tuned.file);
        stage.metric(&format!("r2/{name}"), merged.score.group(tuned.group));
        stage.metric(&format!("base_r2/{name}"), tuned.base);
        stage.metric(&format!("from_base/{name}"), tuned.from_base);
    }
    stage.output("oof", &merged.oof);
    if config.oof_npy {
        stage.output("oof.npy", &train::write_npy(&merged.oof.path, &stage.folder().join("oof.npy"))?);
    }
    tracing::info!("{}: R2 {:.6}, the base had {:.6}", config.member, merged.score.mean(), merged.base.mean());
    Ok(())
}
