//! The corrections of [`crate::constraints`] in operations of the library.

use common::{Error, Result};
use tch::{Kind, Tensor};

use crate::columns::{LEVELS, STEP_SECONDS, input_position, linear, submission, target_position};
use crate::constraints::{ALL_ICE, ALL_LIQUID, Constraints, NEAR};

/// What is corrected, as tensors of the module.
pub struct Rules {
    /// Columns of a submission that are not below 0, bool `[368]`.
    fluxes: Option<Tensor>,
    microphysics: Option<Microphysics>,
}

/// Levels whose liquid and ice are divided by temperature.
struct Microphysics {
    /// Places of temperature, liquid and ice among the inputs in training order, i64 `[levels]` each.
    states: [Tensor; 3],
    /// Those of their tendencies among the columns of a submission.
    tendencies: [Tensor; 3],
}

impl Rules {
    /// The places that the rules are about.
    ///
    /// # Errors
    /// Where a column is not known.
    pub fn new(constraints: Constraints) -> Result<Self> {
        let fluxes = || {
            let names = submission().iter().map(|name| name.starts_with("cam_out_"));
            Tensor::from_slice(&names.collect::<Vec<bool>>())
        };
        Ok(Self {
            fluxes: constraints.non_negative.then(fluxes),
            microphysics: if constraints.microphysics { Some(Microphysics::new()?) } else { None },
        })
    }

    /// Under the names that they have in a module.
    pub fn tensors(&self) -> Vec<(String, &Tensor)> {
        let mut all: Vec<(String, &Tensor)> =
            self.fluxes.iter().map(|fluxes| ("not_negative".to_string(), fluxes)).collect();
        if let Some(rule) = &self.microphysics {
            for (name, (state, tendency)) in ["t", "liquid", "ice"].iter().zip(rule.states.iter().zip(&rule.tendencies))
            {
                all.push((format!("state_{name}"), state));
                all.push((format!("tendency_{name}"), tendency));
            }
        }
        all
    }

    /// Physical targets f64 `[B, 368]` of a submission, corrected; `raw`: the physical inputs f64 `[B, 556]` in training order.
    pub fn apply(&self, columns: Tensor, raw: impl FnOnce() -> Tensor) -> Tensor {
        let columns = match &self.fluxes {
            Some(fluxes) => columns.masked_fill(&columns.lt(0.0).logical_and(fluxes), 0.0),
            None => columns,
        };
        match &self.microphysics {
            Some(rule) => rule.apply(&columns, &raw()),
            None => columns,
        }
    }
}

impl Microphysics {
    fn new() -> Result<Self> {
        let kept: Vec<usize> = linear().collect();
        let free = |l: &usize| target_position(&format!("ptend_q0002_{l}")).is_none_or(|c| !kept.contains(&c));
        let levels: Vec<usize> = (0..LEVELS).filter(free).collect();
        let variables = ["t", "q0002", "q0003"];
        let unknown = |name: String| Error::failed(format!("no column `{name}`"));
        let places = |kind: &str, variable: &str, of: &dyn Fn(&str) -> Option<usize>| -> Result<Tensor> {
            let place = |l: &usize| {
                let name = format!("{kind}_{variable}_{l}");
                of(&name).map(|place| place as i64).ok_or_else(|| unknown(name))
            };
            Ok(Tensor::from_slice(&levels.iter().map(place).collect::<Result<Vec<i64>>>()?))
        };
        let state = |variable: &str| places("state", variable, &input_position);
        let column = |name: &str| submission().iter().position(|column| *column == name);
        let tendency = |variable: &str| places("ptend", variable, &column);
        let [t, liquid, ice] = variables;
        Ok(Self {
            states: [state(t)?, state(liquid)?, state(ice)?],
            tendencies: [tendency(t)?, tendency(liquid)?, tendency(ice)?],
        })
    }

