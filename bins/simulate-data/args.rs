//! What can be typed.

use clap::Parser;
use common::cli::{Arguments, ConfigArgs, HELP_STYLES, RunFlags, Verbosity};
use common::driver::NoFlags;
use registry::SYSTEMS;

/// Make raw competition files with learnable content, for demos and tests
///
/// The files have the exact layout of the real ones, so `prepare-data` reads both alike. They are physically plausible
/// and the targets can be learned from the inputs, but they are no climate simulation. The same seed gives the same
/// bytes.
#[derive(Debug, Parser)]
#[command(name = "simulate-data", version, styles = HELP_STYLES, max_term_width = 79, after_help = SHORT, after_long_help = examples())]
pub struct Args {
    /// System whose raw data to make
    #[arg(value_parser = registry::simulate().values(SYSTEMS), value_name = "SYSTEM", help_heading = "Input")]
    pub system: String,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub run: RunFlags,
    /// Smoke run: 2 steps of each month, 2 events of each file (as `--limit 2`)
    #[arg(long, help_heading = "Run", conflicts_with = "limit")]
    pub fast_dev_run: bool,
    #[command(flatten)]
    pub own: NoFlags,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }

    fn schemas() -> Vec<(&'static str, String)> {
        registry::simulate().schemas()
    }
}

const SHORT: &str = "`--help` says more and shows examples.";

fn examples() -> String {
    let systems = registry::simulate();
    format!(
        "Examples:\n{}\n\n{}\n\nWith `--limit N`: {}.",
        systems.help(|help| help.examples, "\n\n"),
        systems.help(|help| help.makes, "\n"),
        systems.sentence(|help| help.limit)
    )
}
