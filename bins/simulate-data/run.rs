//! Which system's data it is.

use common::system::System;

use crate::args::Args;
use crate::{icecube, leap, polarmae, tracknet};

/// Simulates the raw data of a system.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.system {
        System::Icecube => icecube::run(args),
        System::Leap => leap::run(args),
        System::Polarmae => polarmae::run(args),
        System::Tracknet => tracknet::run(args),
    }
}
