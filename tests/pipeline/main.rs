//! `run-pipeline` against the tools whose files it reads and writes, and against kills.

#![allow(clippy::print_stdout)] // a skipped test says why

#[path = "../support/debian.rs"]
mod debian;
#[path = "../support/small.rs"]
mod small;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/training.rs"]
mod training;

mod crashes;
mod dvc;
mod faults;
mod layouts;
mod months;
mod parallel;
mod project;
mod rehearsal;
mod resources;
mod slurm;
mod snakemake;
mod tools;
