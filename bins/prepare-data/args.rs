//! What can be typed.

use std::path::PathBuf;

use clap::Parser;
use common::cli::{Arguments, ConfigArgs, FromFlag, HELP_STYLES, RunFlags, Verbosity};
use registry::SYSTEMS;

/// Turn raw competition files into the arrays that networks read
#[derive(Debug, Parser)]
#[command(name = "prepare-data", version, styles = HELP_STYLES, max_term_width = 79, long_about = about(), after_help = SHORT, after_long_help = examples())]
pub struct Args {
    /// System whose data it is
    #[arg(value_parser = registry::prepare().values(SYSTEMS), value_name = "SYSTEM", help_heading = "Input")]
    pub system: String,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Folder of raw data, wins over the config's `raw`
    #[arg(long, value_name = "FOLDER", help_heading = "Input", conflicts_with = "from", long_help = raw())]
    pub raw: Option<PathBuf>,
    #[command(flatten)]
    pub from: FromFlag,
    #[command(flatten)]
    pub run: RunFlags,
    /// Smoke run: the first 2 steps or files of each set (as `--limit 2`)
    #[arg(long, help_heading = "Run", conflicts_with = "limit")]
    pub fast_dev_run: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

impl Arguments for Args {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }

    fn schemas() -> Vec<(&'static str, String)> {
        registry::prepare().schemas()
    }
}

fn about() -> String {
    format!(
        "Turn raw competition files into the arrays that networks read\n\nReads raw files once and writes what networks \
         read as safetensors, to be mapped into memory. {}. Memory does not grow with the data. A run that was killed goes \
         on where it stopped when the same command is given again.",
        registry::prepare().sentence(|help| help.makes)
    )
}

fn raw() -> String {
    format!(
        "Folder of raw data, wins over the config's `raw`\n\nExpected below it, as far as the config asks for them; {}.",
        registry::prepare().sentence(|help| help.raw)
    )
}

const SHORT: &str = "`--help` says more and shows examples.";

fn examples() -> String {
    let systems = registry::prepare();
    format!(
        "Examples:\n{}\n\nWith `--limit N`: {}.",
        systems.help(|help| help.examples, "\n\n"),
        systems.sentence(|help| help.limit)
    )
}
