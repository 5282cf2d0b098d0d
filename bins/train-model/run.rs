//! One process, or one of several that train together.

use std::time::Duration;

use common::driver::Command;
use common::{Error, Result};
use neural::stages::TrainFlags;
use neural::weights::Choice;

use crate::train_model::args::Args;
use crate::train_model::processes;

/// Trains a network of the system that the config names, alone or with the processes that the environment names.
pub fn run(args: Args) -> anyhow::Result<()> {
    if common::cli::elsewhere::is() {
        // The other program joins those that train with it, once the config is right.
        return Ok(train(args)?);
    }
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
    Ok(outcome?)
}

/// Whether the other processes may go on without this one.
fn ended_well(outcome: &Result<()>) -> bool {
    matches!(outcome, Ok(()) | Err(Error::ShareDone | Error::Interrupted { .. }))
}

fn train(args: Args) -> Result<()> {
    let systems = networks::train();
    let entry = systems.of_config(&args.config.config)?;
    let command = Command {
        config: Some(&args.config.config),
        overrides: &args.config.overrides,
        from: args.from.from.as_deref(),
        before: None,
        run: &args.run,
        smoke: args.fast_dev_run,
        flags: &TrainFlags {
            device: args.device.device,
            resume: args.resume,
            init: args.init,
            part: Choice { prefix: args.prefix, drop: args.drop },
        },
    };
    systems.run(entry, command)
}
