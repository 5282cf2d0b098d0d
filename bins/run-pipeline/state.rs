//! What the runner keeps beside a pipeline, in `.podium/`: the lock that makes it the only one, the journal of running
//! stages, hashes of files, logs and records. Nothing in it decides about results; all of it may be removed.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::{Error, Result, durable, stage};

use crate::run_pipeline::run::os;

/// Name of the folder.
pub const FOLDER: &str = ".podium";
/// Variable by which the processes of a run are found again.
pub const RUN_VARIABLE: &str = "PODIUM_RUN";

/// The folder, held by this process.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    /// Name of the journal.
    journal_name: String,
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
    pub fn take(pipeline: &Path, shown: &Path, run: &str, choice: Option<&str>) -> Result<Self> {
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
        // DVC hashes whatever lies in a dep, and this is not content of a pipeline's folder.
        let ignore = folder.join(".dvcignore");
        if !ignore.exists() {
            durable::write(&ignore, b"*\n")?;
        }
        let journal_name = journal_name(choice);
        let (left_by, open) = read(&folder.join(&journal_name));
        if let Some(left_by) = left_by.filter(|_| !open.is_empty()) {
            os::end_processes_of(RUN_VARIABLE, &left_by)?;
        }
        // Beside the lock only: what stages write below the pipeline's folder is their own.
        durable::sweep_flat(pipeline)?;
        durable::sweep(&folder)?;
        Ok(Self {
            folder,
            journal_name,
            run: run.into(),
            journal: Mutex::new(Journal { open, file: None }),
            _lock: lock,
        })
    }

    /// Stages whose run was cut off, without taking the pipeline. Stages that run at this moment are among them.
    pub fn cut_off(pipeline: &Path, choice: Option<&str>) -> BTreeSet<String> {
        read(&pipeline.join(FOLDER).join(journal_name(choice))).1
    }

    /// True for a stage whose last run was cut off.
    pub fn was_cut_off(&self, name: &str) -> bool {
        self.journal.lock().is_ok_and(|journal| journal.open.contains(name))
    }

    /// Notes that a stage is about to run.
    pub fn starting(&self, name: &str) -> Result<()> {
        let Ok(mut journal) = self.journal.lock() else { return Err(Error::failed("another thread failed")) };
        let path = self.folder.join(&self.journal_name);
        journal.open.insert(name.into());
        match &mut journal.file {
            Some(file) => {
                // A kill cannot lose this line, a power cut can. Then outs that are not what the lock says still give the
                // stage away, and those that are, are what it would write: not worth a sync of the disk for each stage.
                file.write_all(format!("start {name}\n").as_bytes()).map_err(|e| Error::io("writing", &path, e))
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
        let path = self.folder.join(&self.journal_name);
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
            let _ = fs::remove_file(self.folder.join(&self.journal_name));
        }
    }

    /// Where the output of a stage goes.
    pub fn log(&self, stage: &str) -> PathBuf {
        log_in(&self.folder, stage)
    }

    /// True for a stage that was started in this clone at some time.
    pub fn ever_ran(pipeline: &Path, stage: &str) -> bool {
        log_in(&pipeline.join(FOLDER), stage).exists()
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Stages of one size say nothing about those of another.
fn journal_name(choice: Option<&str>) -> String {
    choice.map_or_else(|| "journal".into(), |choice| format!("journal@{}", file_name(choice)))
}

fn log_in(folder: &Path, stage: &str) -> PathBuf {
    folder.join("logs").join(format!("{}.log", file_name(stage)))
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
fn read(journal: &Path) -> (Option<String>, BTreeSet<String>) {
    let mut open = BTreeSet::new();
    let mut run = None;
    let text = fs::read_to_string(journal).unwrap_or_default();
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
        let state = State::take(folder.path(), shown, "run-1", None).unwrap();
        state.starting("a").unwrap();
        state.starting("b c").unwrap();
        state.finished("a").unwrap();
        state.close();
        drop(state);
        assert_eq!(State::cut_off(folder.path(), None), BTreeSet::from(["b c".to_string()]));
        let state = State::take(folder.path(), shown, "run-2", None).unwrap();
        assert!(state.was_cut_off("b c") && !state.was_cut_off("a"));
        state.starting("d").unwrap();
        state.finished("d").unwrap();
        state.close();
        drop(state);
        let state = State::take(folder.path(), shown, "run-3", None).unwrap();
        assert!(state.was_cut_off("b c"));
        state.starting("b c").unwrap();
        state.finished("b c").unwrap();
        state.close();
        assert!(State::cut_off(folder.path(), None).is_empty());
    }

    #[test]
    fn the_second_taker_learns_who_holds_the_pipeline() {
        let folder = tempfile::tempdir().unwrap();
        let _held = State::take(folder.path(), Path::new("p/dvc.yaml"), "1", None).unwrap();
        let error = State::take(folder.path(), Path::new("p/dvc.yaml"), "2", None).unwrap_err();
        assert_eq!(error.to_string(), format!("`p/dvc.yaml` is in use by pid {}", std::process::id()));
    }

    #[test]
    fn names_of_stages_make_safe_file_names() {
        assert_eq!(file_name("train@a/b c"), "train@a%2Fb%20c");
    }
}
