//! What the real data look like, variable by variable and level by level: the published statistics of ClimSim and the
//! moments of the tendencies among the normalisation constants. Both ship with the program.

use common::{Error, Result};

pub use crate::climsim::{Figures, figures};
use crate::columns::{LEVELS, target_position};
use crate::norm::{Chain, Constants};

/// One value a level, top first.
pub type Profile = [f64; LEVELS];

/// The same of every level.
pub type Levels = [Figures; LEVELS];

/// Mean and standard deviation in physical units.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Mean of each level.
    pub mean: Profile,
    /// Standard deviation of each level.
    pub std: Profile,
}

/// Statistics of inputs, states after the step, fluxes and un-weighted tendencies.
#[derive(Debug, Clone)]
pub struct Climate {
    /// `state_t`, `state_q0001`, `_q0002`, `_q0003`, `state_u`, `state_v` before the step.
    pub states: [Levels; 6],
    /// The same after the step.
    pub after: [Levels; 6],
    /// `pbuf_ozone`, `pbuf_CH4`, `pbuf_N2O`.
    pub gases: [Levels; 3],
    /// In the order of [`SCALARS`].
    pub scalars: [Figures; SCALARS.len()],
    /// The `cam_out` scalars.
    pub fluxes: [Figures; FLUXES.len()],
    /// `ptend_*` in the order of the states, as chain B holds them; zero where the published weight is zero.
    pub tendencies: [Spread; 6],
}

/// Scalars of mli files, in the order of the csv columns, and last the one that is dropped.
pub const SCALARS: [&str; 17] = [
    "state_ps",
    "pbuf_SOLIN",
    "pbuf_LHFLX",
    "pbuf_SHFLX",
    "pbuf_TAUX",
    "pbuf_TAUY",
    "pbuf_COSZRS",
    "cam_in_ALDIF",
    "cam_in_ALDIR",
    "cam_in_ASDIF",
    "cam_in_ASDIR",
    "cam_in_LWUP",
    "cam_in_ICEFRAC",
    "cam_in_LANDFRAC",
    "cam_in_OCNFRAC",
    "cam_in_SNOWHLAND",
    "cam_in_SNOWHICE",
];

/// Names of the states behind `state_` and `ptend_`.
pub const STATES: [&str; 6] = ["t", "q0001", "q0002", "q0003", "u", "v"];
/// Trace gases.
pub const GASES: [&str; 3] = ["pbuf_ozone", "pbuf_CH4", "pbuf_N2O"];
/// Scalars after the step.
pub const FLUXES: [&str; 8] = [
    "cam_out_NETSW",
    "cam_out_FLWDS",
    "cam_out_PRECSC",
    "cam_out_PRECC",
    "cam_out_SOLS",
    "cam_out_SOLL",
    "cam_out_SOLSD",
    "cam_out_SOLLD",
];

impl Climate {
    /// From the published statistics and constants.
    pub fn published() -> Result<Self> {
        let constants = Constants::published(Chain::B)?;
        let target = |name: String| {
            let missing = || Error::failed(format!("no column `{name}` among the shipped constants"));
            let at = target_position(&name).ok_or_else(missing)?;
            let weight = constants.weight[at];
            let physical = |x: f64| if weight == 0.0 { 0.0 } else { x / weight };
            Ok::<_, Error>((physical(constants.target_mean[at]), physical(constants.target_std[at])))
        };
        let states = try_map(STATES, |s| levels("mli", &format!("state_{s}")))?;
        // The published table has no figures for one level after the step; a step changes little.
        let after = std::array::from_fn(|s| {
            std::array::from_fn(|l| figures("mlo", &format!("state_{}_{l}", STATES[s])).unwrap_or(states[s][l]))
        });
        Ok(Self {
            states,
            after,
            gases: try_map(GASES, |gas| levels("mli", gas))?,
            scalars: try_map(SCALARS, |name| figures("mli", name))?,
            fluxes: try_map(FLUXES, |name| figures("mlo", name))?,
            tendencies: try_map(STATES, |s| spread(|l| target(format!("ptend_{s}_{l}"))))?,
        })
    }
}

fn levels(file: &str, variable: &str) -> Result<Levels> {
    let all = (0..LEVELS).map(|l| figures(file, &format!("{variable}_{l}"))).collect::<Result<Vec<_>>>()?;
    all.try_into().map_err(|_| Error::failed("a profile changed its length"))
}

fn spread(level: impl Fn(usize) -> Result<(f64, f64)>) -> Result<Spread> {
    let mut spread = Spread { mean: [0.0; LEVELS], std: [0.0; LEVELS] };
    for l in 0..LEVELS {
        (spread.mean[l], spread.std[l]) = level(l)?;
    }
    Ok(spread)
}

fn try_map<const N: usize, T>(names: [&str; N], f: impl Fn(&str) -> Result<T>) -> Result<[T; N]> {
    let all = names.iter().map(|n| f(n)).collect::<Result<Vec<T>>>()?;
    all.try_into().map_err(|_| Error::failed("a list of fixed length changed its length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_its_figures_and_they_are_in_order() {
        let climate = Climate::published().unwrap();
        let profiles = climate.states.iter().chain(&climate.after).chain(&climate.gases).flatten();
        for figures in profiles.chain(&climate.scalars).chain(&climate.fluxes) {
            assert!(figures.min <= figures.max && figures.std > 0.0, "{figures:?}");
            assert!((figures.min * 0.999_999..=figures.max * 1.000_001).contains(&figures.mean), "{figures:?}");
        }
    }
}
