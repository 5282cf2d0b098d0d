//! `finetune-group`: fine-tunes a trained network for each group of targets.

mod args;

use args::Args;
use common::driver::Command;
use neural::stages::FinetuneFlags;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run)
}

fn run(args: Args) -> anyhow::Result<()> {
    let systems = networks::finetune();
    let entry = systems.of_config(&args.config.config)?;
    let command = Command {
        config: Some(&args.config.config),
        overrides: &args.config.overrides,
        from: args.from.from.as_deref(),
        before: None,
        run: &args.run,
        smoke: args.fast_dev_run,
        flags: &FinetuneFlags {
            device: args.device.device,
            resume: args.resume,
            data: args.data,
            base: args.base,
            group: args.group,
        },
    };
    Ok(systems.run(entry, command)?)
}
