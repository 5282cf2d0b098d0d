//! The state of one atmospheric column before a physics step: real climatology plus weather, within the bounds of
//! physics (no negative water, clouds only where it is humid, no sun at night, fractions that add up to 1).

use super::climate::{Climate, Profile};
use super::grid::Grid;
use super::waves::{Amplitude, Anomaly};
use crate::columns::LEVELS;

const DAY: f64 = 86_400.0;
const YEAR: f64 = 365.0 * DAY;
const FREEZING: f64 = 273.15;
const STEFAN_BOLTZMANN: f64 = 5.67e-8;
/// Solar constant in W/m2.
const SOLAR: f64 = 1360.0;
/// Latent heat over gas constant and such: the Magnus formula over water.
const MAGNUS: (f64, f64, f64) = (611.2, 17.67, 29.65);
/// Relative humidity above which cloud forms.
const CLOUD_ONSET: f64 = 0.6;
/// Above this level cloud liquid is a trace that one step removes.
pub const FIRST_LIQUID: usize = 28;
/// Above this level cloud ice is a trace.
const FIRST_ICE: usize = 16;
/// What the model writes for snow depth on sea ice where there is no ice.
const NO_ICE: f64 = 1e30;

/// One column before a step, in the units of the raw files.
#[derive(Debug, Clone)]
pub struct Column {
    /// Pressure at level midpoints, Pa.
    pub pressure: Profile,
    /// t, q0001, q0002, q0003, u, v.
    pub states: [Profile; 6],
    /// Relative humidity, 0 to about 1.
    pub humidity: Profile,
    /// Part of new condensate that is ice.
    pub ice_part: Profile,
    /// ozone, CH4, N2O, mol/mol.
    pub gases: [Profile; 3],
    /// Scalars in the order of [`SCALARS`].
    pub scalars: [f64; 17],
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

/// The weather of a run: fields that give the column anywhere at any time.
#[derive(Debug, Clone)]
pub struct Weather {
    climate: Climate,
    hyam: Vec<f64>,
    hybm: Vec<f64>,
    p0: f64,
    temperature: Anomaly,
    moisture: Anomaly,
    trace: Anomaly,
    zonal: Anomaly,
    meridional: Anomaly,
    pressure: Amplitude,
    surface: Amplitude,
    /// Fixed in time: read at time 0 only.
    terrain: [Amplitude; 2],
    /// Cloud water per excess humidity that gives the real mean of each level: liquid, ice.
    cloud: [Profile; 2],
}

impl Weather {
    /// Fields of a seed on the levels of a grid.
    pub fn new(seed: u64, climate: Climate, grid: &Grid) -> Self {
        let mut weather = Self {
            climate,
            hyam: grid.hyam.clone(),
            hybm: grid.hybm.clone(),
            p0: grid.p0,
            temperature: Anomaly::new(seed, "temperature", 7),
            moisture: Anomaly::new(seed, "moisture", 7),
            trace: Anomaly::new(seed, "trace", 4),
            zonal: Anomaly::new(seed, "zonal", 5),
            meridional: Anomaly::new(seed, "meridional", 5),
            pressure: Amplitude::new(seed, "pressure", 0),
            surface: Amplitude::new(seed, "surface", 0),
            // The continents do not move with the seed.
            terrain: [Amplitude::new(0, "terrain", 0), Amplitude::new(0, "terrain", 1)],
            cloud: [[1.0; LEVELS], [1.0; LEVELS]],
        };
        weather.calibrate_clouds();
        weather
    }

    /// Finds the amount of cloud per excess humidity such that liquid and ice have their real mean at each level.
    fn calibrate_clouds(&mut self) {
        let mut sums = [[0.0; LEVELS]; 2];
        let mut count = 0.0;
        for (time, lat, lon) in sample_places(1500) {
            let column = self.column(time, lat, lon);
            for (sums, amounts) in sums.iter_mut().zip(&column.states[2..4]) {
                for (sum, amount) in sums.iter_mut().zip(amounts) {
                    *sum += amount;
                }
            }
            count += 1.0;
        }
        for (k, sums) in sums.iter().enumerate() {
            let real = self.climate.states[k + 2].mean;
            self.cloud[k] =
                std::array::from_fn(|l| if sums[l] > 0.0 { (real[l] * count / sums[l]).min(1e-2) } else { 0.0 });
        }
    }

