//! Flags that only some stages have. A registry's entry says which of them its system reads; those that it does not read are
//! refused when they are given.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::Request;
use crate::{Error, Result};

/// Name of the folder of raw data in what `simulate-data` writes.
pub const RAW: &str = "raw";

/// An override that sets a key to a path, whatever signs its name has.
///
/// # Errors
/// [`Error::Usage`] for a name that is no UTF-8, which a config cannot hold.
pub fn path_override(key: &str, path: &Path) -> Result<String> {
    Ok(format!("{key}={}", path_value(path)?))
}

/// A path as a value of a config: one text.
///
/// # Errors
/// As [`path_override`].
pub fn path_value(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| {
        Error::usage(format!("`{}` is no UTF-8, which a config cannot name", path.display()))
            .hint("reach it by another name: a link, or a renamed folder")
    })?;
    Ok(Value::from(text).to_string())
}

/// A stage's own flags.
pub trait Flags: Sized + 'static {
    /// The flags of these that were given and that a system may leave unread, as they are typed: `--init`.
    fn given(&self) -> Vec<&'static str>;

    /// Overrides of the config that the flags are short for.
    fn overrides(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where raw data lie, for stages that read them and whose command line says it.
    ///
    /// # Errors
    /// When they do not lie there.
    fn raw(request: &Request<Self>) -> Result<Option<PathBuf>> {
        let _ = request;
        Ok(None)
    }
}

/// A stage without flags of its own.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct NoFlags {}

impl Flags for NoFlags {
    fn given(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// Flags of `prepare-data`; every system reads them.
#[derive(Debug, Clone, Default)]
pub struct PrepareFlags {
    /// Folder of raw data.
    pub raw: Option<PathBuf>,
}

impl Flags for PrepareFlags {
    fn given(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// `--raw`, or the raw data of the `simulate-data` stage that `--from` leads to; none where neither is given.
    fn raw(request: &Request<Self>) -> Result<Option<PathBuf>> {
        if let Some(raw) = &request.flags.raw {
            if !raw.is_dir() {
                let problem =
                    if raw.exists() { "is a file, expected the folder that holds it" } else { "no such folder" };
                return Err(Error::input(raw, problem)
                    .hint("`prepare-data --help` says what `--raw` is expected to hold for each system"));
            }
            return Ok(Some(raw.clone()));
        }
        let before = request.before()?;
        Ok(before.map(|stage| stage.find("simulate-data")).transpose()?.map(|stage| stage.folder.join(RAW)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_text_whatever_its_name() {
        for name in ["a #b", "a: b", "[x]", "null", "a,b", "*x", " a ", "a\"b", "a\\b", "${x}", "123"] {
            let text = path_override("raw", Path::new(name)).unwrap();
            assert_eq!(serde_json::from_str::<String>(text.strip_prefix("raw=").unwrap()).unwrap(), name);
        }
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let odd = std::ffi::OsStr::from_bytes(b"a\xff");
            assert!(path_override("raw", Path::new(odd)).unwrap_err().to_string().contains("no UTF-8"));
        }
    }
}
