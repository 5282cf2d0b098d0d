//! What the 60 levels of a profile are: their pressure, and what each group of targets is, with its unit.

use common::system::Levels;

use crate::columns::GROUP_NAMES;

/// Pressure at the midpoints of the levels, in hPa, top first, where the surface has 1,000 hPa: `lev` of the grid file.
/// Over mountains the lower levels follow the ground.
pub const PRESSURE_HPA: [f64; 60] = [
    0.078348, 0.141108, 0.252923, 0.449251, 0.786346, 1.347356, 2.244777, 3.616431, 5.615836, 8.403253, 12.144489,
    17.016828, 23.210798, 30.914346, 40.277581, 51.374632, 64.189228, 78.639658, 94.630092, 112.091274, 130.977804,
    151.221318, 172.673905, 195.08771, 218.155935, 241.600379, 265.258515, 289.122322, 313.312087, 338.006999,
    363.373492, 389.523338, 416.507922, 444.331412, 472.957206, 502.291917, 532.152273, 562.239392, 592.149276,
    621.432841, 649.689897, 676.656485, 702.242188, 726.498589, 749.537645, 771.445217, 792.23426, 811.856675,
    830.259643, 847.450653, 863.535902, 878.715875, 893.246018, 907.385213, 921.354397, 935.316717, 949.378056,
    963.599599, 978.013432, 992.635544,
];

/// What the groups of [`GROUP_NAMES`] are, with their units; the scalars have none in common.
const TITLES: [(&str, &str); 6] = [
    ("temperature tendency", "K/s"),
    ("specific humidity tendency", "kg/kg/s"),
    ("cloud liquid tendency", "kg/kg/s"),
    ("cloud ice tendency", "kg/kg/s"),
    ("zonal wind tendency", "m/s\u{b2}"),
    ("meridional wind tendency", "m/s\u{b2}"),
];

/// The levels of a group of targets; none for the scalars.
pub fn of_group(name: &str) -> Option<Levels> {
    let place = GROUP_NAMES[1..].iter().position(|group| *group == name)?;
    let (title, unit) = TITLES[place];
    Some(Levels { title, unit, axis: "pressure (hPa)", log: false, values: PRESSURE_HPA.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::store::netcdf::NcFile;

    #[test]
    fn the_pressures_are_those_of_the_published_grid() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("resources/ClimSim_low-res_grid-info.nc");
        let found: Vec<f64> = NcFile::open(&path).unwrap().read_f64("lev").unwrap();
        assert_eq!(PRESSURE_HPA.len(), found.len());
        for (ours, theirs) in PRESSURE_HPA.iter().zip(found) {
            assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
        }
        assert_eq!(of_group("ptend_q0002").unwrap().title, "cloud liquid tendency");
        assert!(of_group("scalars").is_none());
    }
}
