//! What a run is asked to do.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use super::{Flags, Task};
use crate::cli::RunFlags;
use crate::stage::Manifest;
use crate::{Error, Result};

/// What was typed, whichever system it is for.
#[derive(Debug, Clone)]
pub struct Command<'a, F> {
    /// The config file, where one was given.
    pub config: Option<&'a Path>,
    /// `KEY=VALUE`.
    pub overrides: &'a [String],
    /// The stage before: a folder, or `-` for the manifest on standard input.
    pub from: Option<&'a str>,
    /// That stage, where it was read already, to know the system.
    pub before: Option<Manifest>,
    /// The flags of all stages.
    pub run: &'a RunFlags,
    /// `--fast-dev-run`.
    pub smoke: bool,
    /// The flags of this stage.
    pub flags: &'a F,
}

/// A [`Command`] with what follows from it for every system.
#[derive(Debug)]
pub struct Request<'a, F> {
    /// The config file, where one was given.
    pub config: Option<&'a Path>,
    /// `KEY=VALUE`, as typed.
    pub overrides: &'a [String],
    /// The flags of all stages.
    pub run: &'a RunFlags,
    /// `--fast-dev-run`.
    pub smoke: bool,
    /// The flags of this stage.
    pub flags: &'a F,
    /// The first units of work that are asked for: `--limit`, or what a smoke run takes.
    pub limit: Option<u64>,
    /// CPU threads.
    pub threads: usize,
    /// The output folder.
    pub folder: PathBuf,
    from: Option<&'a str>,
    before: OnceCell<Manifest>,
}

impl<'a, F: Flags> Request<'a, F> {
    pub(super) fn new(command: Command<'a, F>, stage: &str, smoke_limit: u64) -> Self {
        let Command { config, overrides, from, before, run, smoke, flags } = command;
        Self {
            config,
            overrides,
            run,
            smoke,
            flags,
            limit: if smoke { Some(smoke_limit) } else { run.limit },
            threads: 1,
            folder: run.folder(stage),
            from,
            before: before.map_or_else(OnceCell::new, OnceCell::from),
        }
    }

    /// The overrides typed, then `--seed`, those of a smoke run, and those that follow from the flags.
    ///
    /// # Errors
    /// Those of [`Task::overrides`].
    pub fn all_overrides<T: Task<Flags = F>>(&self) -> Result<Vec<String>> {
        let mut all = self.overrides.to_vec();
        all.extend(self.run_overrides::<T>()?);
        Ok(all)
    }

    /// As [`Request::all_overrides`], without those typed: a config of another program takes those its own way.
    ///
    /// # Errors
    /// Those of [`Task::overrides`].
    pub fn run_overrides<T: Task<Flags = F>>(&self) -> Result<Vec<String>> {
        let mut all: Vec<String> = self.run.seed_override().into_iter().collect();
        if self.smoke {
            all.extend(T::SMOKE.iter().map(ToString::to_string));
        }
        all.extend(T::overrides(self)?);
        Ok(all)
    }

    /// The stage that `--from` names, read when it is first asked for: standard input is read once.
    ///
    /// # Errors
    /// Those of [`Manifest::read`].
    pub fn before(&self) -> Result<Option<&Manifest>> {
        match (self.before.get(), self.from) {
            (Some(before), _) => Ok(Some(before)),
            (None, Some(from)) => {
                let before = Manifest::read(from)?;
                Ok(Some(self.before.get_or_init(|| before)))
            }
            (None, None) => Ok(None),
        }
    }

    /// The stage that `--from` names, where it was asked for.
    pub(super) fn known_before(&self) -> Option<&Manifest> {
        self.before.get()
    }

    /// The stage that `--from` names. `what` says which stages are taken: `a finished prepare-data stage`.
    ///
    /// # Errors
    /// [`Error::Usage`] when none is named.
    pub fn demanded(&self, what: &str) -> Result<&Manifest> {
        self.before()?.ok_or_else(|| {
            Error::usage(format!("`--from` is missing: the folder of {what}"))
                .hint("for example `--from data`, or `--from -` behind a pipe")
        })
    }

    /// The first of `most` units that are to be done, as a count of what is held in memory.
    pub fn limited(&self, most: usize) -> usize {
        self.limit.map_or(most, |n| most.min(usize::try_from(n).unwrap_or(usize::MAX)))
    }
}
