//! IceCube: pulse files to the memory-mapped event store.

use common::stage::{Manifest, Stage};
use icecube_data::prepare::{self, Options, PrepareConfig, Sources};
use icecube_data::simulate::RAW;

use crate::args::Args;
use crate::shared;

/// Prepares training and test files.
pub fn run(args: Args) -> anyhow::Result<()> {
    let upstream = args.from.from.as_deref().map(Manifest::read).transpose()?;
    let raw = shared::raw_folder(&args, upstream.as_ref(), RAW)?;
    let more = raw.map(|raw| format!("raw.folder={}", raw.display())).into_iter().collect();
    let Some(config) = args.run.config::<PrepareConfig>(&args.config, more)? else { return Ok(()) };
    let limit = args.limit();
    let options = Options { threads: args.run.cpu_threads(), limit, fresh: args.run.force };
    let sources = Sources::find(&config.value, &options)?;
    let folder = args.run.folder("prepare-data");
    if args.run.dry_run {
        tracing::info!("would prepare into {}:", folder.display());
        sources.describe().iter().for_each(|line| tracing::info!("  {line}"));
        return Ok(());
    }
    let mut stage = Stage::begin("prepare-data", "icecube", &folder, &config.text, config.value.seed, args.run.force)?;
    if let Some(upstream) = &upstream {
        stage.upstream(upstream);
    }
    let report = prepare::run(&options, &sources, &mut stage)?;
    tracing::info!(
        "{} training events, {} test events, {} pulses; {} files kept from an earlier run, {} events without a pulse",
        report.train_events,
        report.test_events,
        report.pulses,
        report.kept,
        report.empty
    );
    stage.finish()?;
    Ok(())
}
