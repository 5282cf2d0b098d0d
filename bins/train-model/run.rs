//! Which system's network is trained.

use common::system::Systems;

use crate::args::Args;
use crate::{icecube, leap};

const SYSTEMS: Systems<fn(Args) -> anyhow::Result<()>> = Systems(&[("icecube", icecube::run), ("leap", leap::run)]);

/// Trains a network of the system that the config names.
pub fn run(args: Args) -> anyhow::Result<()> {
    if icecube::is_published(&args.config.config)? {
        return icecube::run(args);
    }
    SYSTEMS.of_config(&args.config.config)?(args)
}
