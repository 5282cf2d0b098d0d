//! The real climatology of each column, from the published normalisation constants, which ship with the program.

use common::{Error, Result};

use crate::columns::{LEVELS, input_position, target_position};
use crate::norm::{Chain, Constants};

/// One value a level, top first.
pub type Profile = [f64; LEVELS];

/// Mean and standard deviation in physical units.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Mean of each level.
    pub mean: Profile,
    /// Standard deviation of each level.
    pub std: Profile,
}

/// Statistics of inputs and un-weighted targets, as chain B holds them.
#[derive(Debug, Clone)]
pub struct Climate {
    /// `state_t`, `state_q0001`, `_q0002`, `_q0003`, `state_u`, `state_v`.
    pub states: [Spread; 6],
    /// `pbuf_ozone`, `pbuf_CH4`, `pbuf_N2O`.
    pub gases: [Spread; 3],
    /// `ptend_*` in the order of the states; zero where the published weight is zero.
    pub tendencies: [Spread; 6],
    /// Mean and std of the `cam_out` scalars.
    pub fluxes: [(f64, f64); 8],
}

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
    /// From the published constants.
    pub fn published() -> Result<Self> {
        let constants = Constants::published(Chain::B)?;
        let missing = |name: &str| Error::failed(format!("no column `{name}` among the shipped constants"));
        let input = |name: String| {
            let at = input_position(&name).ok_or_else(|| missing(&name))?;
            Ok::<_, Error>((constants.input_mean[at], constants.input_std[at]))
        };
        let target = |name: String| {
            let at = target_position(&name).ok_or_else(|| missing(&name))?;
            let weight = constants.weight[at];
            let physical = |x: f64| if weight == 0.0 { 0.0 } else { x / weight };
            Ok::<_, Error>((physical(constants.target_mean[at]), physical(constants.target_std[at])))
        };
        let states = try_map(STATES, |s| spread(|l| input(format!("state_{s}_{l}"))))?;
        let gases = try_map(GASES, |s| spread(|l| input(format!("{s}_{l}"))))?;
        let tendencies = try_map(STATES, |s| spread(|l| target(format!("ptend_{s}_{l}"))))?;
        let fluxes = try_map(FLUXES, |s| target(s.to_string()))?;
        Ok(Self { states, gases, tendencies, fluxes })
    }
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
