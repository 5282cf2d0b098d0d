//! `prepare-data`: raw competition files to the arrays that networks read.

mod args;

use args::Args;
use common::driver::{Command, PrepareFlags};

/// Runs it with the arguments of this process.
pub fn main() -> std::process::ExitCode {
    common::cli::main(run)
}

fn run(args: Args) -> anyhow::Result<()> {
    let command = Command {
        config: Some(&args.config.config),
        overrides: &args.config.overrides,
        from: args.from.from.as_deref(),
        before: None,
        run: &args.run,
        smoke: args.fast_dev_run,
        flags: &PrepareFlags { raw: args.raw },
    };
    let systems = registry::prepare();
    Ok(systems.run(systems.named(&args.system)?, command)?)
}
