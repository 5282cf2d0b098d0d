//! Further channels from the normalised inputs, as the first place and the benchmark of LEAP's networks feed them: other
//! representations of the profiles side by side, relative humidity, cloud water through an exponential, wind speed.
//!
//! They are made where the batch lies, behind [`crate::layout::expand`], so that arrays, loaders and submissions stay as
//! they are. The constants that lead back to physical units are buffers of the network: a checkpoint carries them.

use common::config::Problems;
use common::{Error, Result};
use neural::params::Path;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::representations::{self, Representations, logarithm};
use crate::climsim;
use crate::columns::{LEVELS, PROFILE_INPUTS, SCALAR_INPUTS, input_position, train_inputs};
use crate::dataset::Extras;
use crate::norm::Constants;

/// Places of profiles among the nine: temperature, vapour, liquid, ice, wind.
const T: i64 = 0;
const Q1: i64 = 1;
const Q2: i64 = 2;
const Q3: i64 = 3;
const U: i64 = 4;
const V: i64 = 5;
/// Largest relative humidity, as published.
const MOST_HUMID: f64 = 1.2;
/// m/s that count as one.
const WIND_UNIT: f64 = 20.0;
/// Gas constants of water vapour over that of dry air.
const VAPOUR_RATIO: f64 = 461.0 / 287.0;
/// Decay of a cloud's transparency at each level, kg/kg to the minus one: the benchmark's for all condensate.
static EXPONENTS: &str = include_str!("../../../leap-data/resources/climsim_cloud_exponents.txt");

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
pub(crate) fn is_false(x: &bool) -> bool {
    !*x
}

/// Which channels come on top of the 25; none by default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Features {
    /// Every profile again, normalised by one mean and deviation for all levels: 9 channels.
    pub column: bool,
    /// Every profile again as the logarithm of its distance from the smallest value of the level: 9 channels.
    pub logarithm: bool,
    /// Relative humidity over water and ice, at most 1.2: one channel.
    pub humidity: bool,
    /// `1 - exp(-lambda (liquid + ice))` with a lambda for each level: one channel.
    pub cloud: bool,
    /// Wind speed in units of 20 m/s: one channel.
    pub wind: bool,
    /// The benchmark's nine profiles (relative humidity, all condensate and the share of liquid in place of the three kinds of water) in
    /// its three representations, with the constants of the files that `representations` of the training names: 25 channels.
    #[serde(skip_serializing_if = "is_false")]
    pub representations: bool,
    /// Sine and cosine of the latitude, of arrays that know it: 2 channels.
    #[serde(skip_serializing_if = "is_false")]
    pub latitude: bool,
    /// Sine and cosine of the time of the year and of the hour by the sun: 4 channels.
    #[serde(skip_serializing_if = "is_false")]
    pub time: bool,
    /// Temperature, water and wind of the step before, of arrays prepared with `previous`: 6 channels.
    #[serde(skip_serializing_if = "is_false")]
    pub previous_states: bool,
    /// What the step before did to them (its targets): 6 channels.
    #[serde(skip_serializing_if = "is_false")]
    pub previous_tendencies: bool,
    /// Values farther from 0 than this grow as a logarithm only, > 0; `null`: as they are.
    pub soft_clip: Option<f64>,
}

impl Features {
    /// Whether nothing is asked for: such a config need not say so.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What the loader brings beside the inputs.
    pub fn extras(&self) -> Extras {
        let Self { latitude, time, previous_states, previous_tendencies, .. } = *self;
        Extras { latitude, time, previous_states, previous_tendencies, target_places: false }
    }

    /// Channels on top.
    pub fn channels(&self) -> usize {
        self.extras().channels() + self.made()
    }

    /// Those that are made of the inputs.
    fn made(&self) -> usize {
        let profiles = [self.column, self.logarithm].into_iter().filter(|on| *on).count() * PROFILE_INPUTS;
        let further = if self.representations { representations::CHANNELS } else { 0 };
        profiles + further + [self.humidity, self.cloud, self.wind].into_iter().filter(|on| *on).count()
    }

    /// Reports numbers that cannot be.
    pub fn validate(&self, key: &str, problems: &mut Problems) {
        if let Some(clip) = self.soft_clip {
            problems.demand(clip > 0.0 && clip.is_finite(), &format!("{key}.soft_clip"), || {
                format!("is {clip}, expected > 0")
            });
        }
    }
}

