//! The program `predict`.

fn main() -> std::process::ExitCode {
    stages::predict::main()
}
