//! TrackNET: helices through the TrackML detector as csv events.

use ::tracknet_data::simulate::{self, SimulateConfig};
use common::stage::Stage;

use crate::args::Args;

/// Simulates the events.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = args.run.config::<SimulateConfig>(&args.config, vec![])? else { return Ok(()) };
    args.run.cpu_threads();
    let limit = args.limit();
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
