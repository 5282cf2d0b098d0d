//! Which voxels of an event are used, and which events.

use common::config::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::energy::EnergyScale;

/// Which voxels of an event are used, and which events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Voxels must have more than this energy, MeV; 0 switches it off.
    pub energy_threshold: f64,
    /// Whether low-energy scatters are left out.
    pub remove_low_energy_scatters: bool,
    /// Which voxels are low-energy scatters.
    pub scatters: Scatters,
    /// Energy that becomes 1 on the scale, MeV.
    pub energy_max: f64,
    /// Energy that is added before the logarithm, MeV, > 0. `null`: the threshold, as published runs did whatever
    /// their configs said.
    pub log_floor: Option<f64>,
    /// Voxels that an event must have, all clusters counted, before anything is left out.
    pub min_points: u64,
    /// Points that must remain of an event, >= 1. Published: not asked, events could become empty.
    pub min_selected: u64,
    /// What happens to voxels that cannot be right: with a place or an energy that is no number, a negative energy, or a
    /// place outside of `layout.detector`; and to labels that `layout.labels` does not know.
    pub unusable: Unusable,
    /// Whether voxels with an energy or place that is no number are left out, whatever `unusable` says.
    pub drop_non_finite: bool,
}

/// Which voxels are low-energy scatters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scatters {
    /// Those of the first cluster, whatever its type, as published. Tables, which know no first cluster, go by the type.
    #[default]
    FirstCluster,
    /// Those with the label `layout.labels.scatters`.
    Labelled,
}

/// What happens to voxels that cannot be right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unusable {
    /// The preparation ends with file, event and row.
    #[default]
    Error,
    /// They are left out and counted; a voxel with an unknown label is kept without one.
    Skip,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            energy_threshold: 0.13,
            remove_low_energy_scatters: true,
            scatters: Scatters::default(),
            energy_max: 20.0,
            log_floor: None,
            min_points: 1024,
            min_selected: 1,
            unusable: Unusable::default(),
            drop_non_finite: false,
        }
    }
}

impl Selection {
    /// The scale of energies.
    pub fn scale(&self) -> EnergyScale {
        EnergyScale { floor: self.log_floor.unwrap_or(self.energy_threshold), max: self.energy_max }
    }

    /// Reports values that cannot work.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        let floor = self.scale().floor;
        problems.demand(floor > 0.0 && floor.is_finite(), &format!("{key}.log_floor"), || {
            format!("is {floor}, expected a number above 0; without a threshold it must be given")
        });
        for (name, value) in
            [("energy_max", self.energy_max), ("energy_threshold", self.energy_threshold + f64::MIN_POSITIVE)]
        {
            problems.demand(value > 0.0 && value.is_finite(), &format!("{key}.{name}"), || {
                format!("is {value}, expected a finite number")
            });
        }
        problems.demand(self.min_selected >= 1, &format!("{key}.min_selected"), || "is 0, expected at least 1".into());
    }
}
