//! Which system's networks predict.

use std::path::Path;

use common::driver::{Command, Entry};
use common::stage::{MANIFEST, Manifest};
use common::{Error, Result};
use neural::stages::PredictFlags;

use crate::predict::args::Args;

/// Predicts with the networks of the stage before, of the config's system, or of converted weights.
pub fn run(args: Args) -> anyhow::Result<()> {
    let (config, overrides) = args.config.parts();
    let before = args.from.from.as_deref().map(Manifest::read).transpose()?;
    let entry = match (config, &before) {
        (Some(config), _) => networks::predict().of_config(config)?,
        (None, Some(stage)) => networks::predict().of_stage(stage)?,
        (None, None) => of_files(&args)?,
    };
    let flags = PredictFlags {
        device: args.device.device,
        weights: args.weights,
        data: args.data,
        sample: args.sample,
        set: args.set,
        picture: args.picture,
        batch_size: args.batch_size,
        precision: args.precision,
        zero_list: args.zero_list,
        csv: args.csv,
    };
    let command = Command {
        config,
        overrides: &overrides,
        from: None,
        before,
        run: &args.run,
        smoke: args.fast_dev_run,
        flags: &flags,
    };
    Ok(networks::predict().run(entry, command)?)
}

/// Converted weights: the data say whose they are, else the weights do.
fn of_files(args: &Args) -> Result<&'static Entry<PredictFlags>> {
    let stage = args.data.as_deref().filter(|data| Path::new(data).join(MANIFEST).exists());
    if let Some(stage) = stage {
        return networks::predict().of_stage(&Manifest::read(stage)?);
    }
    let known = networks::import();
    let says = args.weights.first().and_then(|file| known.iter().find(|import| (import.says)(file)));
    match says {
        Some(import) => networks::predict().named(import.system),
        None => {
            Err(Error::usage("`--from` is missing: the folder of a finished `train-model` or `finetune-group` stage")
                .hint("for example `--from runs/exp195`, or `--weights FILE --data FOLDER` for converted weights"))
        }
    }
}
