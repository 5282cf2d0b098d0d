//! The program `prepare-data`.

fn main() -> std::process::ExitCode {
    stages::prepare_data::main()
}
