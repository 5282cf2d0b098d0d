//! What several integration tests share: where the repository and its built binaries are, and running one of them.

#![allow(dead_code)] // every test program uses its own part of it

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder that holds the built binaries: the one above the folder of this test program.
pub fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.parent().and_then(Path::parent).expect("tests lie in target/release/deps").to_path_buf()
}

/// A built binary of this package, or nothing where it does not exist (yet).
pub fn binary(name: &str) -> Option<PathBuf> {
    let path = binaries().join(name);
    path.is_file().then_some(path)
}

/// What a finished program left: exit code and both streams as text.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A command for a built binary: no colours, no inherited logging, its own threads left alone.
pub fn command(name: &str) -> Command {
    let path = binary(name).unwrap_or_else(|| panic!("`{name}` is not built"));
    let mut command = Command::new(path);
    command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").env("NO_COLOR", "1").current_dir(root());
    command
}

/// Runs a binary to its end.
pub fn run(name: &str, arguments: &[&str]) -> Finished {
    command(name).args(arguments).output().expect("the binary starts").into()
}
