//! `prepare-data`: raw competition files to the arrays that networks read.

mod args;
mod icecube;
mod leap;
mod polarmae;
mod run;
mod shared;
mod tracknet;

fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