/// The constants, and what is made with them.
#[derive(Debug)]
pub struct FeatureLayer {
    features: Features,
    /// Physical = normalised * std + mean, `[60, 9]` each.
    profile_std: Tensor,
    profile_mean: Tensor,
    /// Surface pressure: std, mean. Pressure: `a + b * ps`, `[60]` each.
    pressure_scale: Tensor,
    pressure_mean: Tensor,
    pressure_slope: Tensor,
    /// Column representation: normalised * factor + shift, `[60, 9]`.
    column_factor: Tensor,
    column_shift: Tensor,
    /// Normalised smallest values, `[60, 9]`.
    smallest: Tensor,
    /// `[60]`.
    exponents: Tensor,
    representations: Option<Representations>,
}

impl FeatureLayer {
    /// Buffers below `features`; `None` where nothing is asked for.
    ///
    /// # Errors
    /// Where the shipped constants lack a column.
    pub fn new(p: &Path, features: &Features, constants: &Constants) -> Result<Option<Self>> {
        if features.is_none() {
            return Ok(None);
        }
        let grid = climsim::grid_levels()?;
        let at = |name: &str| {
            input_position(name).ok_or_else(|| Error::failed(format!("no input `{name}` among the columns")))
        };
        let profile = |l: usize, k: usize| SCALAR_INPUTS + LEVELS * k + l;
        let table = |of: &dyn Fn(usize) -> f64| -> Vec<f32> {
            (0..LEVELS)
                .flat_map(|l| (0..PROFILE_INPUTS).map(move |k| (l, k)))
                .map(|(l, k)| of(profile(l, k)) as f32)
                .collect()
        };
        let (mean, std) = (&constants.input_mean, &constants.input_std);
        // One mean and deviation for all levels of a profile.
        let whole: Vec<(f64, f64)> = (0..PROFILE_INPUTS)
            .map(|k| {
                let n = LEVELS as f64;
                let of = |f: &dyn Fn(usize) -> f64| (0..LEVELS).map(|l| f(profile(l, k))).sum::<f64>() / n;
                let middle = of(&|c| mean[c]);
                (middle, of(&|c| std[c] * std[c] + (mean[c] - middle).powi(2)).sqrt())
            })
            .collect();
        let of_profile = |column: usize| whole[(column - SCALAR_INPUTS) / LEVELS];
        let smallest = (0..LEVELS * PROFILE_INPUTS)
            .map(|i| {
                let column = profile(i / PROFILE_INPUTS, i % PROFILE_INPUTS);
                let real = climsim::figures("mli", train_inputs()[column])?;
                Ok(((real.min - mean[column]) / std[column]) as f32)
            })
            .collect::<Result<Vec<f32>>>()?;
        let exponents: Vec<f32> = EXPONENTS.split(',').filter_map(|x| x.trim().parse().ok()).collect();
        if exponents.len() != LEVELS {
            return Err(Error::failed(format!("{} shipped cloud exponents, expected {LEVELS}", exponents.len())));
        }
        let ps = at("state_ps")?;
        let p = p.sub("features");
        let buffer = |name: &str, values: &[f32], shape: &[i64]| {
            p.buffer(name, Tensor::from_slice(values).view(shape).to_device(Device::Cpu))
        };
        let (levels, wide) = ([LEVELS as i64], [LEVELS as i64, PROFILE_INPUTS as i64]);
        let a: Vec<f32> = grid.hyam.iter().zip(&grid.hybm).map(|(a, b)| (a * grid.p0 + b * mean[ps]) as f32).collect();
        let b: Vec<f32> = grid.hybm.iter().map(|b| *b as f32).collect();
        Ok(Some(Self {
            features: features.clone(),
            profile_std: buffer("profile_std", &table(&|c| std[c]), &wide)?,
            profile_mean: buffer("profile_mean", &table(&|c| mean[c]), &wide)?,
            pressure_scale: buffer("pressure_scale", &[std[ps] as f32], &[1])?,
            pressure_mean: buffer("pressure_mean", &a, &levels)?,
            pressure_slope: buffer("pressure_slope", &b, &levels)?,
            column_factor: buffer("column_factor", &table(&|c| std[c] / of_profile(c).1), &wide)?,
            column_shift: buffer("column_shift", &table(&|c| (mean[c] - of_profile(c).0) / of_profile(c).1), &wide)?,
            smallest: buffer("smallest", &smallest, &wide)?,
            exponents: buffer("exponents", &exponents, &levels)?,
            representations: features.representations.then(|| Representations::new(&p)).transpose()?,
        }))
    }

