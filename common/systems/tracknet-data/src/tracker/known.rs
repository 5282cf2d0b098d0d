//! What the truth of training events says of their conditions.

use serde::{Deserialize, Serialize};

/// What one event says of resolution (around, along; by region), noise (by region), scattering and the beam spot; none where the
/// truth is too little or says no places.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Resolution, mm.
    pub resolution: [[Option<f64>; 2]; 6],
    /// Share of hits that are noise.
    pub noise: [Option<f64>; 6],
    /// Scattering angle of a layer times momentum, GeV rad.
    pub scattering: Option<f64>,
    /// Width of the beam spot across the beam, mm.
    pub beam_sigma_r: Option<f64>,
}

impl Known {
    /// The median of what events say.
    pub fn of_all(all: &[Self]) -> Self {
        let median = |of: &dyn Fn(&Self) -> Option<f64>| -> Option<f64> {
            let mut values: Vec<f64> = all.iter().filter_map(of).filter(|v| v.is_finite()).collect();
            let at = values.len() / 2;
            (!values.is_empty()).then(|| *values.select_nth_unstable_by(at, f64::total_cmp).1)
        };
        Self {
            resolution: std::array::from_fn(|r| std::array::from_fn(|k| median(&|known| known.resolution[r][k]))),
            noise: std::array::from_fn(|r| median(&|known| known.noise[r])),
            scattering: median(&|known| known.scattering),
            beam_sigma_r: median(&|known| known.beam_sigma_r),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_events_say_is_the_median_and_what_none_says_stays_unknown() {
        let one = |v: f64| Known { scattering: Some(v), ..Known::default() };
        let known = Known::of_all(&[one(1.0), one(5.0), one(2.0), Known::default()]);
        assert_eq!(known.scattering, Some(2.0));
        assert_eq!(known.beam_sigma_r, None);
    }
}
