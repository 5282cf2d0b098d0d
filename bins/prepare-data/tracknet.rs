//! TrackNET: csv events and blacklists to cached tracks.

use ::tracknet_data::prepare::{self, PrepareConfig, Sources};
use ::tracknet_data::simulate::RAW;
use common::stage::{Manifest, Stage};

use crate::args::Args;
use crate::shared;

/// Prepares the tracks of all events.
pub fn run(args: Args) -> anyhow::Result<()> {
    let upstream = args.from.from.as_deref().map(Manifest::read).transpose()?;
    let raw = match &args.raw {
        // A zip archive is read as it is; any other file is named by the reader of events.
        Some(file) if file.is_file() => Some(file.clone()),
        _ => shared::raw_folder(&args, upstream.as_ref(), RAW)?,
    };
    let more = raw.map(|raw| format!("data_dirs=[{:?}]", raw.to_string_lossy())).into_iter().collect();
    let Some(config) = args.run.config::<PrepareConfig>(&args.config, more)? else { return Ok(()) };
    args.run.cpu_threads();
    let limit = args.limit();
    let mut value = config.value.clone();
    if args.fast_dev_run {
        value.validation_split = 0.5;
    }
    let sources = Sources::find(&value, limit)?;
    let folder = args.run.folder("prepare-data");
    tracing::info!(
        "{} training and {} validating events into `{}`",
        sources.train.len(),
        sources.valid.len(),
        folder.display()
    );
    if args.run.dry_run {
        return Ok(());
    }
    let mut stage = Stage::begin("prepare-data", "tracknet", &folder, &config.text, value.seed, args.run.force)?;
    if let Some(upstream) = &upstream {
        stage.upstream(upstream);
    }
    let report = prepare::run(&value, &sources, &mut stage)?;
    tracing::info!("{} training tracks, {} validating tracks", report.train, report.valid);
    stage.finish()?;
    Ok(())
}
