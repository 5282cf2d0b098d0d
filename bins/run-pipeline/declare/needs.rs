//! What a stage takes of the machine: `meta: {gpu: 1, mem_mb: 8000, threads: 2, runtime: 60, disk_mb: 500}`.

use common::Result;

use super::tree::{Kind, Node};

/// Resources that a stage holds while it runs. Zero memory and time: not stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// GPUs.
    pub gpu: u64,
    /// Memory in MB (1e6 bytes).
    pub mem_mb: u64,
    /// CPU threads; 0 where the stage does not say.
    pub threads: u64,
    /// Processes that the stage starts with `srun`, for engines that ask for it; 0 where it does not say.
    pub tasks: u64,
    /// Longest run time in minutes, for engines that ask for it.
    pub runtime_min: u64,
    /// Bytes that the stage writes at most, in MB.
    pub disk_mb: u64,
}

/// Reads them from a stage's `meta`. All other keys of `meta` are free, as in DVC.
pub fn read(meta: Option<&Node>) -> Result<Needs> {
    let number = |name: &str| -> Result<u64> {
        match meta.and_then(|m| m.get(name)) {
            None => Ok(0),
            Some(node) => match node.kind {
                Kind::Int(value) if (0..=1_000_000_000).contains(&value) => Ok(value as u64),
                _ => Err(node.at.error(format!("`meta.{name}` is {}, expected a whole number", node.describe()))),
            },
        }
    };
    Ok(Needs {
        gpu: number("gpu")?,
        mem_mb: number("mem_mb")?,
        threads: number("threads")?,
        tasks: number("tasks")?,
        runtime_min: number("runtime")?,
        disk_mb: number("disk_mb")?,
    })
}
