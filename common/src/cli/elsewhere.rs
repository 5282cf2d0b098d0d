//! Programs that compute in another program: one that is linked without libtorch, whose load takes a quarter of a second,
//! answers help, configs and mistakes, and puts the whole program in its own place once there is work to do.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::{progress, signals};
use crate::error::{Error, Result};

/// Set by whoever starts these programs where there is no libtorch (the wheel does): why, and in the next line the remedy.
const MISSING: &str = "PODIUM_TORCH_MISSING";

static WHOLE: OnceLock<&'static str> = OnceLock::new();

/// Says that the work of this process is done by `program`, a file beside this one, which is started by the name of this one
/// with the same arguments ([`hand_over`]). What is told until then waits: the other one tells it again.
///
/// It starts at once where an argument can be read but once, such as standard input or a pipe: it could not read that again.
pub fn begin(program: &'static str) {
    let _ = WHOLE.set(program);
    progress::hold();
    if std::env::args_os().skip(1).any(|argument| is_read_once(&argument)) {
        // Without the other program this one ends with the same error when it gets there.
        let _ = hand_over();
    }
}

/// Whether another program does the work of this one.
pub fn is() -> bool {
    WHOLE.get().is_some()
}

/// Ends here where another program does the work, which takes over this process; comes back where this one does it.
///
/// # Errors
/// [`Error::Device`] where it is known that there is no libtorch, [`Error::Failed`] where that program is not there,
/// [`Error::Io`] where it cannot be started.
pub fn hand_over() -> Result<()> {
    let Some(program) = WHOLE.get() else { return Ok(()) };
    if let Some(error) = std::env::var(MISSING).ok().as_deref().and_then(missing) {
        return Err(error);
    }
    // The other program would not know of it.
    signals::check("nothing, because nothing was begun")?;
    let own = std::env::current_exe().map_err(|e| Error::io("finding", "this program", e))?;
    let whole = own.with_file_name(program);
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    // What is blocked here would stay blocked there.
    signals::unblock();
    let failure = Command::new(&whole).arg0(name).args(arguments).exec();
    if failure.kind() == std::io::ErrorKind::NotFound {
        let problem = format!("there is no `{}`, which does the work of this program", whole.display());
        return Err(Error::failed(problem).hint("build or install both: `make build`, `make install`"));
    }
    Err(Error::io("starting", &whole, failure))
}

/// What [`MISSING`] says.
fn missing(told: &str) -> Option<Error> {
    let (problem, remedy) = told.split_once('\n')?;
    Some(Error::device(problem).hint(remedy))
}

/// Whether an argument, or the value behind its `=`, is `-` or a file that gives its bytes once.
fn is_read_once(argument: &OsStr) -> bool {
    let text = argument.to_string_lossy();
    let value = text.split_once('=').map(|(_, value)| OsString::from(value));
    [Some(argument.to_owned()), value].into_iter().flatten().any(|part| {
        let kind = Path::new(&part).metadata().map(|about| about.file_type());
        part == "-" || kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_libtorch_is_told_with_its_remedy() {
        let error = missing("torch is not installed\npip install torch").unwrap();
        assert_eq!(
            (error.to_string().as_str(), error.hint_text().as_deref()),
            ("torch is not installed", Some("pip install torch"))
        );
        assert!(missing("").is_none());
    }

    #[test]
    fn what_can_be_read_once_is_told_from_files_and_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a=b.yaml");
        crate::durable::write(&file, b"x").unwrap();
        for lasting in ["--from", "--from=runs", "key=value", "-q", "--", file.to_str().unwrap()] {
            assert!(!is_read_once(OsStr::new(lasting)), "{lasting}");
        }
        for once in ["-", "--from=-", "/dev/stdin", "/dev/null", "--weights=/dev/null"] {
            assert!(is_read_once(OsStr::new(once)), "{once}");
        }
    }
}
