//! The program `finetune-group`.

#[path = "mod.rs"]
mod finetune_group;

fn main() -> std::process::ExitCode {
    finetune_group::main()
}
