//! The program `finetune-group`.

#[path = "mod.rs"]
mod finetune_group;

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> std::process::ExitCode {
    finetune_group::main()
}
