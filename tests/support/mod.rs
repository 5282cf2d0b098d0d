//! Fixture for tests that run the binaries: `cmd("score").args([...]).fails(3)`.
#![allow(dead_code)] // each test target uses a part of it

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A binary about to be run, in a folder of its own where asked.
pub struct Cmd {
    command: Command,
    stdin: Option<Vec<u8>>,
    shown: String,
}

/// How a binary ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Path of a built binary of this package.
pub fn binary(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().unwrap();
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder.join(name)
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The golden folder of the originals, where it exists; a test that goes without it says so.
#[allow(clippy::print_stderr, reason = "a test that is skipped says why")]
pub fn golden() -> Option<PathBuf> {
    let folder = std::env::var_os("PODIUM_GOLDEN").map_or_else(|| root().join("../shared/golden"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no golden folder at `{}`; set PODIUM_GOLDEN", folder.display());
    None
}

pub fn cmd(name: &str) -> Cmd {
    let mut command = Command::new(binary(name));
    command.env_remove("RUST_BACKTRACE").env("NO_COLOR", "1");
    Cmd { command, stdin: None, shown: name.into() }
}

impl Cmd {
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.shown += &format!(" {}", arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub fn within(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    pub fn run(mut self) -> Outcome {
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|e| {
            panic!("`{}` does not start: {e}", self.shown);
        });
        if let Some(text) = self.stdin {
            child.stdin.take().unwrap().write_all(&text).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs and demands exit code 0.
    #[track_caller]
    pub fn succeeds(self) -> Outcome {
        let shown = self.shown.clone();
        let outcome = self.run();
        assert_eq!(outcome.code, Some(0), "`{shown}` failed:\n{}", outcome.stderr);
        outcome
    }

    /// Runs and demands this exit code and an `error:` line.
    #[track_caller]
    pub fn fails(self, code: i32) -> Outcome {
        let shown = self.shown.clone();
        let outcome = self.run();
        assert_eq!(outcome.code, Some(code), "`{shown}` ended otherwise:\n{}\n{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.contains("error:"), "`{shown}` gave no error line:\n{}", outcome.stderr);
        outcome
    }
}

impl Outcome {
    /// The manifest on standard output: exactly one line of JSON.
    #[track_caller]
    pub fn manifest(&self) -> serde_json::Value {
        let lines: Vec<&str> = self.stdout.lines().collect();
        assert_eq!(lines.len(), 1, "standard output is not one line:\n{}", self.stdout);
        serde_json::from_str(lines[0]).unwrap()
    }

    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "standard error does not say `{part}`:\n{}", self.stderr);
        self
    }
}
