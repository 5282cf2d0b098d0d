//! `finetune-group`: fine-tunes a trained network for each group of targets.

mod args;
mod run;

fn main() -> std::process::ExitCode {
    common::cli::main(run::run)
}
