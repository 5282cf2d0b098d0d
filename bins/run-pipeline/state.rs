//! What the runner keeps beside a pipeline, in `.podium/`: the lock that makes it the only one, the journal of running
//! stages, hashes of files, logs and records. Nothing in it decides about results; all of it may be removed.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::{Error, Result, durable, stage};

use crate::run::os;

/// Name of the folder.
pub const FOLDER: &str = ".podium";
const JOURNAL: &str = "journal";
/// Variable by which the processes of a run are found again.
pub const RUN_VARIABLE: &str = "PODIUM_RUN";

/// The folder, held by this process.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    run: String,
    journal: Mutex<Journal>,
    _lock: File,
}

#[derive(Debug)]
struct Journal {
    /// Stages that are running, or whose run was cut off and not made up for yet.
    open: BTreeSet<String>,
    file: Option<File>,
}

impl State {
    /// Takes the pipeline for this process. Processes that an earlier run left behind are ended first: they would write
    /// into outs that are about to be made anew.
    pub fn take(pipeline: &Path, shown: &Path, run: &str) -> Result<Self> {
        let folder = pipeline.join(FOLDER);
        durable::create_folder(&folder)?;
        let lock = stage::lock(&folder).map_err(|e| match e {
            Error::InUse { pid, .. } => {
                let hint =
                    format!("wait for it to end, or end it with `kill -INT {pid}`: running stages save their work");
                Error::InUse { path: shown.to_path_buf(), pid, hint: Some(hint) }
            }
            other => other,
        })?;
        let ignore = folder.join(".gitignore");
        if !ignore.exists() {
            durable::write(&ignore, b"*\n")?;
        }
        let (left_by, open) = read(&folder);
        if let Some(left_by) = left_by.filter(|_| !open.is_empty()) {
            os::end_processes_of(RUN_VARIABLE, &left_by)?;
        }
        // Beside the lock only: what stages write below the pipeline's folder is their own.
        durable::sweep_flat(pipeline)?;
        durable::sweep(&folder)?;
        Ok(Self { folder, run: run.into(), journal: Mutex::new(Journal { open, file: None }), _lock: lock })
    }

    /// Stages whose run was cut off, without taking the pipeline. Stages that run at this moment are among them.
    pub fn cut_off(pipeline: &Path) -> BTreeSet<String> {
        read(&pipeline.join(FOLDER)).1
    }

    /// True for a stage whose last run was cut off.
    pub fn was_cut_off(&self, name: &str) -> bool {
        self.journal.lock().is_ok_and(|journal| journal.open.contains(name))
    }

    /// Notes on the disk that a stage is about to run.
    pub fn starting(&self, name: &str) -> Result<()> {
        let Ok(mut journal) = self.journal.lock() else { return Err(Error::failed("another thread failed")) };
        let path = self.folder.join(JOURNAL);
        journal.open.insert(name.into());
        match &mut journal.file {
            Some(file) => {
                let line = format!("start {name}\n");
                let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
                written.map_err(|e| Error::io("writing", &path, e))
            }
            None => {
                let lines: String = journal.open.iter().map(|name| format!("start {name}\n")).collect();
                durable::write(&path, format!("run {}\n{lines}", self.run).as_bytes())?;
                let file = OpenOptions::new().append(true).open(&path);
                journal.file = Some(file.map_err(|e| Error::io("opening", &path, e))?);
                Ok(())
            }
        }
    }

    /// Notes that a stage is in the lock. Losing this line in a crash costs one more run of the stage, no more.
    pub fn finished(&self, name: &str) -> Result<()> {
        let Ok(mut journal) = self.journal.lock() else { return Err(Error::failed("another thread failed")) };
        journal.open.remove(name);
        let path = self.folder.join(JOURNAL);
        match &mut journal.file {
            Some(file) => {
                file.write_all(format!("end {name}\n").as_bytes()).map_err(|e| Error::io("writing", &path, e))
            }
            None => Ok(()),
        }
    }

    /// Ends the journal when no stage is open.
    pub fn close(&self) {
        if let Ok(journal) = self.journal.lock()
            && journal.open.is_empty()
            && journal.file.is_some()
        {
            // Left behind it says the same at greater length.
            let _ = fs::remove_file(self.folder.join(JOURNAL));
        }
    }

    /// Where the output of a stage goes.
    pub fn log(&self, stage: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{}.log", file_name(stage)))
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Name of a stage as a file name: everything but letters, digits and `@._-` becomes `%XX`.
pub fn file_name(stage: &str) -> String {
    let mut name = String::new();
    for byte in stage.bytes() {
        if byte.is_ascii_alphanumeric() || b"@._-".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name += &format!("%{byte:02X}");
        }
    }
    name
}

/// The run that wrote the journal, and the stages that it left open. A last line that was cut off counts as nothing:
/// its stage had not started.
fn read(folder: &Path) -> (Option<String>, BTreeSet<String>) {
    let mut open = BTreeSet::new();
    let mut run = None;
    let text = fs::read_to_string(folder.join(JOURNAL)).unwrap_or_default();
    for line in text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')) {
        match line.split_once(' ') {
            Some(("run", id)) => run = Some(id.to_string()),
            Some(("start", name)) => {
                open.insert(name.to_string());
            }
            Some(("end", name)) => {
                open.remove(name);
            }
            _ => {}
        }
    }
    (run, open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_did_not_end_stays_cut_off_until_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let shown = Path::new("dvc.yaml");
        let state = State::take(folder.path(), shown, "run-1").unwrap();
        state.starting("a").unwrap();
        state.starting("b c").unwrap();
        state.finished("a").unwrap();
        state.close();
        drop(state);
        assert_eq!(State::cut_off(folder.path()), BTreeSet::from(["b c".to_string()]));
        let state = State::take(folder.path(), shown, "run-2").unwrap();
        assert!(state.was_cut_off("b c") && !state.was_cut_off("a"));
        state.starting("d").unwrap();
        state.finished("d").unwrap();
        state.close();
        drop(state);
        let state = State::take(folder.path(), shown, "run-3").unwrap();
        assert!(state.was_cut_off("b c"));
        state.starting("b c").unwrap();
        state.finished("b c").unwrap();
        state.close();
        assert!(State::cut_off(folder.path()).is_empty());
    }

    #[test]
    fn the_second_taker_learns_who_holds_the_pipeline() {
        let folder = tempfile::tempdir().unwrap();
        let _held = State::take(folder.path(), Path::new("p/dvc.yaml"), "1").unwrap();
        let error = State::take(folder.path(), Path::new("p/dvc.yaml"), "2").unwrap_err();
        assert_eq!(error.to_string(), format!("`p/dvc.yaml` is in use by pid {}", std::process::id()));
    }

    #[test]
    fn names_of_stages_make_safe_file_names() {
        assert_eq!(file_name("train@a/b c"), "train@a%2Fb%20c");
    }
}
