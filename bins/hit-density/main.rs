//! The program `hit-density`.

fn main() -> std::process::ExitCode {
    stages::hit_density::main()
}
