//! Which system's network is trained.

use common::system::Systems;

use crate::args::Args;
use crate::{leap, tracknet};

const SYSTEMS: Systems<fn(Args) -> anyhow::Result<()>> = Systems(&[("leap", leap::run), ("tracknet", tracknet::run)]);

/// Trains a network of the system that the config names.
pub fn run(args: Args) -> anyhow::Result<()> {
    SYSTEMS.of_config(&args.config.config)?(args)
}
