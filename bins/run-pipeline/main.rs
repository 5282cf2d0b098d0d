//! `run-pipeline`: looks after pipelines and the machine that they run on. Uses no tensor, so it starts without
//! libtorch.

mod args;
mod declare;
mod doctor;

fn main() -> std::process::ExitCode {
    common::cli::main(args::run)
}