    /// `[B, 60, 25]`, or more with what the loader brought, -> what is made of them behind.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x32 = x.to_kind(Kind::Float);
        let profiles = x32.narrow(2, SCALAR_INPUTS as i64, PROFILE_INPUTS as i64); // [B, 60, 9]
        let physical = || &profiles * &self.profile_std + &self.profile_mean;
        let mut parts = vec![x32.shallow_clone()];
        if self.features.column {
            parts.push(&profiles * &self.column_factor + &self.column_shift);
        }
        if self.features.logarithm {
            parts.push(logarithm(&(&profiles - &self.smallest)));
        }
        let Features { humidity, cloud, wind, .. } = self.features;
        if humidity || cloud || wind || self.representations.is_some() {
            let physical = physical();
            let of = |k: i64| physical.select(2, k); // [B, 60]
            let relative = || {
                let ps = x32.select(2, 0) * &self.pressure_scale; // `state_ps` is the first scalar
                let pressure = ps * &self.pressure_slope + &self.pressure_mean;
                self::humidity(&of(T), &of(Q1), &pressure)
            };
            if humidity {
                parts.push(relative().unsqueeze(2));
            }
            if cloud {
                let condensate = of(Q2) + of(Q3);
                parts.push((condensate * &self.exponents * -1.0).clamp_max(0.0).expm1().neg().unsqueeze(2));
            }
            if wind {
                parts.push(((of(U).square() + of(V).square()).sqrt() / WIND_UNIT).unsqueeze(2));
            }
            if let Some(representations) = &self.representations {
                parts.push(representations.forward(&physical, &relative()));
            }
        }
        let all = Tensor::cat(&parts, 2);
        match self.features.soft_clip {
            Some(limit) => soft_clip(&all, limit),
            None => all,
        }
    }
}

/// `x` within the limit, and outside `limit + ln(1 + |x| - limit)` with the sign of x.
fn soft_clip(x: &Tensor, limit: f64) -> Tensor {
    let beyond = (x.abs() - limit).clamp_min(0.0);
    x.clamp(-limit, limit) + beyond.log1p() * x.sign()
}

/// Relative humidity `[B, 60]` from temperature (K), vapour (kg/kg) and pressure (Pa): over ice below 253.16 K, over water
/// above 273.16 K, in between a mixture; 0 to 1.2. Saturation follows Flatau et al. 1992, as the benchmark has it.
pub fn humidity(t: &Tensor, q: &Tensor, pressure: &Tensor) -> Tensor {
    let water = ((t - 253.16) / 20.0).clamp(0.0, 1.0);
    let saturation: Tensor = over_water(t) * &water + over_ice(t) * (water.ones_like() - &water);
    let relative: Tensor = (q * pressure) * VAPOUR_RATIO / saturation;
    relative.clamp(0.0, MOST_HUMID)
}

/// Polynomial by Horner's rule, highest power first.
fn polynomial(x: &Tensor, coefficients: &[f64]) -> Tensor {
    coefficients.iter().skip(1).fold(x.full_like(coefficients[0]), |sum, c| sum * x + *c)
}

/// Saturation pressure over water in Pa.
fn over_water(t: &Tensor) -> Tensor {
    const WATER: [f64; 9] = [
        -0.976_195_544e-15,
        -0.952_447_341e-13,
        0.640_689_451e-10,
        0.206_739_458e-7,
        0.302_950_461e-5,
        0.264_847_430e-3,
        0.142_986_287e-1,
        0.443_987_641,
        6.112_398_53,
    ];
    polynomial(&(t - 273.16).clamp_min(-80.0), &WATER) * 100.0
}

