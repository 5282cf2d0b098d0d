//! Every program with networks in one binary: the name by which it is started says which.

#[path = "../convert-weights/mod.rs"]
mod convert_weights;
#[path = "../finetune-group/mod.rs"]
mod finetune_group;
#[path = "../predict/mod.rs"]
mod predict;
#[path = "../train-model/mod.rs"]
mod train_model;

use std::process::ExitCode;

use stages::front::{self, Program};

const PROGRAMS: [Program; 4] = [
    ("convert-weights", convert_weights::main),
    ("finetune-group", finetune_group::main),
    ("predict", predict::main),
    ("train-model", train_model::main),
];

#[global_allocator]
static ALLOCATOR: common::exhausted::Allocator = common::exhausted::Allocator;

fn main() -> ExitCode {
    front::called(&PROGRAMS).unwrap_or_else(|| {
        if std::env::args_os().nth(1).is_some_and(|argument| argument == "--version" || argument == "-V") {
            let line = format!("podium-torch {}", common::VERSION);
            return common::cli::print_line(&line).map_or(common::ExitCode::Io.into(), |()| ExitCode::SUCCESS);
        }
        common::cli::say("error: this is started by the names of the programs in it\n\nhint: `podium` lists them");
        common::ExitCode::Usage.into()
    })
}
