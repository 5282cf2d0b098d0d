//! How events were prepared: what a network must be given again to mean the same.
//!
//! A network learns the scale of energies, the threshold and the size of a voxel along with its events. They travel with
//! its weights, and whoever gives it other events is told.

use std::path::Path;

use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::energy::EnergyScale;
use crate::raw::layout::{Detector, Voxel};
use crate::raw::{Layout, Selection};

/// What prepared events, and the networks that were trained on them, depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preparation {
    /// Scale of energies.
    pub energy: EnergyScale,
    /// Voxels have more than this energy, MeV.
    pub energy_threshold: f64,
    /// Whether low-energy scatters were left out.
    pub remove_low_energy_scatters: bool,
    /// Voxels that an event had at least.
    pub min_points: u64,
    /// How places became voxels.
    pub voxel: Voxel,
    /// The box that all points lie in.
    pub detector: Option<Detector>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

/// A setting that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Key in the config of `prepare-data`.
    pub key: &'static str,
    /// What it was where the network was trained.
    pub trained: String,
    /// What it is in the events at hand.
    pub found: String,
    /// Whether the energies of the events can be brought onto the network's scale.
    pub adaptable: bool,
    /// Whether the numbers that a network sees mean something else; otherwise only which events it sees.
    pub matters: bool,
}

impl Preparation {
    /// By a layout and a selection.
    pub fn of(layout: &Layout, selection: &Selection) -> Self {
        Self {
            energy: selection.scale(),
            energy_threshold: selection.energy_threshold,
            remove_low_energy_scatters: selection.remove_low_energy_scatters,
            min_points: selection.min_points,
            voxel: layout.voxel,
            detector: layout.detector,
            classes: layout.labels.names.clone(),
        }
    }

    /// In what events prepared as `found` differ from those that a network was trained on as `self`.
    pub fn differences(&self, found: &Self) -> Vec<Difference> {
        let mut all = vec![];
        let mut compare = |key, trained: String, there: String, adaptable, matters| {
            if trained != there {
                all.push(Difference { key, trained, found: there, adaptable, matters });
            }
        };
        let mev = |value: f64| format!("{value} MeV");
        compare("selection.log_floor", mev(self.energy.floor), mev(found.energy.floor), true, true);
        compare("selection.energy_max", mev(self.energy.max), mev(found.energy.max), true, true);
        compare("selection.energy_threshold", mev(self.energy_threshold), mev(found.energy_threshold), false, true);
        let yes = |value: bool| value.to_string();
        compare(
            "selection.remove_low_energy_scatters",
            yes(self.remove_low_energy_scatters),
            yes(found.remove_low_energy_scatters),
            false,
            true,
        );
        // Of equal voxels the unit that places were stored in does not matter.
        compare("layout.voxel.cm", format!("{} cm", self.voxel.cm), format!("{} cm", found.voxel.cm), false, true);
        let frame = |detector: &Option<Detector>| {
            detector.map_or("null".into(), |d| format!("{:?} to {:?} voxels", d.low, d.high))
        };
        compare("layout.detector", frame(&self.detector), frame(&found.detector), false, false);
        compare("selection.min_points", self.min_points.to_string(), found.min_points.to_string(), false, false);
        all
    }

    /// Refuses events that were prepared so that the numbers in them mean something else; with `adapt`, those alone that
    /// cannot be adapted are named in a warning, and the scale to bring energies onto is given back. Other differences are
    /// warned of.
    ///
    /// # Errors
    /// [`Error::Input`] with every setting that differs; `place` is a file of the events.
    pub fn demand(&self, found: &Self, place: &Path, adapt: bool, hint: &str) -> Result<Option<EnergyScale>> {
        let differences = self.differences(found);
        let told = |wanted: &dyn Fn(&Difference) -> bool| -> String {
            let lines = differences.iter().filter(|d| wanted(d));
            let line =
                |d: &Difference| format!("\n  `{}` is {}, the network was trained with {}", d.key, d.found, d.trained);
            lines.map(line).collect()
        };
        let fatal = |d: &Difference| d.matters && !(adapt && d.adaptable);
        if differences.iter().any(|d| d.matters) && !adapt {
            let message =
                format!("the events were prepared otherwise than those that the network learned from:{}", told(&fatal));
            return Err(Error::input(place, message).hint(hint));
        }
        let rest = told(&|d| fatal(d) || !d.matters);
        if !rest.is_empty() {
            tracing::warn!("the events were selected otherwise than those that the network learned from:{rest}");
        }
        let scaled = differences.iter().any(|d| d.adaptable);
        if scaled {
            tracing::info!("energies are brought onto the network's scale:{}", told(&|d| d.adaptable));
        }
        Ok(scaled.then_some(self.energy))
    }
}

/// Settings of a preparation, as far as a config names them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expected {
    /// `selection.energy_threshold`, MeV.
    pub energy_threshold: Option<f64>,
    /// `selection.log_floor`, MeV.
    pub log_floor: Option<f64>,
    /// `selection.energy_max`, MeV.
    pub energy_max: Option<f64>,
    /// `selection.min_points`.
    pub min_points: Option<u64>,
    /// `selection.remove_low_energy_scatters`.
    pub remove_low_energy_scatters: Option<bool>,
}

impl Expected {
    /// The settings in which events differ, in words.
    pub fn differences(&self, found: &Preparation) -> Vec<String> {
        let mut all = vec![];
        let mut compare = |key: &str, wanted: Option<String>, there: String| {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != there) {
                all.push(format!("`{key}` is {there} in the events, the config asks for {wanted}"));
            }
        };
        let text = |value: Option<f64>| value.map(|v| v.to_string());
        compare("energy_threshold", text(self.energy_threshold), found.energy_threshold.to_string());
        compare("log_floor", text(self.log_floor), found.energy.floor.to_string());
        compare("energy_max", text(self.energy_max), found.energy.max.to_string());
        compare("min_points", self.min_points.map(|v| v.to_string()), found.min_points.to_string());
        let scatters = self.remove_low_energy_scatters.map(|v| v.to_string());
        compare("remove_low_energy_scatters", scatters, found.remove_low_energy_scatters.to_string());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_scales_are_refused_or_adapted_and_other_selections_told() {
        let (trained, place) = (Preparation::of(&Layout::default(), &Selection::default()), Path::new("events"));
        assert_eq!(trained.demand(&trained.clone(), place, false, "").unwrap(), None);
        let other = Selection { log_floor: Some(0.01), energy_max: 200.0, ..Selection::default() };
        let found = Preparation::of(&Layout::default(), &other);
        let error = trained.demand(&found, place, false, "prepare them again").unwrap_err();
        assert!(
            error.to_string().contains("`selection.log_floor` is 0.01 MeV, the network was trained with 0.13 MeV"),
            "{error}"
        );
        assert!(error.to_string().contains("`selection.energy_max`"), "{error}");
        assert_eq!(trained.demand(&found, place, true, "").unwrap(), Some(trained.energy));
        let fewer = Preparation { min_points: 5, ..trained.clone() };
        assert_eq!(trained.demand(&fewer, place, false, "").unwrap(), None);
        assert!(!trained.differences(&fewer)[0].matters);
    }
}
