//! The program `finetune-group`.

fn main() -> std::process::ExitCode {
    stages::finetune_group::main()
}
