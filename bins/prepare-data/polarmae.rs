//! PoLAr-MAE: HDF5 files of PILArNet-M to memory-mapped shards of events.

use std::path::PathBuf;

use common::cli::print_line;
use common::config;
use common::stage::{Manifest, Stage};
use polarmae_data::prepare::{self, PrepareConfig};
use polarmae_data::simulate::RAW;

use crate::args::Args;

/// Prepares all sets.
pub fn run(args: Args) -> anyhow::Result<()> {
    let upstream = args.from.from.as_deref().map(Manifest::read).transpose()?;
    let mut overrides = args.config.overrides.clone();
    if let Some(raw) = raw_folder(&args, upstream.as_ref())? {
        overrides.push(format!("raw={}", raw.display()));
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
    let found = prepare::find(&config.value)?;
    let folder = args.run.folder("prepare-data");
    if args.run.dry_run {
        tracing::info!("would prepare into {}:", folder.display());
        for (set, files) in found {
            tracing::info!("  {set}: {} files, the first is `{}`", files.len(), files[0].display());
        }
        return Ok(());
    }
    let mut stage = Stage::begin("prepare-data", "polarmae", &folder, &config.text, config.value.seed, args.run.force)?;
    if let Some(upstream) = &upstream {
        stage.upstream(upstream);
    }
    for (set, counts) in prepare::run(&config.value, limit, &mut stage)? {
        tracing::info!(
            "{set}: {} of {} events kept, {} points; {} left out because too little remained; {} shards kept from an earlier run",
            counts.kept,
            counts.events,
            counts.points,
            counts.too_short,
            counts.shards_kept
        );
        stage.metric(&format!("{set}/events"), counts.kept);
        stage.metric(&format!("{set}/points"), counts.points);
        stage.metric(&format!("{set}/too_short"), counts.too_short);
    }
    stage.finish()?;
    Ok(())
}

/// `--raw`, or the raw folder that a `simulate-data` stage wrote.
fn raw_folder(args: &Args, upstream: Option<&Manifest>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(raw) = &args.raw {
        return Ok(Some(raw.clone()));
    }
    Ok(upstream.map(|m| m.find("simulate-data")).transpose()?.map(|m| m.folder.join(RAW)))
}
