//! The program `convert-weights`.

fn main() -> std::process::ExitCode {
    stages::convert_weights::main()
}
