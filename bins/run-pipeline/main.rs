//! The program `run-pipeline`.

fn main() -> std::process::ExitCode {
    stages::run_pipeline::main()
}
