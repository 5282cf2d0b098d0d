//! IceCube: events in the real detector, in the layout of the competition.

use common::stage::Stage;
use icecube_data::simulate::{self, Options, SimulateConfig};

use crate::args::Args;

/// Simulates the raw data.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Some(config) = args.run.config::<SimulateConfig>(&args.config, vec![])? else { return Ok(()) };
    let limit = args.limit();
    let options = Options { threads: args.run.cpu_threads(), limit };
    let folder = args.run.folder("simulate-data");
    if args.run.dry_run {
        let events = simulate::events(&config.value, &options);
        tracing::info!("would simulate {events} events into {}", folder.display());
        return Ok(());
    }
    let mut stage = Stage::begin("simulate-data", "icecube", &folder, &config.text, config.value.seed, args.run.force)?;
    let report = simulate::run(&config.value, &options, &mut stage)?;
    tracing::info!(
        "{} training events, {} test events, {} pulses",
        report.train_events,
        report.test_events,
        report.pulses
    );
    stage.finish()?;
    Ok(())
}
