//! The program `score`.

fn main() -> std::process::ExitCode {
    stages::score::main()
}