    /// The column at `time` (seconds since 0001-01-01, years of 365 days), latitude and longitude in radians.
    pub fn column(&self, time: f64, lat: f64, lon: f64) -> Column {
        let surface = Surface::at(self, time, lat, lon);
        let pressure: Profile = std::array::from_fn(|l| self.hyam[l] * self.p0 + self.hybm[l] * surface.ps);
        let t = self.temperature_at(time, lat, lon, &surface);
        let q1 = self.vapour_at(time, lat, lon, &t, &pressure);
        let humidity: Profile = std::array::from_fn(|l| q1[l] / saturation(t[l], pressure[l]));
        let ice_part: Profile = std::array::from_fn(|l| ((268.0 - t[l]) / 30.0).clamp(0.0, 1.0));
        let trace = self.trace.at(time, lat, lon);
        let cloud = |l: usize| (humidity[l] - CLOUD_ONSET).max(0.0).powf(1.5);
        let liquid = self.climate.states[2].mean;
        let q2: Profile = std::array::from_fn(|l| {
            if l < FIRST_LIQUID {
                liquid[l] * (1.5 * trace[l] - 1.125).exp()
            } else {
                self.cloud[0][l] * cloud(l) * (1.0 - ice_part[l])
            }
        });
        let ice = self.climate.states[3].mean;
        let q3: Profile = std::array::from_fn(|l| {
            if l < FIRST_ICE { ice[l] * (trace[l] - 0.5).exp() } else { self.cloud[1][l] * cloud(l) * ice_part[l] }
        });
        let jet = ((lat.abs() - 0.75) / 0.3).powi(2);
        let wind = self.climate.states[4];
        let zonal = self.zonal.at(time, lat, lon);
        let u: Profile =
            std::array::from_fn(|l| wind.mean[l] + wind.std[l] * (1.3 * (-jet).exp() - 0.5 + 0.8 * zonal[l]));
        let wind = self.climate.states[5];
        let meridional = self.meridional.at(time, lat, lon);
        let v: Profile = std::array::from_fn(|l| wind.mean[l] + wind.std[l] * meridional[l]);
        let states = [t, q1, q2, q3, u, v];
        let gases = self.gases_at(time, lat);
        let scalars = surface.scalars(&states, pressure[LEVELS - 1]);
        Column { pressure, states, humidity, ice_part, gases, scalars }
    }

    fn temperature_at(&self, time: f64, lat: f64, lon: f64, surface: &Surface) -> Profile {
        let anomaly = self.temperature.at(time, lat, lon);
        let spread = self.climate.states[0];
        // Warm tropics below the tropopause, cold ones just above it.
        let warmth = (lat.cos().powi(2) - 0.6) / 0.3 + 0.5 * lat.sin() * surface.season;
        std::array::from_fn(|l| {
            let sign = ((l as f64 - 23.0) / 3.0).tanh() * if l < 12 { 0.3 } else { 0.8 };
            let low = (l as f64 - 52.0).max(0.0) / 8.0;
            let diurnal = low * 4.0 * surface.land * (surface.mu - 0.25);
            spread.mean[l] + spread.std[l] * (sign * warmth + 0.55 * anomaly[l]) + diurnal
        })
    }

    fn vapour_at(&self, time: f64, lat: f64, lon: f64, t: &Profile, pressure: &Profile) -> Profile {
        let anomaly = self.moisture.at(time, lat, lon);
        let spread = self.climate.states[1];
        let warm = self.climate.states[0];
        std::array::from_fn(|l| {
            let sigma = (1.0 + (spread.std[l] / spread.mean[l]).powi(2)).ln().sqrt();
            let follows = 0.6 * (t[l] - warm.mean[l]) / warm.std[l];
            let q = spread.mean[l] * (sigma * (follows + 0.8 * anomaly[l] - 0.5 * sigma)).exp();
            q.min(1.02 * saturation(t[l], pressure[l]))
        })
    }