/// Saturation pressure over ice in Pa.
fn over_ice(t: &Tensor) -> Tensor {
    const ICE: [f64; 9] = [
        0.252_751_365e-14,
        0.146_898_966e-11,
        0.385_852_041e-9,
        0.602_588_177e-7,
        0.615_021_634e-5,
        0.420_895_665e-3,
        0.188_439_774e-1,
        0.503_160_820,
        6.111_472_74,
    ];
    let cold = t - 273.16;
    let usual = polynomial(&cold, &ICE) * 100.0;
    // Below 185 K the polynomial leaves the true curve.
    let bounded = cold.clamp_min(-100.0);
    let coldest = ((&bounded * 7.482_15e-7 + 0.000_151_069) * &bounded + 0.007_636_85) * 100.0;
    let ice = usual.where_self(&t.gt(185.0), &coldest);
    ice.where_self(&t.le(273.15), &over_water(t))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::Chain;
    use neural::Params;

    fn numbers(t: &Tensor) -> Vec<f32> {
        Vec::try_from(t.flatten(0, -1)).unwrap()
    }

    #[test]
    fn saturation_is_that_of_the_tables() {
        // Goff and Gratch, WMO tables: Pa over water and over ice.
        let t = Tensor::from_slice(&[263.15_f32, 273.15, 283.15, 293.15, 303.15]);
        for (got, want) in numbers(&over_water(&t)).into_iter().zip([286.5, 611.2, 1227.9, 2338.5, 4245.5]) {
            assert!((got / want - 1.0).abs() < 0.005, "{got} {want}");
        }
        let t = Tensor::from_slice(&[193.15_f32, 213.15, 233.15, 253.15, 263.15]);
        for (got, want) in numbers(&over_ice(&t)).into_iter().zip([0.0547, 1.080, 12.84, 103.2, 259.9]) {
            assert!((got / want - 1.0).abs() < 0.03, "{got} {want}");
        }
    }

    #[test]
    fn channels_are_what_they_say() {
        let constants = Constants::published(Chain::B).unwrap();
        let all =
            Features { column: true, logarithm: true, humidity: true, cloud: true, wind: true, ..Features::default() };
        assert_eq!(all.channels(), 21);
        let params = Params::new(Device::Cpu, 1);
        let layer = FeatureLayer::new(&params.root(), &all, constants).unwrap().unwrap();
        // One warm and humid column, constant in the vertical but for the constants.
        let physical = |name: &str| match name {
            "state_ps" => 101_000.0,
            _ if name.starts_with("state_t_") => 290.0,
            _ if name.starts_with("state_q0001_") => 8e-3,
            _ if name.starts_with("state_q0002_") => 2e-5,
            _ if name.starts_with("state_q0003_") => 1e-5,
            _ if name.starts_with("state_u_") => 3.0,
            _ if name.starts_with("state_v_") => -4.0,
            _ => 1.0,
        };
        let row: Vec<f32> =
            train_inputs().iter().enumerate().map(|(c, name)| constants.input(c, physical(name))).collect();
        let y = layer.forward(&crate::layout::expand(&Tensor::from_slice(&row).view([1, 556])));
        assert_eq!(y.size(), [1, 60, 46]);
        let at = |level: i64, channel: i64| y.double_value(&[0, level, channel]);
        // 290 K saturate at 1918 Pa; the lowest level lies at about 100,100 Pa.
        let expected = 8e-3 * (461.0 / 287.0) * 100_100.0 / 1918.0;
        assert!((at(59, 43) / expected - 1.0).abs() < 0.02, "{} {expected}", at(59, 43));
        let lambda: f64 = EXPONENTS.split(',').nth(40).unwrap().trim().parse().unwrap();
        assert!((at(40, 44) - (1.0 - (-lambda * 3e-5).exp())).abs() < 1e-3, "{}", at(40, 44));
        assert!((at(30, 45) - 5.0 / 20.0).abs() < 1e-4, "{}", at(30, 45));
        // Column representation: two levels of the same temperature differ no longer.
        assert!((at(10, 25) - at(50, 25)).abs() < 1e-4 && (at(10, 16) - at(50, 16)).abs() > 1.0);
        let c = input_position("state_t_50").unwrap();
        let least = climsim::figures("mli", "state_t_50").unwrap().min;
        let above = (290.0 - least) / constants.input_std[c];
        assert!((at(50, 34) - above.ln_1p()).abs() < 1e-3, "{}", at(50, 34));
    }

    #[test]
    fn far_values_are_clipped_softly() {
        let x = Tensor::from_slice(&[-30.0_f32, -5.0, 0.5, 5.0, 6.0]);
        let found = numbers(&soft_clip(&x, 5.0));
        let expected = [-5.0 - 26.0_f32.ln(), -5.0, 0.5, 5.0, 5.0 + 2.0_f32.ln()];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
        let below = numbers(&logarithm(&Tensor::from_slice(&[-1.0_f32, 0.0, 1.0])));
        assert!((below[0] + below[2]).abs() < 1e-6 && below[1] == 0.0 && (below[2] - 2.0_f32.ln()).abs() < 1e-6);
    }
}
