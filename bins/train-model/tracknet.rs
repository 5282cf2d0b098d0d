//! TrackNET: the step-ahead network, or the network of the tracker, on prepared tracks.

use std::path::Path;
use std::sync::Arc;

use ::tracknet::dataset::Dataset;
use ::tracknet::tracker::train as tracker;
use ::tracknet::train::config::NetworkKind;
use ::tracknet::train::{self, TrainConfig};
use ::tracknet::{checkpoint, predict};
use common::Result;
use common::config::Resolved;
use common::stage::Stage;
use neural::loader::{Head, Source};
use neural::trainer::Outcome;

use crate::train_model::args::Args;
use crate::train_model::shared;

/// Trains a network.
pub fn run(args: Args) -> anyhow::Result<()> {
    let smoke = ["training.epochs=1", "training.batch_size=8", "training.accumulation=1", "val_batch_size=8"];
    let Some(config) = shared::resolve_config::<TrainConfig>(&args, &smoke)? else { return Ok(()) };
    let prepared = shared::prepared(&args, "tracknet")?;
    let device = shared::compute(&args)?;
    let limit = shared::limit(&args);
    let value = &config.value;
    let hash = shared::identity(&config.hash, &prepared, None, limit)?;
    let begin = |rows: u64, valid: u64| -> Result<Option<Stage>> {
        let steps = rows.div_ceil(value.training.batch_size);
        tracing::info!(
            "{}: {rows} training tracks, {} steps of {} an epoch, {} epochs; {valid} validating tracks; into `{}`",
            value.member,
            [limit, value.limit_train_batches].into_iter().flatten().fold(steps, u64::min),
            value.training.batch_size,
            value.training.epochs,
            shared::folder(&args).display()
        );
        if args.run.dry_run {
            return Ok(None);
        }
        shared::begin(&args, "tracknet", value.seed, &config, &[&prepared]).map(Some)
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
            let options = shared::options(&args, &stage, device, None);
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
            let (outcome, model) =
                tracker::train(value, &hash, (train, valid), shared::options(&args, &stage, device, None))?;
            publish(&mut stage, &config, &outcome, &model)?;
            stage.finish()?;
        }
    }
    Ok(())
}

/// Names the files and figures that the run leaves behind.
fn publish(stage: &mut Stage, config: &Resolved<TrainConfig>, outcome: &Outcome, model: &Path) -> Result<()> {
    let (value, state) = (&config.value, &outcome.state);
    let best = state.kept.as_ref().map_or(f64::NAN, |kept| kept.score);
    let subtitle = format!("{:?}, seed {}: validation loss {best:.6}", value.network, value.seed);
    shared::publish(stage, model, &value.member, &subtitle, config.annotated())?;
    if let Some(kept) = &state.kept {
        stage.metric("val_loss", kept.score);
        stage.metric("best_epoch", kept.epoch + 1);
        stage.metric("best_step", kept.global_step);
        for metric in &kept.metrics {
            stage.metric(&metric.name, metric.value);
        }
    }
    shared::ending(stage, outcome, "rows_per_s");
    tracing::info!("{}: validation loss {best:.6}", value.member);
    Ok(())
}
