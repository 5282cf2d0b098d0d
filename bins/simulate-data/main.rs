//! `simulate-data`: raw competition files with learnable content, for demos and tests.

mod args;
mod icecube;
mod leap;
mod polarmae;
mod run;
mod tracknet;

fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