    fn apply(&self, columns: &Tensor, raw: &Tensor) -> Tensor {
        let [t, liquid, ice] = [0, 1, 2].map(|i| raw.index_select(1, &self.states[i])); // [B, levels]
        let [of_t, of_liquid, of_ice] = [0, 1, 2].map(|i| columns.index_select(1, &self.tendencies[i]));
        let after = |state: &Tensor, tendency: &Tensor| state + tendency * STEP_SECONDS;
        let warm = ((after(&t, &of_t) - ALL_ICE) / (ALL_LIQUID - ALL_ICE)).clamp(0.0, 1.0);
        let sum = (after(&liquid, &of_liquid) + after(&ice, &of_ice)).clamp_min(0.0);
        let to_liquid = (&warm * &sum - &liquid) / STEP_SECONDS;
        let to_ice = ((warm.ones_like() - &warm) * &sum - &ice) / STEP_SECONDS;
        // What is right already is not touched, however it was rounded.
        let near = (&sum + liquid.abs() + ice.abs()) * NEAR / STEP_SECONDS;
        let off = |have: &Tensor, want: &Tensor| (have - want).abs().gt_tensor(&near);
        let divided = off(&of_liquid, &to_liquid).logical_or(&off(&of_ice, &to_ice));
        let columns = columns.index_copy(1, &self.tendencies[1], &to_liquid.where_self(&divided, &of_liquid));
        columns.index_copy(1, &self.tendencies[2], &to_ice.where_self(&divided, &of_ice))
    }
}

/// A tensor f64 `[B, 368]` of columns.
pub fn of_columns(columns: &[Vec<f64>]) -> Tensor {
    let rows = columns.first().map_or(0, Vec::len) as i64;
    let flat = Tensor::from_slice(&columns.concat()).to_kind(Kind::Double);
    flat.view([columns.len() as i64, rows]).transpose(0, 1).contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{INPUTS, TARGETS};
    use crate::norm::{Chain, Constants};
    use common::seed::rng_for;
    use neural::init::Init;

    #[test]
    fn corrections_are_those_of_predict() {
        let constants = Constants::published(Chain::B).unwrap();
        let rows = 40;
        let drawn = |width: usize, name: &str| -> Vec<f32> {
            Init::Normal(1.0).draw(&[rows as i64, width as i64], &mut rng_for(7, name, 0)).unwrap()
        };
        let (inputs, targets) = (drawn(INPUTS, "inputs"), drawn(TARGETS, "targets"));
        // Tendencies large enough to empty a level, fluxes of both signs.
        let columns: Vec<Vec<f64>> = (0..TARGETS)
            .map(|c| targets.iter().skip(c).step_by(TARGETS).map(|&v| f64::from(v) * 1e-7).collect())
            .collect();
        let raw: Vec<f64> = inputs
            .iter()
            .enumerate()
            .map(|(i, &v)| f64::from(v) * constants.input_std[i % INPUTS] + constants.input_mean[i % INPUTS])
            .collect();
        for (non_negative, microphysics) in [(true, false), (false, true), (true, true), (false, false)] {
            let constraints = Constraints { non_negative, microphysics };
            let mut wanted = columns.clone();
            let counts = constraints.apply(&mut wanted, &inputs, constants);
            assert_eq!(counts.rain > 0 && counts.radiation > 0, non_negative);
            assert_eq!(counts.condensate > 0 && counts.divided > counts.condensate, microphysics);
            let raw = || Tensor::from_slice(&raw).view([rows as i64, INPUTS as i64]);
            let rules = Rules::new(constraints).unwrap();
            let found = rules.apply(of_columns(&columns), raw);
            let wanted = of_columns(&wanted);
            let scale = wanted.abs().max().double_value(&[]);
            assert!((found - &wanted).abs().max().double_value(&[]) <= 1e-14 * scale);
            assert_eq!(rules.tensors().len(), usize::from(non_negative) + 6 * usize::from(microphysics));
        }
    }
}
