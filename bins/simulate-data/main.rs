//! The program `simulate-data`.

fn main() -> std::process::ExitCode {
    stages::simulate_data::main()
}
