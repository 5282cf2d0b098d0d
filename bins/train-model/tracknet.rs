//! TrackNET: the step-ahead network, or the network of the tracker, on prepared tracks.

use std::path::Path;
use std::sync::Arc;

use ::tracknet::dataset::Dataset;
use ::tracknet::tracker::train as tracker;
use ::tracknet::train::config::NetworkKind;
use ::tracknet::train::{self, Options, TrainConfig};
use ::tracknet::{checkpoint, predict};
use common::cli::print_line;
use common::config::{self, Resolved};
use common::curves::Curves;
use common::durable;
use common::stage::{Manifest, Stage};
use common::{Error, Result};
use neural::device;
use neural::loader::{Head, Source};
use neural::trainer::{Outcome, Resume};

use crate::args::Args;

/// Trains a network.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = resolve_config(&args)? else { return Ok(()) };
    let from = args.from.from.as_deref().ok_or_else(|| {
        Error::usage("`--from` is missing: the folder of a finished `prepare-data` stage")
            .hint("for example `--from data`, or `--from -` behind a pipe")
    })?;
    let prepared = Manifest::read(from)?.find("prepare-data")?;
    let device = device::choose(&args.device.device)?;
    device::set_threads(args.run.cpu_threads())?;
    neural::memory::keep_freed_blocks();
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
    let value = &config.value;
    let hash = limit.map_or(config.hash.clone(), |limit| format!("{} limit {limit}", config.hash));
    let folder = args.run.folder("train-model");
    let options = |folder: &Path| Options {
        folder: folder.to_path_buf(),
        device,
        resume: if args.run.force { Resume::Never } else { args.resume.clone() },
        max_steps: limit,
        initial: None,
        observer: None,
    };
    let begin = |rows: u64, valid: u64| -> Result<Option<Stage>> {
        let steps = rows.div_ceil(value.training.batch_size);
        tracing::info!(
            "{}: {rows} training tracks, {} steps of {} an epoch, {} epochs; {valid} validating tracks; into `{}`",
            value.member,
            [limit, value.limit_train_batches].into_iter().flatten().fold(steps, u64::min),
            value.training.batch_size,
            value.training.epochs,
            folder.display()
        );
        if args.run.dry_run {
            return Ok(None);
        }
        let mut stage = Stage::begin("train-model", "tracknet", &folder, &config.text, value.seed, args.run.force)?;
        stage.upstream(&prepared);
        let hparams = durable::write(stage.folder().join("hparams.yaml"), config.text.as_bytes())?;
        stage.output("hparams", &hparams);
        Ok(Some(stage))
    };
    let head = |valid: Arc<dyn Source>| -> Arc<dyn Source> {
        match limit {
            Some(batches) => Arc::new(Head::new(valid, batches * value.val_batch_size)),
            None => valid,
        }
    };
    match value.network {
        NetworkKind::StepAhead => {
            let train = Dataset::of_stage(&prepared, "train")?;
            let normalizer = train.normalizer();
            let shown = Arc::new(Dataset::of_stage(&prepared, "valid")?);
            let valid = head(Arc::clone(&shown) as Arc<dyn Source>);
            let Some(mut stage) = begin(train.rows(), valid.rows())? else { return Ok(()) };
            let options = options(stage.folder());
            let trained = train::train(value, &hash, (Arc::new(train), valid), normalizer, options)?;
            // As published, the first validating track; at the end of the run, not in every epoch.
            let best = checkpoint::load(&trained.model)?;
            let (page, flat) = predict::picture_of_track(&best.network, &shown, 0, stage.folder())?;
            stage.output("last_track_viz.html", &page);
            stage.output("last_track_viz.svg", &flat);
            publish(&mut stage, &config, &trained.outcome, &trained.model)?;
            stage.finish()?;
        }
        NetworkKind::Tracker => {
            let (train, valid) = tracker::sources(&prepared, &value.tracker, value.seed)?;
            let Some(mut stage) = begin(train.rows(), valid.rows())? else { return Ok(()) };
            let (outcome, model) = tracker::train(value, &hash, (train, valid), options(stage.folder()))?;
            publish(&mut stage, &config, &outcome, &model)?;
            stage.finish()?;
        }
    }
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

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &Resolved<TrainConfig>, outcome: &Outcome, model: &Path) -> Result<()> {
    stage.output("model", &durable::hash_file(model)?);
    let folder = stage.folder().to_path_buf();
    for name in ["metrics.jsonl", "metrics.csv"] {
        if folder.join(name).is_file() {
            stage.output(name, &durable::hash_file(folder.join(name))?);
        }
    }
    let (value, state) = (&config.value, &outcome.state);
    let curves = Curves::read(&folder.join("metrics.jsonl"))?;
    let best = state.kept.as_ref().map_or(f64::NAN, |kept| kept.score);
    let subtitle = format!("{:?}, seed {}: validation loss {best:.6}", value.network, value.seed);
    let report = curves.report(&value.member, &subtitle, config.annotated())?;
    stage.output("report", &report.write(&folder.join("report.html"))?);
    stage.metric("member", value.member.clone());
    if let Some(kept) = &state.kept {
        stage.metric("val_loss", kept.score);
        stage.metric("best_epoch", kept.epoch + 1);
        stage.metric("best_step", kept.global_step);
        for metric in &kept.metrics {
            stage.metric(&metric.name, metric.value);
        }
    }
    stage.metric("steps", state.global_step);
    stage.metric("skipped_steps", state.skipped);
    stage.metric("ended", state.finished.clone().unwrap_or_default());
    stage.metric("rows_per_s", outcome.rows_per_s.round());
    stage.metric("data_wait", (outcome.data_wait * 1e4).round() / 1e4);
    tracing::info!("{}: validation loss {best:.6}", value.member);
    Ok(())
}
