//! One error type for everything that can go wrong in a stage, and the exit code that each kind maps to.
//!
//! An error carries facts (which file, what was found, what was expected) and, where the user can do something
//! about it, a hint. [`crate::cli::main`] prints it as one sentence, a blank line and `hint: …`.

use std::io;
use std::path::{Path, PathBuf};

/// Result of everything in the library crates.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The exit codes of all binaries. They are a contract: scripts and pipelines rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The work was done.
    Done = 0,
    /// The work failed.
    Failed = 1,
    /// Wrong usage or config.
    Usage = 2,
    /// Input missing, malformed or failing its checksum.
    Input = 3,
    /// Reading or writing failed (disk full, permission).
    Io = 4,
    /// Out of memory, or the device failed.
    Device = 5,
    /// In use by another run.
    InUse = 6,
    /// A bug in the program.
    Bug = 70,
    /// Interrupted; state saved.
    Interrupted = 130,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// What went wrong. Variants are the rows of the exit-code table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The work itself failed (diverged loss, no improvement possible, failed child process).
    #[error("{message}")]
    Failed {
        /// One sentence with the cause.
        message: String,
        /// What the user can do.
        hint: Option<String>,
    },
    /// Wrong flags or a wrong config. Config errors hold the rendered snippet in `message`.
    #[error("{message}")]
    Usage {
        /// One sentence with the cause.
        message: String,
        /// What the user can do.
        hint: Option<String>,
    },
    /// An input file is missing, malformed, incomplete or fails its checksum.
    #[error("`{}`: {problem}", path.display())]
    Input {
        /// The file at fault.
        path: PathBuf,
        /// Where in the file, what was found, what was expected.
        problem: String,
        /// What the user can do.
        hint: Option<String>,
    },
    /// The operating system refused to read or write.
    #[error("{action} `{}`: {source}", path.display())]
    Io {
        /// What was being done, as a participle: `writing`, `renaming`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Out of memory or a failing device.
    #[error("{message}")]
    Device {
        /// One sentence with the cause.
        message: String,
        /// Concrete remedies.
        hint: Option<String>,
    },
    /// Another process holds the folder.
    #[error("`{}` is in use by pid {pid}", path.display())]
    InUse {
        /// The locked folder.
        path: PathBuf,
        /// The process that holds it.
        pid: u32,
        /// What the user can do, where choosing another output folder is no help.
        hint: Option<String>,
    },
    /// One of several processes has done its share; rank 0 goes on alone. Ends the process without a word.
    #[error("the share of this rank is done")]
    ShareDone,
    /// The user asked to stop; the text says what was saved.
    #[error("interrupted: {saved}")]
    Interrupted {
        /// Where the run can be picked up.
        saved: String,
    },
}

impl Error {
    /// The work failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), hint: None }
    }

    /// Wrong usage or config.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    /// A bad input file: `problem` says where in it, what was found and what was expected.
    pub fn input(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::Input { path: path.as_ref().to_path_buf(), problem: problem.into(), hint: None }
    }

    /// Out of memory or a failing device.
    pub fn device(message: impl Into<String>) -> Self {
        Self::Device { message: message.into(), hint: None }
    }

    /// Reading or writing failed; a missing file that was asked for is an input error instead.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// Opening an input failed: `NotFound` becomes an [`Error::Input`], everything else stays an I/O error.
    pub fn opening(path: impl AsRef<Path>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            let path = path.as_ref();
            crate::store::foreign::dangling(path).unwrap_or_else(|| Self::input(path, "no such file or folder"))
        } else {
            Self::io("opening", path, source)
        }
    }

    /// Says in front of the problem where it arose; the kind, and with it the exit code, stays.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        match &mut self {
            Self::Failed { message, .. } | Self::Usage { message, .. } | Self::Device { message, .. } => {
                *message = format!("{place}: {message}");
            }
            Self::Input { problem, .. } => *problem = format!("{place}: {problem}"),
            _ => {}
        }
        self
    }

    /// Adds (or replaces) the hint. Kinds without a hint stay as they are.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Failed { hint, .. }
            | Self::Usage { hint, .. }
            | Self::Input { hint, .. }
            | Self::Device { hint, .. }
            | Self::InUse { hint, .. } => {
                *hint = Some(text.into());
            }
            Self::Io { .. } | Self::ShareDone | Self::Interrupted { .. } => {}
        }
        self
    }

    /// The hint to print after the message.
    pub fn hint_text(&self) -> Option<String> {
        match self {
            Self::Failed { hint, .. }
            | Self::Usage { hint, .. }
            | Self::Input { hint, .. }
            | Self::Device { hint, .. } => hint.clone(),
            // By kind, not by number: libraries wrap the error of the system and lose its number.
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free some space and start again; nothing half-written was left behind".into())
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("choose another folder with `--out`, or change its permissions".into())
                }
                _ if matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    Some("raise the limit of open files: `ulimit -n 4096`".into())
                }
                _ => None,
            },
            Self::InUse { hint, .. } => {
                let usual = "wait for that run to end, or choose another folder with `--out`";
                Some(hint.clone().unwrap_or_else(|| usual.into()))
            }
            Self::Interrupted { .. } | Self::ShareDone => None,
        }
    }

    /// The exit code of the process that ends with this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed { .. } => ExitCode::Failed,
            Self::Usage { .. } => ExitCode::Usage,
            Self::Input { .. } => ExitCode::Input,
            Self::Io { .. } => ExitCode::Io,
            Self::Device { .. } => ExitCode::Device,
            Self::InUse { .. } => ExitCode::InUse,
            Self::Interrupted { .. } => ExitCode::Interrupted,
            Self::ShareDone => ExitCode::Done,
        }
    }
}
