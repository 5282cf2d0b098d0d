//! The commands of one stage: each in a shell of its own, output into the stage's log.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::cli::signals;
use common::{Error, Result, durable};

use super::memory::Watch;
use super::os;

/// How the commands of a stage ended.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    /// The command that failed and how, if one did.
    pub failed: Option<(String, String)>,
    pub wall: Duration,
    pub peak_bytes: u64,
}

/// What a stage's processes get.
pub struct Surroundings<'a> {
    pub wdir: &'a Path,
    pub log: &'a Path,
    /// Variables beside those of the runner.
    pub variables: Vec<(String, String)>,
    pub watch: &'a Watch,
    /// Process group of the running command, 0 between commands: for signals.
    pub group: &'a AtomicU32,
}

/// Runs the commands one after the other until one fails.
pub fn run(commands: &[String], around: &Surroundings) -> Result<Ended> {
    if let Some(folder) = around.log.parent() {
        durable::create_folder(folder)?;
    }
    let io = |e| Error::io("writing", around.log, e);
    let mut log = OpenOptions::new().create(true).write(true).truncate(true).open(around.log).map_err(io)?;
    // A log of the run before may still be open in a leftover process: appending never writes over each other's text.
    drop(log);
    log = OpenOptions::new().append(true).open(around.log).map_err(io)?;
    let started = Instant::now();
    let mut ended = Ended::default();
    for command in commands {
        if signals::interrupted() {
            ended.failed = Some((command.clone(), "an interruption".into()));
            break;
        }
        writeln!(log, "$ {command}").map_err(io)?;
        let outcome = one(command, &log, around)?;
        ended.peak_bytes = ended.peak_bytes.max(outcome.peak_bytes);
        let how = match (outcome.code, outcome.signal) {
            (Some(0), _) => continue,
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown end".into(),
        };
        ended.failed = Some((command.clone(), how));
        break;
    }
    ended.wall = started.elapsed();
    Ok(ended)
}

fn one(command: &str, log: &File, around: &Surroundings) -> Result<os::Ended> {
    let copy = || log.try_clone().map_err(|e| Error::io("opening", around.log, e));
    let (shell, options) = shell();
    let mut process = Command::new(&shell);
    process.args(options).arg("-c").arg(command).current_dir(around.wdir);
    process.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
    process.envs(around.variables.iter().map(|(name, value)| (name, value)));
    let child = os::spawn(&mut process).map_err(|e| Error::io("starting", &shell, e))?;
    let group = child.id();
    around.watch.add(group);
    around.group.store(group, Ordering::SeqCst);
    let ended = os::wait(&child);
    around.group.store(0, Ordering::SeqCst);
    let peak = around.watch.take(group);
    let mut ended = ended.map_err(|e| Error::io("waiting for", &shell, e))?;
    // Short commands end between two looks: then the kernel's figure of the largest process stands in.
    if peak > 0 {
        ended.peak_bytes = peak;
    }
    Ok(ended)
}

/// The user's shell, started without its own settings, as DVC does it.
fn shell() -> (String, &'static [&'static str]) {
    let shell = std::env::var("SHELL").ok().filter(|s| !s.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let options: &[&str] = match shell.rsplit('/').next() {
        Some("zsh") => &["--no-rcs"],
        Some("bash") => &["--noprofile", "--norc"],
        _ => &[],
    };
    (shell, options)
}

/// Lines of a log behind `from`, and where they end; a last line without an end counts when `whole`.
pub fn follow(log: &Path, from: u64, whole: bool) -> (Vec<String>, u64) {
    const MOST: u64 = 4 << 20;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let mut bytes = read().unwrap_or_default();
    if !whole {
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(end);
    }
    let lines = String::from_utf8_lossy(&bytes).lines().map(last_state).collect();
    (lines, from + bytes.len() as u64)
}

/// The last lines of a log, at most `lines`.
pub fn tail(log: &Path, lines: usize) -> Vec<String> {
    const BYTES: u64 = 16 << 10;
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| last_state(line)).collect()
}

/// What a terminal would show of a line that was written over with carriage returns, without control characters.
fn last_state(line: &str) -> String {
    let shown = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    shown.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}
