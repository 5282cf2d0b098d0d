//! The text of a config, from a file or a pipe.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, Result};

/// Longest config file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Texts that came from a pipe, which gives them only once: a config is looked at before its type is known, and again.
static PIPED: Mutex<Option<HashMap<PathBuf, String>>> = Mutex::new(None);

/// The text of a config; `-` is standard input.
pub fn read(path: &Path) -> Result<String> {
    let is_stdin = path == Path::new("-");
    let path = if is_stdin { Path::new("/dev/stdin") } else { path };
    let metadata = fs::metadata(path).map_err(|e| config_error(path, e))?;
    if metadata.is_file() && !is_stdin {
        check_size(path, metadata.len())?;
        let text = fs::read_to_string(path).map_err(|e| config_error(path, e))?;
        crate::store::foreign::demand_data(path, text.as_bytes())?;
        return Ok(text);
    }
    let mut piped = PIPED.lock().map_err(|_| Error::failed("another thread failed while it read a config"))?;
    let piped = piped.get_or_insert_default();
    if let Some(text) = piped.get(path) {
        return Ok(text.clone());
    }
    let mut text = String::new();
    let read = if is_stdin {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    read.map_err(|e| config_error(path, e))?;
    check_size(path, text.len() as u64)?;
    piped.insert(path.to_path_buf(), text.clone());
    Ok(text)
}

fn check_size(path: &Path, bytes: u64) -> Result<()> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::usage(format!("`{}` has {bytes} bytes or more, a config has at most {MAX_BYTES}", path.display())))
}

fn config_error(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::usage(format!("config `{}` does not exist", path.display()))
            .hint("published configs lie in `configs/SYSTEM/MEMBER/RUN.yaml`"),
        std::io::ErrorKind::InvalidData => Error::usage(format!("config `{}` is not UTF-8 text", path.display())),
        _ => Error::io("reading the config", path, error),
    }
}
