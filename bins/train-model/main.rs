//! The program `train-model`.

fn main() -> std::process::ExitCode {
    stages::train_model::main()
}
