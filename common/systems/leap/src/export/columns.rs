//! Names, units and weights of the columns that go in and come out.

use neural::export::Column;
use tch::Tensor;

use crate::columns::{csv_inputs, submission};

/// Units by the beginning of a column's name (ClimSim's tables of variables); `1`: none.
const UNITS: [(&str, &str); 27] = [
    ("state_t", "K"),
    ("state_q", "kg/kg"),
    ("state_u", "m/s"),
    ("state_v", "m/s"),
    ("state_ps", "Pa"),
    ("pbuf_SOLIN", "W/m2"),
    ("pbuf_LHFLX", "W/m2"),
    ("pbuf_SHFLX", "W/m2"),
    ("pbuf_TAUX", "N/m2"),
    ("pbuf_TAUY", "N/m2"),
    ("pbuf_ozone", "mol/mol"),
    ("pbuf_CH4", "mol/mol"),
    ("pbuf_N2O", "mol/mol"),
    ("cam_in_LWUP", "W/m2"),
    ("cam_in_SNOWH", "m"),
    ("ptend_t", "K/s"),
    ("ptend_q", "kg/kg/s"),
    ("ptend_u", "m/s2"),
    ("ptend_v", "m/s2"),
    ("cam_out_NETSW", "W/m2"),
    ("cam_out_FLWDS", "W/m2"),
    ("cam_out_PREC", "m/s"),
    ("cam_out_SOL", "W/m2"),
    ("pbuf_COSZRS", "1"),
    ("cam_in_AL", "1"),
    ("cam_in_AS", "1"),
    ("cam_in_", "1"),
];

fn described(names: &[&str]) -> Vec<Column> {
    let unit = |name: &str| UNITS.iter().find(|(start, _)| name.starts_with(start)).map_or("unknown", |(_, unit)| unit);
    names.iter().map(|name| Column::new(name, unit(name))).collect()
}

/// The 556 inputs in the order of `test.csv`.
pub fn inputs() -> Vec<Column> {
    described(csv_inputs())
}

/// The 368 targets in the order of a submission.
pub fn targets() -> Vec<Column> {
    described(submission())
}

/// The same where the numbers are about normalised targets.
pub fn unitless_targets() -> Vec<Column> {
    submission().iter().map(|name| Column::new(name, "1")).collect()
}

/// The weight of a member for each target, f64 `[368]`: that of its column, or the one of all others.
pub fn weights(of: &[(Option<String>, f64)]) -> Tensor {
    let global = of.iter().find(|(column, _)| column.is_none()).map_or(0.0, |(_, weight)| *weight);
    let weight = |name: &&str| {
        of.iter().find(|(column, _)| column.as_deref() == Some(*name)).map_or(global, |(_, weight)| *weight)
    };
    Tensor::from_slice(&submission().iter().map(weight).collect::<Vec<f64>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_unit() {
        let all: Vec<Column> = inputs().into_iter().chain(targets()).collect();
        assert_eq!(all.len(), 556 + 368);
        assert!(all.iter().all(|column| column.unit != "unknown"));
        let of = |name: &str| all.iter().find(|column| column.name == name).unwrap().unit.clone();
        assert_eq!(
            (of("state_ps"), of("state_q0002_7"), of("cam_in_SNOWHLAND")),
            ("Pa".into(), "kg/kg".into(), "m".into())
        );
        assert_eq!(
            (of("ptend_u_3"), of("cam_out_PRECC"), of("cam_in_ICEFRAC")),
            ("m/s2".into(), "m/s".into(), "1".into())
        );
    }

    #[test]
    fn columns_have_their_own_weights_or_that_of_all_others() {
        let found = weights(&[(None, 0.25), (Some("cam_out_SOLLD".into()), 0.5)]);
        assert_eq!((found.double_value(&[0]), found.double_value(&[367])), (0.25, 0.5));
    }
}