    fn gases_at(&self, time: f64, lat: f64) -> [Profile; 3] {
        let season = (std::f64::consts::TAU * time / YEAR).cos();
        [0, 1, 2].map(|g| {
            let spread = self.climate.gases[g];
            std::array::from_fn(|l| {
                // Where the published std is only its floor, the gas is well mixed.
                let std = spread.std[l].min(0.45 * spread.mean[l]).min(if spread.std[l] <= 1.001e-8 {
                    1e-4 * spread.mean[l]
                } else {
                    f64::MAX
                });
                spread.mean[l]
                    + std * (1.6 * (lat.cos().powi(2) - 0.6) + 0.7 * lat.sin() * season + 0.2 * (l as f64 * 0.2).sin())
            })
        })
    }
}

/// What the surface and the sun do.
struct Surface {
    ps: f64,
    land: f64,
    ice: f64,
    mu: f64,
    solar: f64,
    season: f64,
    /// Skin temperature minus that of the lowest level, K.
    skin: f64,
    wetness: f64,
}

impl Surface {
    fn at(weather: &Weather, time: f64, lat: f64, lon: f64) -> Self {
        let [shape, height] = [&weather.terrain[0], &weather.terrain[1]].map(|f| f.at(0.0, lat, lon));
        let land = logistic(4.0 * (shape - 0.55));
        let day = (time / DAY).rem_euclid(365.0);
        let season = (std::f64::consts::TAU * (day - 172.0) / 365.0).cos();
        let declination = 0.409 * season;
        let hour = std::f64::consts::TAU * (time / DAY).fract() + lon - std::f64::consts::PI;
        let mu = (lat.sin() * declination.sin() + lat.cos() * declination.cos() * hour.cos()).max(0.0);
        let distance = 1.0 + 0.033 * (std::f64::consts::TAU * (day - 3.0) / 365.0).cos();
        let ice = (1.0 - land) * logistic((lat.abs().to_degrees() - 68.0 + 4.0 * season * lat.signum()) / 2.5);
        let noise = weather.surface.at(time, lat, lon);
        Self {
            ps: 101_200.0 - 9_000.0 * land * logistic(2.0 * height) + 900.0 * weather.pressure.at(time, lat, lon),
            land,
            ice: if ice < 1e-3 { 0.0 } else { ice },
            mu,
            solar: SOLAR * distance * mu,
            season,
            skin: 1.0 + land * (12.0 * (mu - 0.25)) + (1.0 + land) * noise,
            wetness: (1.0 - land) + 0.5 * land,
        }
    }

    fn scalars(&self, states: &[Profile; 6], lowest_pressure: f64) -> [f64; 17] {
        let last = LEVELS - 1;
        let (t, q, u, v) = (states[0][last], states[1][last], states[4][last], states[5][last]);
        let skin = t + self.skin;
        let wind = (u * u + v * v + 4.0).sqrt();
        let sensible = 8.0 * wind.sqrt() * self.skin;
        let deficit = (saturation(skin, lowest_pressure) - q).max(-1e-3);
        let latent = 9_000.0 * wind.sqrt() * deficit * self.wetness;
        let cold = logistic((FREEZING - 2.0 - t) / 3.0);
        let snow = self.land * cold * 0.6;
        // At night the model reports an albedo of 1.
        let albedo = |dark: f64, bright: f64, slant: f64| {
            if self.mu == 0.0 {
                return 1.0;
            }
            let ocean = 1.0 - self.land - self.ice;
            let soil = dark + (bright - dark) * cold;
            (ocean * (0.06 + slant * 0.2 * (-4.0 * self.mu).exp()) + self.land * soil + self.ice * bright)
                .clamp(0.0, 1.0)
        };
        let land = self.land;
        [
            self.ps,
            self.solar,
            latent,
            sensible,
            -2.5e-3 * wind * u,
            -2.5e-3 * wind * v,
            self.mu,
            albedo(0.28, 0.65, 0.0),
            albedo(0.26, 0.63, 1.0),
            albedo(0.12, 0.85, 0.0),
            albedo(0.11, 0.82, 1.0),
            0.985 * STEFAN_BOLTZMANN * skin.powi(4),
            self.ice,
            land,
            (1.0 - land - self.ice).max(0.0),
            snow,
            if self.ice > 0.0 { 0.05 + 0.2 * cold } else { NO_ICE },
        ]
    }
}

/// Saturation specific humidity over water, kg/kg; at most 1 where the air is too thin to saturate.
pub fn saturation(t: f64, pressure: f64) -> f64 {
    let (e0, a, b) = MAGNUS;
    let e = e0 * (a * (t - FREEZING) / (t - b)).exp();
    if e >= pressure { 1.0 } else { 0.622 * e / (pressure - 0.378 * e) }
}

/// 1 / (1 + exp(-x)).
pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Times and places spread over eight years and the sphere, the same in every run: calibration must not depend on the
/// months or the columns that are asked for.
pub fn sample_places(n: usize) -> impl Iterator<Item = (f64, f64, f64)> {
    // Additive recurrence with powers of the inverse plastic number (quasi-random in three dimensions).
    let g = 1.220_744_084_605_759_5_f64;
    (0..n).map(move |i| {
        let x = |k: i32| (0.5 + (i as f64 + 1.0) * g.powi(-k)).fract();
        (x(1) * 8.0 * YEAR, (2.0 * x(2) - 1.0).asin(), x(3) * std::f64::consts::TAU)
    })
}
