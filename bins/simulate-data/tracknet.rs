//! TrackNET: helices through the TrackML detector as csv events.

use ::tracknet_data::simulate::{self, SimulateConfig};
use common::cli::print_line;
use common::config;
use common::stage::Stage;

use crate::args::Args;

/// Simulates the events.
pub fn run(args: Args) -> anyhow::Result<()> {
    let mut overrides = args.config.overrides.clone();
    if let Some(seed) = args.run.seed {
        overrides.push(format!("seed={seed}"));
    }
    let config = config::load::<SimulateConfig>(Some(&args.config.config), &overrides)?;
    if args.run.print_config {
        return Ok(print_line(config.annotated().trim_end())?);
    }
    args.run.cpu_threads();
    let limit = if args.fast_dev_run { Some(2) } else { args.run.limit };
    let folder = args.run.folder("simulate-data");
    let events = limit.map_or(u64::from(config.value.events), |n| n.min(u64::from(config.value.events)));
    tracing::info!("{events} events of {} particles into `{}`", config.value.particles, folder.display());
    if args.run.dry_run {
        return Ok(());
    }
    let mut stage =
        Stage::begin("simulate-data", "tracknet", &folder, &config.text, config.value.seed, args.run.force)?;
    let report = simulate::run(&config.value, limit, &mut stage)?;
    tracing::info!("{} events with {} hits", report.events, report.hits);
    stage.finish()?;
    Ok(())
}
