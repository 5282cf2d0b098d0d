//! PoLAr-MAE: HDF5 files of PILArNet-M to memory-mapped shards of events.

use common::stage::{Manifest, Stage};
use polarmae_data::prepare::{self, PrepareConfig};
use polarmae_data::simulate::RAW;

use crate::args::Args;
use crate::shared;

/// Prepares all sets.
pub fn run(args: Args) -> anyhow::Result<()> {
    let upstream = args.from.from.as_deref().map(Manifest::read).transpose()?;
    let raw = shared::raw_folder(&args, upstream.as_ref(), RAW)?;
    let more = raw.map(|raw| format!("raw={}", raw.display())).into_iter().collect();
    let Some(config) = args.run.config::<PrepareConfig>(&args.config, more)? else { return Ok(()) };
    args.run.cpu_threads();
    let limit = args.limit();
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
