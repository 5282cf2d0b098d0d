//! The program `finetune-group`, which hands its work over to `podium-torch`.

#[path = "mod.rs"]
mod finetune_group;

stages::without_libtorch!();

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> std::process::ExitCode {
    stages::front::light::main(finetune_group::main)
}
