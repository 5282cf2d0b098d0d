//! What every stage does, written once: config and overrides, `--print-config`, `--dry-run`, the plan, the lock of the
//! output folder, upstream and inputs, figures and manifest.
//!
//! A system's stage is a type that implements [`Task`]: the type is the plan (everything resolved and found, nothing
//! written), and it knows its config, how to make the plan, how to describe it, and the work. A binary holds its arguments
//! and hands them on as a [`Command`]; which system is meant, and whether it reads the flags given, is said by the
//! [`Choice`] among the [`Entry`]s of a registry.

mod choice;
mod options;
mod request;

use std::path::{Path, PathBuf};

pub use choice::{Choice, Entry, Help, refuse_unread};
pub use options::{Flags, NoFlags, PrepareFlags, RAW, path_override, path_value};
pub use request::{Command, Request};

use crate::Result;
use crate::config::{Config, Resolved};
use crate::stage::{Manifest, Stage};

/// Whether a run did all of its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The stage is finished: its manifest is written.
    Finished,
    /// A part of it was asked for and is done: the folder stays unfinished.
    Part,
}

/// One stage of one system. The implementing type is the plan of a run.
pub trait Task: Sized + 'static {
    /// Name of the system: the `system` of configs and manifests.
    const SYSTEM: &'static str;
    /// Name of the stage, which is that of its binary.
    const STAGE: &'static str;
    /// What the help of the binary says about this system.
    const HELP: Help;
    /// Flags of [`Task::Flags`] that this system reads, as they are typed (`--init`); others are refused when given.
    const READS: &'static [&'static str] = &[];
    /// Overrides of the config that make a smoke run.
    const SMOKE: &'static [&'static str] = &[];
    /// What `--limit` is in a smoke run.
    const SMOKE_LIMIT: u64 = 2;

    /// The flags that this stage has beside those of all stages.
    type Flags: Flags;
    /// The config.
    type Config: Config;

    /// Whether a config that names no `system` is one of this system: that of the published program.
    ///
    /// # Errors
    /// Those of reading the file.
    fn recognises(file: &Path) -> Result<bool> {
        let _ = file;
        Ok(false)
    }

    /// Overrides that name raw data in the config.
    ///
    /// # Errors
    /// For a name that a config cannot hold.
    fn raw(data: &Path) -> Result<Vec<String>> {
        let _ = data;
        Ok(Vec::new())
    }

    /// Overrides that follow from the flags and win over those typed: where the raw data lie, and what else a flag is short
    /// for ([`Flags::overrides`]).
    ///
    /// # Errors
    /// For flags whose values do not exist.
    fn overrides(request: &Request<Self::Flags>) -> Result<Vec<String>> {
        let mut all = request.flags.overrides();
        if let Some(data) = Self::Flags::raw(request)? {
            all.extend(Self::raw(&data)?);
        }
        Ok(all)
    }

    /// The config of the run, overrides applied.
    ///
    /// # Errors
    /// Those of [`crate::config::load`].
    fn config(request: &Request<Self::Flags>) -> Result<Resolved<Self::Config>> {
        crate::config::load(request.config, &request.all_overrides::<Self>()?)
    }

    /// Resolves and finds everything; writes nothing.
    ///
    /// # Errors
    /// For whatever is missing or does not go together.
    fn plan(request: &Request<Self::Flags>, config: Resolved<Self::Config>) -> Result<Self>;

    /// What would be done, in lines.
    fn describe(&self) -> Vec<String>;

    /// Seed of the run where the config has none. Also none: 0.
    fn seed(&self) -> Option<u64> {
        None
    }

    /// Stages that fed this one: `before`, which `--from` names, unless others were found behind it.
    fn upstream<'a>(&'a self, before: Option<&'a Manifest>) -> Vec<&'a Manifest> {
        before.into_iter().collect()
    }

    /// Files beside the upstream's that are read, each with the name that the manifest gives it.
    fn inputs(&self) -> Vec<(String, PathBuf)> {
        Vec::new()
    }

    /// The work. What is written and found is noted in `stage`; the driver finishes it.
    ///
    /// # Errors
    /// Whatever keeps the work from being done.
    fn run(self, stage: &mut Stage) -> Result<Ending>;
}

/// Runs a stage of a system: [`Task`] says what, this says in which order.
///
/// # Errors
/// Those of the task, and of a folder that is in use or finished already.
pub fn drive<T: Task>(command: Command<T::Flags>) -> Result<()> {
    let mut request = Request::new(command, T::STAGE, T::SMOKE_LIMIT);
    let Some(config) = request.run.printed(T::config(&request)?)? else { return Ok(()) };
    let text = match request.limit {
        // A part is no whole: its config says so.
        Some(n) => format!("# with --limit {n}\n{}", config.text),
        None => config.text.clone(),
    };
    if crate::cli::elsewhere::is() {
        // What is mistyped here is said at once, too.
        request.before()?;
        crate::cli::elsewhere::hand_over()?;
    }
    let seed = config.seed;
    request.threads = request.run.cpu_threads();
    let task = T::plan(&request, config)?;
    let folder = &request.folder;
    let would = if request.run.dry_run { "would write" } else { "writing" };
    tracing::info!("{}: {would} into `{}`", T::STAGE, folder.display());
    task.describe().iter().for_each(|line| tracing::info!("  {line}"));
    if request.run.dry_run {
        return Ok(());
    }
    let seed = seed.or_else(|| task.seed()).unwrap_or(0);
    let mut stage = Stage::begin(T::STAGE, T::SYSTEM, folder, &text, seed, request.run.force)?;
    task.upstream(request.known_before()).into_iter().for_each(|manifest| stage.upstream(manifest));
    for (name, path) in task.inputs() {
        stage.input(&name, &path)?;
    }
    match task.run(&mut stage)? {
        Ending::Finished => stage.finish().map(|_| ()),
        Ending::Part => Ok(()),
    }
}

#[cfg(test)]
mod tests;
