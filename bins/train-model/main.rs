//! `train-model`: trains one network from a config.

mod args;
mod leap;
mod run;
mod tracknet;

fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
