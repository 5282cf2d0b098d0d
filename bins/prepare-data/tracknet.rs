//! TrackNET: csv events and blacklists to cached tracks.

use std::path::PathBuf;

use ::tracknet_data::prepare::{self, PrepareConfig, Sources};
use common::cli::print_line;
use common::config;
use common::stage::{Manifest, Stage};

use crate::args::Args;

/// Prepares the tracks of all events.
pub fn run(args: Args) -> anyhow::Result<()> {
    let upstream = args.from.from.as_deref().map(Manifest::read).transpose()?;
    let mut overrides = args.config.overrides.clone();
    let raw: Option<PathBuf> = match (&args.raw, &upstream) {
        (Some(raw), _) => Some(raw.clone()),
        (None, Some(stage)) => Some(stage.find("simulate-data")?.folder.join(::tracknet_data::simulate::RAW)),
        (None, None) => None,
    };
    if let Some(raw) = raw {
        overrides.push(format!("data_dirs=[{:?}]", raw.to_string_lossy()));
    }
    if let Some(seed) = args.run.seed {
        overrides.push(format!("seed={seed}"));
    }
    let config = config::load::<PrepareConfig>(Some(&args.config.config), &overrides)?;
    if args.run.print_config {
        return Ok(print_line(config.annotated().trim_end())?);
    }
    args.run.cpu_threads();
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
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
