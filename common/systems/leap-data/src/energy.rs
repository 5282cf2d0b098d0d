//! Targets as fluxes of energy: what an error of a tendency or of rain means in W/m2.
//!
//! A tendency acts on the mass of its layer, `dp / g`: warming by the heat capacity of air, water by the heat of
//! condensation. Winds have no such factor. Layers are those of the published grids at the mean surface pressure.

use crate::climsim::{figures, grid_interfaces};

/// Gravity in m/s2.
const GRAVITY: f64 = 9.806_16;
/// Heat capacity of dry air at constant pressure in J/(kg K).
const HEAT_CAPACITY: f64 = 1004.64;
/// Heat of condensation in J/kg.
const CONDENSATION: f64 = 2.501e6;
/// Density of water in kg/m3: rain is given as its height.
const WATER: f64 = 1000.0;

/// W/m2 for one unit of a target; none for winds and for what is no target.
pub fn watts(target: &str) -> Option<f64> {
    match target {
        "cam_out_PRECSC" | "cam_out_PRECC" => return Some(WATER * CONDENSATION),
        "cam_out_NETSW" | "cam_out_FLWDS" | "cam_out_SOLS" | "cam_out_SOLL" | "cam_out_SOLSD" | "cam_out_SOLLD" => {
            return Some(1.0);
        }
        _ => {}
    }
    let (variable, level) = target.strip_prefix("ptend_")?.rsplit_once('_')?;
    let heat = match variable {
        "t" => HEAT_CAPACITY,
        "q0001" | "q0002" | "q0003" => CONDENSATION,
        _ => return None,
    };
    Some(heat * layer_mass(level.parse().ok()?)?)
}

/// kg/m2 of a layer.
fn layer_mass(level: usize) -> Option<f64> {
    let ps = figures("mli", "state_ps").ok()?.mean;
    let interfaces = grid_interfaces().ok()?;
    let pressure = |l: usize| interfaces.get(l).map(|(a, b)| a * 1e5 + b * ps);
    Some((pressure(level + 1)? - pressure(level)?) / GRAVITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_of_a_column_weigh_what_presses_on_the_ground() {
        let total: f64 = (0..60).map(|l| layer_mass(l).unwrap()).sum();
        let ps = figures("mli", "state_ps").unwrap().mean;
        // The uppermost interface lies at a few Pa.
        assert!((total * GRAVITY / ps - 1.0).abs() < 1e-3, "{total}");
        assert_eq!(layer_mass(60), None);
    }

    #[test]
    fn units_are_those_of_energy() {
        assert_eq!(watts("cam_out_NETSW"), Some(1.0));
        // A millimetre of rain a day is about 29 W/m2.
        assert!((watts("cam_out_PRECC").unwrap() * 1e-3 / 86_400.0 - 28.9).abs() < 0.1);
        let (warming, drying) = (watts("ptend_t_50").unwrap(), watts("ptend_q0001_50").unwrap());
        assert!((drying / warming - CONDENSATION / HEAT_CAPACITY).abs() < 1e-9);
        assert_eq!((watts("ptend_u_50"), watts("ptend_t_99"), watts("other")), (None, None, None));
    }
}
