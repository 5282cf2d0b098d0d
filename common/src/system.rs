//! What a system is to the stages: its name, and what it has of each stage that needs no tensor library.
//!
//! The registry of systems is the crate `registry`, which lists one [`System`] of each system's data crate. Stages with
//! networks are listed in the same way by the crate `networks`.

use std::path::Path;

use crate::config;
use crate::driver::{Entry, NoFlags, PrepareFlags};
use crate::error::{Error, Result};
use crate::stage::Manifest;

/// A system, as its data crate describes it. What a system does not have is none.
pub struct System {
    /// Its name in configs, manifests and command lines.
    pub name: &'static str,
    /// What it is, in one line: its data.
    pub line: &'static str,
    /// `simulate-data`.
    pub simulate: Option<Entry<NoFlags>>,
    /// `prepare-data`.
    pub prepare: Option<Entry<PrepareFlags>>,
}

/// The systems that a binary serves, by name, each with what serves it.
#[derive(Debug, Clone, Copy)]
pub struct Systems<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy> Systems<T> {
    /// The system that a config names under `system`.
    ///
    /// # Errors
    /// [`Error::Usage`] when the config names none or another one.
    pub fn of_config(self, file: &Path) -> Result<T> {
        let named = config::peek(file, "system")?;
        let found = named.as_deref().map_or("no `system`".to_string(), |name| format!("system `{name}`"));
        named.and_then(|name| self.find(&name)).ok_or_else(|| {
            Error::usage(format!("`{}` has {found}, expected {}", file.display(), self.names("`system: ", "`")))
        })
    }

    /// The system that wrote a stage.
    ///
    /// # Errors
    /// [`Error::Input`] when this binary does not serve it.
    pub fn of_stage(self, stage: &Manifest) -> Result<T> {
        self.find(&stage.system).ok_or_else(|| {
            let problem = format!("is of the system `{}`, expected {}", stage.system, self.names("`", "`"));
            Error::input(&stage.folder, problem)
        })
    }

    /// The system of this name.
    pub fn find(self, name: &str) -> Option<T> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, it)| *it)
    }

    fn names(self, before: &str, after: &str) -> String {
        names(self.0.iter().map(|(name, _)| *name), before, after)
    }
}

/// Names as a choice: `` `a`, `b` or `c` ``.
pub fn names<'a>(names: impl Iterator<Item = &'a str>, before: &str, after: &str) -> String {
    let names: Vec<String> = names.map(|name| format!("{before}{name}{after}")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Systems<u8> = Systems(&[("sun", 1), ("moon", 2), ("star", 3)]);

    #[test]
    fn a_config_names_its_system() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("train.yaml");
        crate::durable::write(&file, b"system: moon\nseed: 1\n").unwrap();
        assert_eq!(TABLE.of_config(&file).unwrap(), 2);
    }

    #[test]
    fn another_system_or_none_is_refused_with_the_known_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("train.yaml");
        crate::durable::write(&file, b"system: mars\n").unwrap();
        let message = TABLE.of_config(&file).unwrap_err().to_string();
        let expected = "has system `mars`, expected `system: sun`, `system: moon` or `system: star`";
        assert!(message.ends_with(expected), "{message}");
        crate::durable::write(&file, b"seed: 1\n").unwrap();
        assert!(TABLE.of_config(&file).unwrap_err().to_string().contains("has no `system`"));
    }
}
