//! Which stage runs next. Stages whose upstream is done run side by side as far as the machine allows.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::cli::progress::{Bar, clock};
use common::cli::{say, signals};
use common::{Error, Result};

use super::memory::Watch;
use super::missing;
use super::os;
use super::process::{follow, tail};
use super::record::{Record, StageRecord, now, seconds};
use super::resources::{Held, Resources};
use super::result::Results;
use super::scratch;
use super::work::{self, Failure, Home, Outcome, Shared};
use crate::run_pipeline::content::cache::Cache;
use crate::run_pipeline::content::seen::Seen;
use crate::run_pipeline::content::verdict::Reason;
use crate::run_pipeline::graph::{Project, Unit};
use crate::run_pipeline::repository;
use crate::run_pipeline::state::State;

/// Time that interrupted stages get to save their work.
const GRACE: Duration = Duration::from_secs(30);
/// A run of this length is worth a sync of the disk, after which hashes stay valid beyond a crash of the machine.
const WORTH_A_SYNC: Duration = Duration::from_secs(60);

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    pub jobs: usize,
    /// By unit.
    pub forced: Vec<bool>,
    pub keep_going: bool,
    /// The first failure ends the stages that run.
    pub fail_fast: bool,
    pub gpus: Option<u64>,
    pub mem_mb: Option<u64>,
    /// How the user calls this pipeline: for the hint how to run a stage again.
    pub call: String,
    /// Show what the stages say while they run.
    pub stream: bool,
    /// A rehearsal: every stage runs at its smallest, with the programs of this folder before all others; what nobody reads any
    /// more is removed.
    pub rehearsal: Option<PathBuf>,
}

/// How it went.
pub struct Done {
    pub record: Record,
    pub results: Results,
    /// What the process ends with.
    pub result: Result<()>,
}

/// Runs everything that is not up to date.
pub fn run(project: Project, options: &Options) -> Result<Done> {
    refuse_missing(&project.units)?;
    let started = Instant::now();
    let time = now();
    let shared = Arc::new(prepare(&project, options.rehearsal.as_deref())?);
    let units: Arc<Vec<Unit>> = Arc::new(project.units);
    let mut scheduler = Scheduler {
        resources: Resources::new(options.jobs, options.gpus, options.mem_mb),
        slots: units.iter().map(|_| Slot::Waiting).collect(),
        units: Arc::clone(&units),
        shared: Arc::clone(&shared),
        options,
        failures: Vec::new(),
        error: None,
        interrupted_at: None,
        failed_at: None,
        signalled: HashSet::new(),
    };
    scheduler.all();
    shared.watch.stop();
    for state in shared.homes.iter().filter_map(|home| home.state.as_ref()) {
        state.close();
    }
    let synced = started.elapsed() > WORTH_A_SYNC && os::sync_file_system(&shared.homes[0].folder).is_ok();
    let saved = shared.seen.save(synced);
    let record = Record {
        pipeline: shared.homes[0].shown.display().to_string(),
        version: common::VERSION.into(),
        started: time,
        wall_s: (started.elapsed().as_secs_f64() * 1e3).round() / 1e3,
        stages: units
            .iter()
            .zip(&scheduler.slots)
            .map(|(u, s)| StageRecord::new(&u.title, s.outcome(), started))
            .collect(),
    };
    let mut result = scheduler.result();
    if record.stages.iter().any(|s| s.wall_s.is_some()) {
        let written = shared.homes[0].state().and_then(|state| record.write(state.folder()));
        result = result.and(written);
    }
    let results = Results::read(record.pipeline.clone(), &units, &project.homes[0].metrics);
    Ok(Done { record, results, result: result.and(saved) })
}

/// Takes the pipelines, always in the same order, so that two runs cannot wait for each other.
fn prepare(project: &Project, rehearsal: Option<&Path>) -> Result<Shared> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let run = format!("{}-{since}", std::process::id());
    let homes = project.homes.iter().enumerate().map(|(index, home)| {
        let used = index == 0 || project.units.iter().any(|u| u.home == index);
        if !used {
            return Ok(Home::unused(home.folder.clone(), home.shown.clone()));
        }
        let state = State::take(&home.folder, &home.shown, &run, home.choice.as_deref())?;
        Ok(Home {
            lock: Mutex::new(home.read_lock()?),
            cache: Cache::find(&home.folder),
            repository: repository::dvc_root(&home.folder),
            folder: home.folder.clone(),
            shown: home.shown.clone(),
            state: Some(state),
        })
    });
    let homes = homes.collect::<Result<Vec<_>>>()?;
    let seen = Seen::of(&homes[0].folder);
    let path = match (rehearsal.and_then(Path::to_str), path_with_own_folder()) {
        (Some(first), Some(path)) => Some(format!("{first}:{path}")),
        (_, path) => path,
    };
    Ok(Shared { homes, seen, watch: Watch::start(), run, path, rehearsal: rehearsal.is_some() })
}

