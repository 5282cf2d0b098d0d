//! Which system a command line means, among those that have the stage.

use std::path::Path;

use clap::builder::{PossibleValue, PossibleValuesParser};

use super::{Command, Flags, Task, drive};
use crate::config;
use crate::stage::Manifest;
use crate::system::{System, names};
use crate::{Error, Result};

/// What the help of a binary says about a system's stage. Every text is empty or whole sentences; lines of at most 79 columns
/// where it is printed as it stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Help {
    /// What the stage makes: ends `name: ...`.
    pub makes: &'static str,
    /// What its raw data look like.
    pub raw: &'static str,
    /// What `--limit N` takes: reads on after the system's name.
    pub limit: &'static str,
    /// Examples, each a line that says what it does and the indented command.
    pub examples: &'static str,
    /// What flags mean for this system, by flag, where that differs: reads on after the system's name.
    pub flags: &'static [(&'static str, &'static str)],
}

impl Help {
    /// Says nothing.
    pub const NONE: Self = Self { makes: "", raw: "", limit: "", examples: "", flags: &[] };
}

/// A stage of one system, as a registry lists it.
pub struct Entry<F: 'static> {
    /// Name of the system.
    pub system: &'static str,
    /// What the help says.
    pub help: Help,
    /// Flags that it reads.
    pub reads: &'static [&'static str],
    /// Whether a config without `system` is its.
    pub recognises: fn(&Path) -> Result<bool>,
    /// The JSON Schema of its config.
    pub schema: fn() -> String,
    /// Runs it.
    pub run: fn(Command<F>) -> Result<()>,
}

impl<F: Flags> Entry<F> {
    /// The entry of a task.
    pub const fn of<T: Task<Flags = F>>() -> Self {
        Self {
            system: T::SYSTEM,
            help: T::HELP,
            reads: T::READS,
            recognises: T::recognises,
            schema: config::schema::<T::Config>,
            run: drive::<T>,
        }
    }
}

/// The systems that have a stage.
pub struct Choice<F: 'static> {
    entries: Vec<&'static Entry<F>>,
}

impl<F: Flags> Choice<F> {
    /// Collects the systems that have the stage.
    pub fn new(entries: impl IntoIterator<Item = Option<&'static Entry<F>>>) -> Self {
        Self { entries: entries.into_iter().flatten().collect() }
    }

