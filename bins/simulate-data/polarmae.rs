//! PoLAr-MAE: events in the layout of PILArNet-M.

use common::stage::Stage;
use polarmae_data::simulate::{self, SimulateConfig};

use crate::args::Args;

/// Simulates the raw data.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = args.run.config::<SimulateConfig>(&args.config, vec![])? else { return Ok(()) };
    let limit = args.limit();
    args.run.cpu_threads();
    let folder = args.run.folder("simulate-data");
    if args.run.dry_run {
        let SimulateConfig { train_events, valid_events, .. } = config.value;
        tracing::info!("would simulate {train_events} + {valid_events} events into {}", folder.display());
        return Ok(());
    }
    let mut stage =
        Stage::begin("simulate-data", "polarmae", &folder, &config.text, config.value.seed, args.run.force)?;
    let done = simulate::run(&config.value, limit, &mut stage)?;
    tracing::info!("{} files with {} events, {} voxels", done.files, done.events, done.voxels);
    stage.metric("events", done.events);
    stage.metric("voxels", done.voxels);
    stage.finish()?;
    Ok(())
}
