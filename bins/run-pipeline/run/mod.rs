//! Runs the stages of a project: which next, the processes, what they cost, what is kept of it.

pub mod memory;
pub mod missing;
pub mod os;
pub mod process;
pub mod record;
pub mod resources;
pub mod result;
pub mod schedule;
pub mod scratch;
pub mod work;
