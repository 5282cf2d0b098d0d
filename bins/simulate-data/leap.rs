//! LEAP: columns of a made-up atmosphere as netCDF and csv files.

use common::stage::Stage;
use leap_data::simulate::{self, Options, SimulateConfig};

use crate::args::Args;

/// Simulates the raw data.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = args.run.config::<SimulateConfig>(&args.config, vec![])? else { return Ok(()) };
    let limit = args.limit();
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
