//! Every program with networks in one binary: the name by which it is started says which.

use std::process::ExitCode;

use stages::front::{self, Program};

const PROGRAMS: [Program; 4] = [
    ("convert-weights", stages::convert_weights::main),
    ("finetune-group", stages::finetune_group::main),
    ("predict", stages::predict::main),
    ("train-model", stages::train_model::main),
];

fn main() -> ExitCode {
    front::called(&PROGRAMS).unwrap_or_else(|| {
        eprintln!("error: this is started by the names of the programs in it\n\nhint: `podium` lists them");
        common::ExitCode::Usage.into()
    })
}
