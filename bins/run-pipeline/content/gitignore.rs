//! Cached outs go into `.gitignore`, as DVC puts them there: data never goes into git by accident.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use common::{Error, Result, durable};

use super::cache;
use super::ignore::Ignore;
use crate::run_pipeline::repository;

/// Stages that end at the same time may write to the same file.
static WRITING: Mutex<()> = Mutex::new(());

/// Makes git ignore an out of the DVC repository at `root`, unless it does already.
pub fn add(out: &Path, root: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (out.parent(), out.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let Some(git) = repository::git_root(root).filter(|_| out.starts_with(root)) else { return Ok(()) };
    // `dvc init --no-scm`: DVC leaves git alone here.
    if cache::is_on(&root.join(".dvc"), "core", "no_scm") {
        return Ok(());
    }
    let _one = WRITING.lock().map_err(|_| Error::failed("another thread failed while it wrote `.gitignore`"))?;
    if Ignore::new(&git, ".gitignore").hides(out, out.is_dir()) {
        return Ok(());
    }
    let file = folder.join(".gitignore");
    let mut text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::io("reading", &file, e)),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    // What has a meaning in a pattern is written as itself, the same signs as DVC's.
    let escaped: String =
        name.chars().flat_map(|c| "*?[]!#\\".contains(c).then_some('\\').into_iter().chain([c])).collect();
    text += &format!("/{escaped}\n");
    durable::write(&file, text.as_bytes()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_out_is_named_once_beside_what_the_file_holds_already() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [".git", ".dvc"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        durable::write(root.join(".gitignore"), b"*.log").unwrap();
        for name in ["model.bin", "model.bin", "run.log", "a*b", "!a", "b#", "sub/x"] {
            add(&root.join(name), root).unwrap();
        }
        assert_eq!(fs::read_to_string(root.join(".gitignore")).unwrap(), "*.log\n/model.bin\n/a\\*b\n/\\!a\n/b\\#\n");
        assert_eq!(fs::read_to_string(root.join("sub/.gitignore")).unwrap(), "/x\n");
    }
}
