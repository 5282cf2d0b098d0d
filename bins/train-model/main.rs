//! `train-model`: trains one network from a config.

mod args;
mod processes;
mod run;

fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
