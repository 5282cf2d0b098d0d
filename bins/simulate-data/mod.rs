//! `simulate-data`: raw competition files with learnable content, for demos and tests.

mod args;

use args::Args;
use common::driver::Command;

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run)
}

fn run(args: Args) -> anyhow::Result<()> {
    let command = Command {
        config: Some(&args.config.config),
        overrides: &args.config.overrides,
        from: None,
        before: None,
        run: &args.run,
        smoke: args.fast_dev_run,
        flags: &args.own,
    };
    let systems = registry::simulate();
    Ok(systems.run(systems.named(&args.system)?, command)?)
}