fn path_with_own_folder() -> Option<String> {
    let own = std::env::current_exe().ok()?.parent()?.to_str()?.to_string();
    Some(match std::env::var("PATH") {
        Ok(path) => format!("{own}:{path}"),
        Err(_) => own,
    })
}

/// Every dep that no stage makes has to be there before anything runs.
fn refuse_missing(units: &[Unit]) -> Result<()> {
    let mut units_that_run = units.iter().filter(|unit| !unit.stage.frozen);
    match units_that_run.find_map(|unit| missing::of(unit, units)) {
        Some(missing) => Err(missing.error()),
        None => Ok(()),
    }
}

enum Slot {
    Waiting,
    Running(Running),
    Ended(Outcome),
    /// The work could not even be tried; the error is kept beside.
    Broken(Outcome),
}

struct Running {
    held: Held,
    group: Arc<AtomicU32>,
    thread: JoinHandle<()>,
    since: Instant,
    bar: Option<Bar>,
    /// Bytes of the log that were shown.
    shown: u64,
}

impl Slot {
    fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Ended(outcome) | Self::Broken(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn is_good(&self) -> bool {
        matches!(self, Self::Ended(Outcome::Unchanged | Outcome::Ran(_) | Outcome::Verified(_)))
    }
}

enum Event {
    Starts(usize, Vec<Reason>),
    Ends(usize, Result<Outcome>),
}

struct Scheduler<'a> {
    units: Arc<Vec<Unit>>,
    shared: Arc<Shared>,
    options: &'a Options,
    resources: Resources,
    slots: Vec<Slot>,
    failures: Vec<(usize, Failure)>,
    error: Option<Error>,
    interrupted_at: Option<Instant>,
    /// Since when the running stages are ended because of a failure.
    failed_at: Option<Instant>,
    signalled: HashSet<u32>,
}

