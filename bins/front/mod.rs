//! `podium`: lists the programs, runs them, and copies out the configs that come along.

mod configs;
pub mod light;

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use common::cli::{Arguments, HELP_STYLES, Verbosity};
use common::near::nearest;
use common::{Error, Result};

/// A program by its name.
pub type Program = (&'static str, fn() -> ExitCode);

/// The programs in the order of their use, each with what it does.
const LISTED: [(&str, &str); 10] = [
    ("simulate-data", "write raw files in the layout of the published data"),
    ("prepare-data", "raw files to what networks read"),
    ("hit-density", "count the hits of events in voxels"),
    ("train-model", "train one network"),
    ("finetune-group", "fine-tune a network for each group of targets"),
    ("convert-weights", "published checkpoints to safetensors and back"),
    ("predict", "a submission from trained networks"),
    ("score", "how well predictions meet a truth"),
    ("hill-climb", "search the weights of a blend, and apply weights"),
    ("run-pipeline", "run the stages of a pipeline that are not up to date"),
];

/// Runs the program by whose name this process was started, if it is one of `programs`.
pub fn called(programs: &[Program]) -> Option<ExitCode> {
    let first = std::env::args_os().next()?;
    let name = Path::new(&first).file_name()?.to_str()?;
    programs.iter().find(|(program, _)| *program == name).map(|(_, main)| main())
}

/// Published competition pipelines as small programs
///
/// Every stage is a program of its own: `podium predict ..` and `predict ..` are the same.
#[derive(Debug, Parser)]
#[command(name = "podium", version, styles = HELP_STYLES, after_help = listing())]
struct Podium {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Copy the configs and pipelines that come along, to change and run them
    Configs {
        /// Folder to copy them into; files that are there and differ are kept and named
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Check versions, libtorch, devices, memory, threads and disk
    #[command(disable_help_flag = true)]
    Doctor {
        #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(external_subcommand)]
    Program(Vec<OsString>),
}

impl Arguments for Podium {
    fn verbosity(&self) -> &Verbosity {
        &self.verbosity
    }
}

/// The front itself.
pub fn main() -> ExitCode {
    common::cli::main(|arguments: Podium| Ok(run(arguments)?))
}

fn run(arguments: Podium) -> Result<()> {
    match arguments.action {
        None => common::cli::print_line(&listing()),
        Some(Action::Configs { folder }) => configs::copy(&folder),
        Some(Action::Doctor { arguments }) => {
            let first = std::iter::once(OsString::from("doctor"));
            start("run-pipeline", &first.chain(arguments).collect::<Vec<_>>())
        }
        Some(Action::Program(words)) => {
            let (name, rest) = words.split_first().ok_or_else(|| Error::usage("no program is named"))?;
            let known = LISTED.iter().find(|(program, _)| OsStr::new(program) == name);
            let (name, _) = known.ok_or_else(|| unknown(&name.to_string_lossy()))?;
            start(name, rest)
        }
    }
}

/// Puts another program in the place of this process.
fn start(name: &str, arguments: &[OsString]) -> Result<()> {
    let own = std::env::current_exe().map_err(|e| Error::io("finding", "this program", e))?;
    let failure = Command::new(&own).arg0(name).args(arguments).exec();
    Err(Error::io("starting", &own, failure))
}

fn unknown(name: &str) -> Error {
    let near = nearest(name, LISTED.iter().map(|(program, _)| *program));
    let error = Error::usage(format!("`{name}` is no program of Podium"));
    match near {
        Some(near) => error.hint(format!("did you mean `podium {near}`? `podium` lists all")),
        None => error.hint("`podium` lists all"),
    }
}

fn listing() -> String {
    let lines = LISTED.iter().map(|(name, about)| format!("  {name:<16} {about}"));
    let lines: Vec<_> = lines.collect();
    format!("Programs:\n{}\n\n`podium PROGRAM --help` explains each, with examples.", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_mistyped_is_answered_with_the_nearest() {
        let hint = |name: &str| unknown(name).hint_text().unwrap_or_default();
        assert!(hint("predcit").contains("`podium predict`"));
        assert!(!hint("xyz").contains("did you mean"));
    }
}
