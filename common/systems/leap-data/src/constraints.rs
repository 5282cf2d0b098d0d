//! What no column of air can do, corrected in predictions: rain and radiation below zero, and cloud water that does not
//! divide into liquid and ice as the temperature says.
//!
//! The published submissions are not corrected; with these rules a prediction can be handed to a climate model. Every
//! correction is counted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::{INPUTS, LEVELS, STEP_SECONDS, input_position, linear, submission, target_position};
use crate::norm::Constants;

/// Above this temperature condensate is liquid, K.
pub const ALL_LIQUID: f64 = 273.16;
/// Below this temperature it is ice, K.
pub const ALL_ICE: f64 = 253.16;
/// Liquid and ice that differ from what the rule wants by no more than this share of what there is are right already.
pub const NEAR: f64 = 1e-9;

/// Which corrections are made; none by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Constraints {
    /// Rain, snow and radiation (`cam_out_*`) are not below 0.
    pub non_negative: bool,
    /// Liquid and ice after the step are the parts of their sum that the temperature after the step allows, and neither is
    /// below 0: the model's own rule (the benchmark's `v2_rh_mc`). Levels whose liquid follows from the input by
    /// arithmetic stay.
    pub microphysics: bool,
}

/// How many predicted values were changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Predicted values below zero of `cam_out_PRECSC` and `cam_out_PRECC`.
    pub rain: u64,
    /// The same of the other fluxes.
    pub radiation: u64,
    /// Levels whose condensate would have been below 0 after the step.
    pub condensate: u64,
    /// Levels at which liquid and ice were divided anew.
    pub divided: u64,
}

/// Places of a profile and its tendency.
struct Places {
    /// Inputs by level.
    state: [usize; LEVELS],
    /// Columns of the submission by level.
    tendency: [usize; LEVELS],
}

impl Constraints {
    /// Whether nothing is corrected: such a config need not say so.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Corrects the submission columns of some rows, whose normalised inputs are `[rows, 556]` in training order.
    pub fn apply(&self, columns: &mut [Vec<f64>], inputs: &[f32], constants: &Constants) -> Counts {
        let mut counts = Counts::default();
        if self.non_negative {
            for (name, column) in submission().iter().zip(columns.iter_mut()).filter(|(n, _)| n.starts_with("cam_out_"))
            {
                let count = match name.starts_with("cam_out_PREC") {
                    true => &mut counts.rain,
                    false => &mut counts.radiation,
                };
                for value in column.iter_mut().filter(|value| **value < 0.0) {
                    *value = 0.0;
                    *count += 1;
                }
            }
        }
        if self.microphysics {
            let [t, liquid, ice] = ["t", "q0002", "q0003"].map(places);
            let kept: Vec<usize> = linear().collect();
            for (row, inputs) in inputs.chunks_exact(INPUTS).enumerate() {
                let raw = |c: usize| f64::from(inputs[c]) * constants.input_std[c] + constants.input_mean[c];
                for l in 0..LEVELS {
                    let [of_t, of_liquid, of_ice] = [&t, &liquid, &ice].map(|p| p.tendency[l]);
                    let name = submission()[of_liquid];
                    if target_position(name).is_some_and(|c| kept.contains(&c)) {
                        continue;
                    }
                    let after = |place: &Places, column: usize, columns: &[Vec<f64>]| {
                        raw(place.state[l]) + STEP_SECONDS * columns[column][row]
                    };
                    let warm = ((after(&t, of_t, columns) - ALL_ICE) / (ALL_LIQUID - ALL_ICE)).clamp(0.0, 1.0);
                    let sum = after(&liquid, of_liquid, columns) + after(&ice, of_ice, columns);
                    counts.condensate += u64::from(sum < 0.0);
                    let sum = sum.max(0.0);
                    let wanted = [
                        (of_liquid, (warm * sum - raw(liquid.state[l])) / STEP_SECONDS),
                        (of_ice, ((1.0 - warm) * sum - raw(ice.state[l])) / STEP_SECONDS),
                    ];
                    // What is right already is not touched, however it was rounded.
                    let near = NEAR * (sum + raw(liquid.state[l]).abs() + raw(ice.state[l]).abs()) / STEP_SECONDS;
                    if wanted.iter().any(|&(column, value)| (columns[column][row] - value).abs() > near) {
                        counts.divided += 1;
                        wanted.into_iter().for_each(|(column, value)| columns[column][row] = value);
                    }
                }
            }
        }
        counts
    }
}

impl Counts {
    /// Adds those of further rows.
    pub fn add(&mut self, other: &Self) {
        self.rain += other.rain;
        self.radiation += other.radiation;
        self.condensate += other.condensate;
        self.divided += other.divided;
    }