    /// The system of this name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the known ones.
    pub fn named(&self, name: &str) -> Result<&'static Entry<F>> {
        self.find(name).ok_or_else(|| {
            Error::usage(format!("`{name}` is no system with this stage, expected {}", self.names("`", "`")))
        })
    }

    /// The system that a config names under `system`, or that recognises it as a config of its published program.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none.
    pub fn of_config(&self, file: &Path) -> Result<&'static Entry<F>> {
        let named = config::peek(file, "system")?;
        if named.is_none() {
            for entry in &self.entries {
                if (entry.recognises)(file)? {
                    return Ok(entry);
                }
            }
        }
        let found = named.as_deref().map_or("no `system`".to_string(), |name| format!("system `{name}`"));
        named.and_then(|name| self.find(&name)).ok_or_else(|| {
            Error::usage(format!("`{}` has {found}, expected {}", file.display(), self.names("`system: ", "`")))
        })
    }

    /// The system that wrote a stage.
    ///
    /// # Errors
    /// [`Error::Input`] when it does not have this stage.
    pub fn of_stage(&self, stage: &Manifest) -> Result<&'static Entry<F>> {
        self.find(&stage.system).ok_or_else(|| {
            let problem = format!("is of the system `{}`, expected {}", stage.system, self.names("`", "`"));
            Error::input(&stage.folder, problem)
        })
    }

    /// Runs the stage of a system, unless a flag was given that it does not read.
    ///
    /// # Errors
    /// [`Error::Usage`] for such a flag, else those of the run.
    pub fn run(&self, entry: &Entry<F>, command: Command<F>) -> Result<()> {
        self.refuse_unread(entry, command.flags)?;
        (entry.run)(command)
    }

    /// Refuses flags that were given and that the system does not read.
    ///
    /// # Errors
    /// [`Error::Usage`] with the systems that do.
    pub fn refuse_unread(&self, entry: &Entry<F>, flags: &F) -> Result<()> {
        let reads: Vec<_> = self.entries.iter().map(|entry| (entry.system, entry.reads)).collect();
        refuse_unread(entry.system, entry.reads, &flags.given(), &reads)
    }

    /// The names as values of an argument, each with the line that says what it is.
    pub fn values(&self, systems: &[&'static System]) -> PossibleValuesParser {
        let about = |name: &str| systems.iter().find(|system| system.name == name).map_or("", |system| system.line);
        let value = |entry: &&Entry<F>| PossibleValue::new(entry.system).help(about(entry.system));
        PossibleValuesParser::new(self.entries.iter().map(value).collect::<Vec<_>>())
    }

    /// The JSON Schema of every config, by system.
    pub fn schemas(&self) -> Vec<(&'static str, String)> {
        self.entries.iter().map(|entry| (entry.system, (entry.schema)())).collect()
    }

    /// One text of the help of all systems, with `between` them; systems without it are left out.
    pub fn help(&self, text: fn(&Help) -> &'static str, between: &str) -> String {
        let texts: Vec<&str> = self.entries.iter().map(|entry| text(&entry.help)).filter(|t| !t.is_empty()).collect();
        texts.join(between)
    }

    /// One text of the help of all systems as one sentence: `` `a`: ...; `b`: ... ``.
    pub fn sentence(&self, text: fn(&Help) -> &'static str) -> String {
        let parts = self.entries.iter().filter(|entry| !text(&entry.help).is_empty());
        parts.map(|entry| format!("`{}`: {}", entry.system, text(&entry.help))).collect::<Vec<_>>().join("; ")
    }

    /// The long help of a flag: `about`, what the flag means for each system, and which systems read it unless all do.
    pub fn flag(&self, flag: &str, about: &str) -> String {
        let own = |entry: &&'static Entry<F>| {
            let (_, text) = entry.help.flags.iter().find(|(name, _)| *name == flag)?;
            Some(format!("`{}`: {text}", entry.system))
        };
        let own: Vec<String> = self.entries.iter().filter_map(own).collect();
        let mut text = about.to_string();
        if !own.is_empty() {
            text += &format!("\n\n{}.", own.join("; "));
        }
        let readers: Vec<_> = self.entries.iter().filter(|entry| entry.reads.contains(&flag)).collect();
        if readers.len() < self.entries.len() && own.len() < readers.len() {
            text += &format!("\n\nFor {}.", names(readers.iter().map(|entry| entry.system), "`", "`"));
        }
        text
    }

    fn find(&self, name: &str) -> Option<&'static Entry<F>> {
        self.entries.iter().find(|entry| entry.system == name).copied()
    }

    fn names(&self, before: &str, after: &str) -> String {
        names(self.entries.iter().map(|entry| entry.system), before, after)
    }
}

/// Refuses the first of the flags `given` that `reads` does not list; `all` are the systems with the flags that they read.
///
/// # Errors
/// [`Error::Usage`].
pub fn refuse_unread(
    system: &str,
    reads: &[&str],
    given: &[&'static str],
    all: &[(&'static str, &'static [&'static str])],
) -> Result<()> {
    let Some(flag) = given.iter().find(|flag| !reads.contains(flag)) else { return Ok(()) };
    let readers: Vec<_> = all.iter().filter(|(_, reads)| reads.contains(flag)).map(|(name, _)| *name).collect();
    let error = Error::usage(format!("`{flag}` is not read by `{system}`"));
    Err(match readers.is_empty() {
        true => error.hint(format!("leave `{flag}` out")),
        false => error.hint(format!("leave `{flag}` out; it is for {}", names(readers.into_iter(), "`", "`"))),
    })
}
