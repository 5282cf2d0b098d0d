//! Which system's networks predict.

use common::stage::Manifest;
use common::system::Systems;

use crate::predict::args::Args;
use crate::predict::{icecube, leap, polarmae, tracknet};

type Run = fn(Args, Option<Manifest>) -> anyhow::Result<()>;

const SYSTEMS: Systems<Run> = Systems(&[
    ("icecube", icecube::run),
    ("leap", leap::run),
    ("polarmae", polarmae::run),
    ("tracknet", tracknet::run),
]);

/// Predicts with the networks of the stage before, of the config's system, or of converted weights.
pub fn run(args: Args) -> anyhow::Result<()> {
    let before = args.from.from.as_deref().map(Manifest::read).transpose()?;
    let run = match (&args.config.config, &before) {
        (Some(config), _) => SYSTEMS.of_config(config)?,
        (None, Some(stage)) => SYSTEMS.of_stage(stage)?,
        // Converted weights: the data say whose they are.
        (None, None) => match args.data.as_deref().filter(|data| *data != "-") {
            Some(data) => SYSTEMS.of_stage(&Manifest::read(data)?)?,
            None => leap::run,
        },
    };
    run(args, before)
}
