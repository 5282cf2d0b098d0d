//! The program `hill-climb`.

fn main() -> std::process::ExitCode {
    stages::hill_climb::main()
}
