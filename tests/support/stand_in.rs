//! GPUs that the CPU computes (`common/neural/tests/stand-in`).
#![allow(dead_code)] // each test target uses a part of it

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{Cmd, root};

/// The library that puts two GPUs into the process which loads it, compiled once.
pub fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let out = Command::new(root().join("scripts/stand-in")).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim_end().into()
    })
}

/// The command with these GPUs.
pub fn on_gpus(command: Cmd) -> Cmd {
    command.env("LD_PRELOAD", library())
}
