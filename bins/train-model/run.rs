//! Which system's network is trained.

use std::time::Duration;

use common::Error;
use common::system::Systems;

use crate::train_model::args::Args;
use crate::train_model::{icecube, leap, polarmae, processes, tracknet};

const SYSTEMS: Systems<fn(Args) -> anyhow::Result<()>> = Systems(&[
    ("icecube", icecube::run),
    ("leap", leap::run),
    ("polarmae", polarmae::run),
    ("tracknet", tracknet::run),
]);

/// Trains a network of the system that the config names, alone or with the processes that the environment names.
pub fn run(args: Args) -> anyhow::Result<()> {
    let trains = !args.run.dry_run && !args.run.print_config;
    if let Some(n) = args.nproc.filter(|&n| n > 1 && trains) {
        return Ok(processes::run(&args, n)?);
    }
    if trains {
        neural::parallel::join(Duration::from_secs(args.rank_timeout))?;
    }
    let outcome = train(args);
    if ended_well(&outcome) {
        neural::parallel::leave();
    }
    outcome
}

/// Whether the other processes may go on without this one.
fn ended_well(outcome: &anyhow::Result<()>) -> bool {
    let known = outcome.as_ref().err().map(|error| error.chain().find_map(|e| e.downcast_ref::<Error>()));
    matches!(known, None | Some(Some(Error::ShareDone | Error::Interrupted { .. })))
}

fn train(args: Args) -> anyhow::Result<()> {
    if icecube::is_published(&args.config.config)? {
        return icecube::run(args);
    }
    if ::polarmae::train::published::read(&args.config.config)?.is_some() {
        return polarmae::run(args);
    }
    SYSTEMS.of_config(&args.config.config)?(args)
}
