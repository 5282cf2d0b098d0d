//! Which system a command line means: binaries serve several, each with one function a system.

use std::path::Path;

use clap::ValueEnum;

use crate::config;
use crate::error::{Error, Result};
use crate::stage::Manifest;

/// The systems, as an argument where no config or stage says which one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// IceCube: parquet files of pulses, one row a pulse
    Icecube,
    /// LEAP / ClimSim: mli/mlo netCDF files, Kaggle csv files
    Leap,
    /// PoLAr-MAE: PILArNet-M HDF5 files of point clouds
    Polarmae,
    /// TrackNET: TrackML csv events
    Tracknet,
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

    /// All names, as a choice: `` `a`, `b` or `c` ``.
    fn names(self, before: &str, after: &str) -> String {
        let names: Vec<String> = self.0.iter().map(|(name, _)| format!("{before}{name}{after}")).collect();
        match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Systems<u8> = Systems(&[("leap", 1), ("icecube", 2), ("tracknet", 3)]);

    #[test]
    fn a_config_names_its_system() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("train.yaml");
        crate::durable::write(&file, b"system: icecube\nseed: 1\n").unwrap();
        assert_eq!(TABLE.of_config(&file).unwrap(), 2);
    }

    #[test]
    fn another_system_or_none_is_refused_with_the_known_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("train.yaml");
        crate::durable::write(&file, b"system: moon\n").unwrap();
        let message = TABLE.of_config(&file).unwrap_err().to_string();
        let expected = "has system `moon`, expected `system: leap`, `system: icecube` or `system: tracknet`";
        assert!(message.ends_with(expected), "{message}");
        crate::durable::write(&file, b"seed: 1\n").unwrap();
        assert!(TABLE.of_config(&file).unwrap_err().to_string().contains("has no `system`"));
    }
}
