//! LEAP: columns of a made-up atmosphere as netCDF and csv files.

use common::cli::print_line;
use common::config;
use common::stage::Stage;
use leap::simulate::{self, Options, SimulateConfig};

use crate::args::Args;

/// Simulates the raw data.
pub fn run(args: Args) -> anyhow::Result<()> {
    let mut overrides = args.config.overrides.clone();
    if let Some(seed) = args.run.seed {
        overrides.push(format!("seed={seed}"));
    }
    let config = config::load::<SimulateConfig>(Some(&args.config.config), &overrides)?;
    if args.run.print_config {
        return Ok(print_line(config.annotated().trim_end())?);
    }
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
    let options = Options { threads: args.run.cpu_threads(), limit };
    let folder = args.run.folder("simulate-data");
    let steps = simulate::steps(&config.value, &options)?;
    if args.run.dry_run {
        let rows = steps.len() * config.value.columns;
        tracing::info!("would simulate {} steps, {rows} samples into {}", steps.len(), folder.display());
        return Ok(());
    }
    let mut stage = Stage::begin("simulate-data", "leap", &folder, &config.text, config.value.seed, args.run.force)?;
    let report = simulate::run(&config.value, &options, &mut stage)?;
    tracing::info!("{} pairs of files with {} samples, {} test rows", report.pairs, report.rows, report.test_rows);
    stage.finish()?;
    Ok(())
}