impl Scheduler<'_> {
    fn all(&mut self) {
        self.pass_over_fresh();
        let (sender, events) = mpsc::channel();
        loop {
            let stopping = self.interrupted_at.is_some()
                || (!self.options.keep_going && (!self.failures.is_empty() || self.error.is_some()));
            if !stopping {
                self.dispatch(&sender);
            }
            if !self.slots.iter().any(|slot| matches!(slot, Slot::Running(_))) {
                return;
            }
            match events.recv_timeout(Duration::from_millis(200)) {
                Ok(event) => self.hear(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    // A thread that ended has sent its last word before: only when none is left to hear, it died.
                    let ended = self.threads_that_ended();
                    while let Ok(event) = events.try_recv() {
                        self.hear(event);
                    }
                    self.bury(&ended);
                    self.look_around();
                }
            }
            self.pass_on_interruption();
            self.pass_on_failure();
        }
    }

    /// Stages that are up to date behind others that are need no thread: this is all there is to do when nothing
    /// changed. Mistakes met here show again, with all else, when the stage has its turn.
    fn pass_over_fresh(&mut self) {
        for index in 0..self.units.len() {
            let unit = &self.units[index];
            let waits = !unit.upstream.iter().all(|&up| self.slots[up].is_good());
            if waits || self.options.forced[index] || signals::interrupted() {
                continue;
            }
            if work::is_fresh(unit, &self.shared).unwrap_or(false) {
                tracing::info!("{}: unchanged", unit.title);
                self.slots[index] = Slot::Ended(Outcome::Unchanged);
            }
        }
    }

    fn dispatch(&mut self, sender: &Sender<Event>) {
        for index in 0..self.units.len() {
            let unit = &self.units[index];
            let ready =
                matches!(self.slots[index], Slot::Waiting) && unit.upstream.iter().all(|&up| self.slots[up].is_good());
            if !ready {
                continue;
            }
            let Some(held) = self.resources.take(&unit.stage.needs) else { continue };
            let group = Arc::new(AtomicU32::new(0));
            let thread = {
                let (units, shared, sender) = (Arc::clone(&self.units), Arc::clone(&self.shared), sender.clone());
                let (held, group, forced) = (held.clone(), Arc::clone(&group), self.options.forced[index]);
                thread::spawn(move || {
                    let told = |reasons: &[Reason]| {
                        let _ = sender.send(Event::Starts(index, reasons.to_vec()));
                    };
                    let outcome = work::stage(&units[index], &shared, forced, &held, &group, told);
                    let _ = sender.send(Event::Ends(index, outcome));
                })
            };
            self.slots[index] =
                Slot::Running(Running { held, group, thread, since: Instant::now(), bar: None, shown: 0 });
        }
    }

    fn starts(&mut self, index: usize, reasons: &[Reason]) {
        let unit = &self.units[index];
        let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        tracing::info!("{}: running ({})", unit.title, why.join("; "));
        if self.resources.is_beyond(&unit.stage.needs) {
            tracing::warn!("{} asks for more than this machine has; it runs alone", unit.title);
        }
        if let Slot::Running(running) = &mut self.slots[index] {
            running.bar = Some(Bar::text(unit.title.clone()));
        }
    }

    fn ends(&mut self, index: usize, outcome: Result<Outcome>) {
        let done = 1 + self.slots.iter().filter(|slot| slot.is_good()).count();
        let of = format!("({done} of {})", self.slots.len());
        self.stream(index, true);
        let title = &self.units[index].title;
        let slot = std::mem::replace(&mut self.slots[index], Slot::Waiting);
        if let Slot::Running(running) = slot {
            drop(running.bar);
            let _ = running.thread.join();
            self.resources.give_back(&running.held);
        }
        self.slots[index] = match outcome {
            Ok(outcome) => {
                let outcome = match outcome {
                    Outcome::Failed(cost, _) if self.interrupted_at.or(self.failed_at).is_some() => {
                        Outcome::Interrupted(cost)
                    }
                    other => other,
                };
                match &outcome {
                    Outcome::Unchanged => tracing::info!("{title}: unchanged {of}"),
                    Outcome::Ran(cost) => tracing::info!("{title}: done in {} {of}", seconds(cost.wall.as_secs_f64())),
                    Outcome::Interrupted(_) => tracing::info!("{title}: interrupted"),
                    Outcome::Verified(_) => tracing::info!("{title}: frozen, its outs are taken as they are"),
                    Outcome::Failed(_, failure) => {
                        tracing::info!("{}", failure.sentence);
                        self.failures.push((index, failure.clone()));
                    }
                }
                Slot::Ended(outcome)
            }
            Err(error) => {
                let home = &self.shared.homes[self.units[index].home];
                let log = home.state().map(|s| s.log(&self.units[index].stage.name)).ok();
                let failure = Failure { sentence: error.to_string(), command: None, log, hint: None };
                if self.error.is_none() {
                    self.error = Some(error);
                }
                Slot::Broken(Outcome::Failed(work::Cost::default(), failure))
            }
        };
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Starts(unit, reasons) => self.starts(unit, &reasons),
            Event::Ends(unit, outcome) => {
                self.ends(unit, outcome);
                if self.options.rehearsal.is_some() && self.slots[unit].is_good() {
                    self.forget_what_is_read(unit);
                }
            }
        }
    }

    /// In a rehearsal the large files that a stage read are removed when all of their readers have ended.
    fn forget_what_is_read(&self, ended: usize) {
        for &up in self.units[ended].upstream.iter().filter(|&&up| !self.units[up].stage.frozen) {
            for out in &self.units[up].stage.outs {
                let units = self.units.iter().zip(&self.slots).filter(|(unit, _)| unit.upstream.contains(&up));
                if units.filter(|(unit, _)| scratch::reads(&unit.stage, out)).all(|(_, slot)| slot.is_good()) {
                    scratch::thin_out(&out.file);
                }
            }
        }
    }

    fn threads_that_ended(&self) -> Vec<usize> {
        let ended = |slot: &Slot| matches!(slot, Slot::Running(running) if running.thread.is_finished());
        (0..self.slots.len()).filter(|&index| ended(&self.slots[index])).collect()
    }

    /// Threads that ended without a word: a stage must never be waited for in vain.
    fn bury(&mut self, ended: &[usize]) {
        for &index in ended {
            if matches!(self.slots[index], Slot::Running(_)) {
                let error = Error::failed(format!("the thread of stage `{}` ended early", self.units[index].title));
                self.ends(index, Err(error));
            }
        }
    }

    /// With `-v` prints what a stage wrote since the last time, whole lines only unless it `ended`.
    fn stream(&mut self, index: usize, ended: bool) {
        if !self.options.stream {
            return;
        }
        let unit = &self.units[index];
        let Ok(log) = self.shared.homes[unit.home].state().map(|s| s.log(&unit.stage.name)) else { return };
        let Slot::Running(running) = &mut self.slots[index] else { return };
        // Before the stage starts the log of its last run lies there.
        if running.bar.is_none() && !ended {
            return;
        }
        let (lines, read) = follow(&log, running.shown, ended);
        running.shown = read;
        for line in lines {
            say(&format!("{}: {line}", unit.title));
        }
    }

    /// Shows what the running stages say.
    fn look_around(&mut self) {
        for index in 0..self.slots.len() {
            self.stream(index, false);
        }
        for index in 0..self.slots.len() {
            let Slot::Running(running) = &self.slots[index] else { continue };
            if let Some(bar) = &running.bar {
                let unit = &self.units[index];
                let log = self.shared.homes[unit.home].state().map(|s| s.log(&unit.stage.name));
                // A manifest is for the next stage to read, not for people.
                let speaks = |line: &String| !line.starts_with('{') && !line.trim().is_empty();
                let line = log.ok().and_then(|log| tail(&log, 20).into_iter().rfind(speaks));
                let line: String = line.unwrap_or_else(|| "running".into()).chars().take(160).collect();
                bar.show(format!("{}  {line}", clock(running.since.elapsed().as_secs_f64())));
            }
        }
    }

    /// The first Ctrl-C goes to every running stage once; those that do not end in time are killed.
    fn pass_on_interruption(&mut self) {
        if !signals::interrupted() {
            return;
        }
        let since = *self.interrupted_at.get_or_insert_with(|| {
            tracing::warn!("interrupted: the running stages save their work; once more ends them at once");
            Instant::now()
        });
        self.end_running(since);
    }

    /// With `--fail-fast` the first failure ends all.
    fn pass_on_failure(&mut self) {
        if !self.options.fail_fast || (self.failures.is_empty() && self.error.is_none()) {
            return;
        }
        let since = *self.failed_at.get_or_insert_with(|| {
            if self.slots.iter().any(|slot| matches!(slot, Slot::Running(_))) {
                tracing::warn!("the running stages save their work and end, because another one failed");
            }
            Instant::now()
        });
        self.end_running(since);
    }

    fn end_running(&mut self, since: Instant) {
        for slot in &self.slots {
            let Slot::Running(running) = slot else { continue };
            let group = running.group.load(Ordering::SeqCst);
            if group == 0 {
                continue;
            }
            if self.signalled.insert(group) {
                os::signal_group(group, libc::SIGINT);
            } else if since.elapsed() > GRACE {
                os::signal_group(group, libc::SIGKILL);
            }
        }
    }

    fn result(&mut self) -> Result<()> {
        if self.interrupted_at.is_some() {
            let saved = "finished stages are in the lock; the same command goes on from there";
            return Err(Error::Interrupted { saved: saved.into() });
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let Some((first, failure)) = self.failures.first() else { return Ok(()) };
        let mut text: Vec<String> = self.failures.iter().map(|(_, failure)| describe(failure)).collect();
        if text.len() > 1 {
            let names: Vec<String> = self.failures.iter().map(|(u, _)| format!("`{}`", self.units[*u].title)).collect();
            text.insert(0, format!("{} stages failed: {}", names.len(), names.join(", ")));
        }
        let again = || {
            let title = quote(&self.units[*first].title);
            format!("to run only this stage again: `{} --until {title}`", self.options.call)
        };
        Err(Error::failed(text.join("\n")).hint(failure.hint.clone().unwrap_or_else(again)))
    }
}

/// A failed stage with its command and the last lines of its log.
fn describe(failure: &Failure) -> String {
    let mut text = failure.sentence.clone();
    if let Some(command) = &failure.command {
        text += &format!("\n  command: {command}");
    }
    let Some(log) = &failure.log else { return text };
    text += &format!("\n  log: {}", log.display());
    let lines = tail(log, 15);
    if !lines.is_empty() {
        text += &format!("\n  last lines:\n    {}", lines.join("\n    "));
    }
    text
}

fn quote(title: &str) -> String {
    crate::run_pipeline::declare::text::quote(title)
}
