//! `predict`: a submission from trained networks, checked before it is written.

mod args;
mod run;

fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