    /// With names, for a manifest.
    pub fn named(&self) -> [(&'static str, u64); 4] {
        [
            ("rain_below_zero", self.rain),
            ("radiation_below_zero", self.radiation),
            ("condensate_below_zero", self.condensate),
            ("condensate_divided", self.divided),
        ]
    }
}

/// Places of a profile's levels; names that the lists lack, which there are none, go to 0.
fn places(variable: &str) -> Places {
    let level = |l: usize, kind: &str| format!("{kind}_{variable}_{l}");
    let place = |l: usize| submission().iter().position(|name| **name == level(l, "ptend")).unwrap_or_default();
    Places {
        state: std::array::from_fn(|l| input_position(&level(l, "state")).unwrap_or_default()),
        tendency: std::array::from_fn(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::Chain;

    fn column(name: &str) -> usize {
        submission().iter().position(|n| *n == name).unwrap()
    }

    /// Two rows of inputs, level 40 warm and cold, and predictions of zero.
    fn rows(constants: &Constants) -> (Vec<f32>, Vec<Vec<f64>>) {
        let mut inputs = vec![0.0_f32; 2 * INPUTS];
        for (row, t) in [280.0, 263.16].into_iter().enumerate() {
            for (name, value) in [("state_t_40", t), ("state_q0002_40", 2e-5), ("state_q0003_40", 1e-5)] {
                let c = input_position(name).unwrap();
                inputs[row * INPUTS + c] = constants.input(c, value);
            }
        }
        (inputs, vec![vec![0.0; 2]; 368])
    }

    #[test]
    fn rain_and_radiation_are_never_below_zero() {
        let constants = Constants::published(Chain::B).unwrap();
        let (inputs, mut columns) = rows(constants);
        columns[column("cam_out_PRECC")] = vec![-1e-9, 2e-9];
        columns[column("cam_out_SOLL")] = vec![-3.0, -1.0];
        columns[column("ptend_u_40")] = vec![-1.0, 1.0];
        let rule = Constraints { non_negative: true, ..Constraints::default() };
        let counts = rule.apply(&mut columns, &inputs, constants);
        assert_eq!(counts, Counts { rain: 1, radiation: 2, ..Counts::default() });
        assert_eq!(columns[column("cam_out_PRECC")], [0.0, 2e-9]);
        assert_eq!(columns[column("cam_out_SOLL")], [0.0, 0.0]);
        assert_eq!(columns[column("ptend_u_40")], [-1.0, 1.0]);
        assert_eq!(Constraints::default().apply(&mut columns, &inputs, constants), Counts::default());
    }

    #[test]
    fn condensate_divides_as_the_temperature_says_and_keeps_its_sum() {
        let constants = Constants::published(Chain::B).unwrap();
        let (inputs, mut columns) = rows(constants);
        let (liquid, ice) = (column("ptend_q0002_40"), column("ptend_q0003_40"));
        // The second row gains half of what it has.
        columns[liquid] = vec![0.0, 1.5e-5 / STEP_SECONDS];
        // Warmed by the step itself: 263.16 K and 5 K more are three quarters of the way.
        columns[column("ptend_t_40")] = vec![0.0, 5.0 / STEP_SECONDS];
        let before = columns.clone();
        let rule = Constraints { microphysics: true, ..Constraints::default() };
        let counts = rule.apply(&mut columns, &inputs, constants);
        assert!(counts.divided > 0 && counts.rain == 0);
        let raw = |row: usize, name: &str| {
            let c = input_position(name).unwrap();
            f64::from(inputs[row * INPUTS + c]) * constants.input_std[c] + constants.input_mean[c]
        };
        for (row, part, sum) in [(0, 1.0, 3e-5), (1, 0.75, 4.5e-5)] {
            let after = |name: &str, column: usize| raw(row, name) + STEP_SECONDS * columns[column][row];
            let (l, i) = (after("state_q0002_40", liquid), after("state_q0003_40", ice));
            assert!((l + i - sum).abs() < 1e-4 * sum, "{l} {i}");
            assert!((l / (l + i) - part).abs() < 1e-3, "{row}: {l} {i}");
        }
        // Levels that follow by arithmetic stay.
        assert_eq!(columns[column("ptend_q0002_20")], before[column("ptend_q0002_20")]);
        // The second time there is nothing left to do.
        let again = rule.apply(&mut columns, &inputs, constants);
        assert_eq!(again.divided, 0, "{again:?}");
        columns[liquid] = vec![-1.0, -1.0];
        let counts = rule.apply(&mut columns, &inputs, constants);
        assert_eq!(counts.condensate, 2);
        assert!((raw(0, "state_q0002_40") + STEP_SECONDS * columns[liquid][0]).abs() < 1e-18);
    }
}
