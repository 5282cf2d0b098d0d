//! IceCube: pulse files to the memory-mapped event store.

use std::path::{Path, PathBuf};

use common::cli::print_line;
use common::config;
use common::stage::{Manifest, Stage};
use icecube_data::prepare::{self, Options, PrepareConfig, Sources};

use crate::args::Args;

/// Prepares training and test files.
pub fn run(args: Args) -> anyhow::Result<()> {
    let upstream = args.from.from.as_deref().map(Manifest::read).transpose()?;
    let mut overrides = args.config.overrides.clone();
    if let Some(raw) = raw_folder(&args, upstream.as_ref())? {
        overrides.push(format!("raw.folder={}", raw.display()));
    }
    if let Some(seed) = args.run.seed {
        overrides.push(format!("seed={seed}"));
    }
    let config = config::load::<PrepareConfig>(Some(&args.config.config), &overrides)?;
    if args.run.print_config {
        return Ok(print_line(config.annotated().trim_end())?);
    }
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
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

/// `--raw`, or the raw folder that a `simulate-data` stage wrote.
fn raw_folder(args: &Args, upstream: Option<&Manifest>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(raw) = &args.raw {
        return Ok(Some(raw.clone()));
    }
    Ok(upstream.map(|m| m.find("simulate-data")).transpose()?.map(|m| m.folder.join(Path::new("raw"))))
}
