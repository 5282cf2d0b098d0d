//! The state of one atmospheric column before a physics step: real climatology plus weather, within the bounds of
//! physics (no negative water, clouds only where it is humid, no sun at night, fractions that add up to 1).

use common::seed;

pub use super::climate::SCALARS;
use super::climate::{Climate, Figures, Levels, Profile};
use super::grid::Grid;
use super::marginal::Marginal;
use super::waves::{Amplitude, Anomaly, uniform};
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
/// Above this level cloud liquid is rare, and one step removes it.
pub const FIRST_LIQUID: usize = 28;
/// Below this level and above [`FIRST_LIQUID`] cloud liquid is rare; above it, it is a trace that stays.
const FIRST_RARE: usize = 12;
/// Above this level cloud ice is a trace.
const FIRST_ICE: usize = 26;
/// Cloud water between the clouds, in parts of a thick cloud.
const VEIL: f64 = 3e-3;
/// Part of the columns that have cloud liquid above [`FIRST_LIQUID`]. In the real data it is a rare event, which one step
/// removes and which the constants of the training arrays hardly know: a label of thousands of deviations.
const RARE: f64 = 1.0 / 400.0;
/// Places that the distributions are fitted on.
const FITTED_PLACES: usize = 1200;
/// Scalars whose distribution is fitted to the real one. Sun, albedo and fractions follow from place and time.
const MAPPED: [&str; 7] =
    ["pbuf_LHFLX", "pbuf_SHFLX", "pbuf_TAUX", "pbuf_TAUY", "cam_in_LWUP", "cam_in_SNOWHLAND", "cam_in_SNOWHICE"];

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
    /// What gives each field its real distribution: t, q0001, q0002, q0003, u, v.
    states: [Maps; 6],
    gases: [Maps; 3],
    scalars: [Marginal; 17],
    seed: u64,
}

/// One map a level.
type Maps = [Marginal; LEVELS];

/// Before fitting.
const UNFITTED: Marginal = Marginal::Constant(0.0);

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
            states: [[UNFITTED; LEVELS]; 6],
            gases: [[UNFITTED; LEVELS]; 3],
            scalars: [UNFITTED; 17],
            seed,
        };
        weather.fit();
        weather
    }

    /// Fits the maps to the real distributions, on places that are the same in every run: first what depends on no
    /// other variable, then what depends on it.
    fn fit(&mut self) {
        let places: Vec<(f64, f64, f64)> = sample_places(FITTED_PLACES).collect();
        let each = |of: &dyn Fn(f64, f64, f64) -> Vec<f64>| -> Vec<Vec<f64>> {
            let rows: Vec<Vec<f64>> = places.iter().map(|&(time, lat, lon)| of(time, lat, lon)).collect();
            let width = rows.first().map_or(0, Vec::len);
            (0..width).map(|i| rows.iter().map(|row| row[i]).collect()).collect()
        };
        let maps = |fields: &[Vec<f64>], real: &Levels, fit: &dyn Fn(&[f64], &Figures) -> Marginal| -> Maps {
            std::array::from_fn(|l| fit(&fields[l], &real[l]))
        };
        let scalars = each(&|time, lat, lon| vec![Surface::at(self, time, lat, lon).ps]);
        self.scalars[0] = Marginal::bell(&scalars[0], &self.climate.scalars[0]);
        let first = each(&|time, lat, lon| {
            let surface = Surface::at(self, time, lat, lon);
            let [u, v] = self.wind_fields(time, lat, lon);
            let [ozone, methane, nitrous] = self.gas_fields(time, lat);
            [self.temperature_field(time, lat, lon, &surface), u, v, ozone, methane, nitrous].concat()
        });
        for (i, x) in [0, 4, 5].into_iter().enumerate() {
            self.states[x] = maps(&first[i * LEVELS..], &self.climate.states[x], &Marginal::of_signed);
        }
        for g in 0..3 {
            self.gases[g] = maps(&first[(3 + g) * LEVELS..], &self.climate.gases[g], &Marginal::of_signed);
        }
        let vapour = each(&|time, lat, lon| {
            let t = self.temperature_at(time, lat, lon, &Surface::at(self, time, lat, lon));
            self.vapour_field(time, lat, lon, &t).to_vec()
        });
        self.states[1] = maps(&vapour, &self.climate.states[1], &Marginal::of_signed);
        let clouds = each(&|time, lat, lon| self.air_at(time, lat, lon).clouds.concat());
        for k in 0..2 {
            self.states[2 + k] = maps(&clouds[k * LEVELS..], &self.climate.states[2 + k], &Marginal::of_amount);
        }
        let scalars = each(&|time, lat, lon| self.air_at(time, lat, lon).scalar_fields().to_vec());
        for (i, field) in scalars.iter().enumerate().skip(1) {
            let real = &self.climate.scalars[i];
            self.scalars[i] = match SCALARS[i] {
                "cam_in_SNOWHLAND" | "cam_in_SNOWHICE" => Marginal::of_amount(field, real),
                _ => Marginal::bell(field, real),
            };
        }
    }

    /// The column at `time` (seconds since 0001-01-01, years of 365 days), latitude and longitude in radians.
    pub fn column(&self, time: f64, lat: f64, lon: f64) -> Column {
        let air = self.air_at(time, lat, lon);
        let [mut q2, q3] = [0, 1].map(|k| std::array::from_fn(|l| self.states[2 + k][l].value(air.clouds[k][l])));
        self.liquid_aloft(&mut q2, [time, lat, lon]);
        let gases = self.gas_fields(time, lat);
        let gases = std::array::from_fn(|g| std::array::from_fn(|l| self.gases[g][l].signed(gases[g][l])));
        let fields = air.scalar_fields();
        let real = &self.climate.scalars;
        let scalars = std::array::from_fn(|i| match SCALARS[i] {
            name if MAPPED.contains(&name) => self.scalars[i].value(fields[i]),
            // Geometry and fractions are what they are.
            _ => fields[i].clamp(real[i].min, real[i].max),
        });
        let Air { pressure, t, q1, wind: [u, v], humidity, ice_part, .. } = air;
        Column { pressure, states: [t, q1, q2, q3, u, v], humidity, ice_part, gases, scalars }
    }

    /// Cloud liquid where it is a rare event: little more than nothing, or what gives the real deviation.
    fn liquid_aloft(&self, liquid: &mut Profile, place: [f64; 3]) {
        let bits = place.map(f64::to_bits);
        let stream = bits[0].rotate_left(21) ^ bits[1].rotate_left(42) ^ bits[2];
        let mut rng = seed::rng_for(self.seed, "liquid aloft", stream);
        let amount = if uniform(&mut rng) < RARE { RARE.powf(-0.5) } else { 1e-12 };
        for (l, x) in liquid.iter_mut().enumerate().take(FIRST_LIQUID).skip(FIRST_RARE) {
            let real = &self.climate.states[2][l];
            *x = (real.min + amount * real.std).min(real.max);
        }
    }

    /// Everything that clouds and scalars are made of.
    fn air_at(&self, time: f64, lat: f64, lon: f64) -> Air {
        let surface = Surface::at(self, time, lat, lon);
        let ps = self.scalars[0].value(surface.ps);
        let pressure: Profile = std::array::from_fn(|l| self.hyam[l] * self.p0 + self.hybm[l] * ps);
        let t = self.temperature_at(time, lat, lon, &surface);
        let field = self.vapour_field(time, lat, lon, &t);
        let real = &self.climate.states[1];
        let q1: Profile = std::array::from_fn(|l| {
            let most = (1.02 * saturation(t[l], pressure[l])).max(real[l].min);
            self.states[1][l].signed(field[l]).min(most)
        });
        let humidity: Profile = std::array::from_fn(|l| q1[l] / saturation(t[l], pressure[l]));
        let ice_part: Profile = std::array::from_fn(|l| ((268.0 - t[l]) / 30.0).clamp(0.0, 1.0));
        let trace = self.trace.at(time, lat, lon);
        let cloud = |l: usize, part: f64| {
            // A thin veil is everywhere: what the real data have between the clouds.
            let veil = VEIL * trace[l].exp();
            (humidity[l] - CLOUD_ONSET).max(0.0).powf(1.5) * part + veil
        };
        let liquid = |l: usize| if l < FIRST_LIQUID { trace[l].exp() } else { cloud(l, 1.0 - ice_part[l]) };
        let ice = |l: usize| if l < FIRST_ICE { trace[l].exp() } else { cloud(l, ice_part[l]) };
        let clouds = [std::array::from_fn(liquid), std::array::from_fn(ice)];
        let wind = self.wind_fields(time, lat, lon);
        let wind = std::array::from_fn(|i| std::array::from_fn(|l| self.states[4 + i][l].signed(wind[i][l])));
        Air { surface, ps, pressure, t, q1, wind, humidity, ice_part, clouds }
    }

    fn temperature_at(&self, time: f64, lat: f64, lon: f64, surface: &Surface) -> Profile {
        let field = self.temperature_field(time, lat, lon, surface);
        std::array::from_fn(|l| self.states[0][l].signed(field[l]))
    }

    fn temperature_field(&self, time: f64, lat: f64, lon: f64, surface: &Surface) -> Profile {
        let anomaly = self.temperature.at(time, lat, lon);
        // Warm tropics below the tropopause, cold ones just above it.
        let warmth = (lat.cos().powi(2) - 0.6) / 0.3 + 0.5 * lat.sin() * surface.season;
        std::array::from_fn(|l| {
            let sign = ((l as f64 - 23.0) / 3.0).tanh() * if l < 12 { 0.3 } else { 0.8 };
            let low = (l as f64 - 52.0).max(0.0) / 8.0;
            let diurnal = low * 0.3 * surface.land * (surface.mu - 0.25);
            sign * warmth + 0.55 * anomaly[l] + diurnal
        })
    }

    /// Warm air holds more.
    fn vapour_field(&self, time: f64, lat: f64, lon: f64, t: &Profile) -> Profile {
        let anomaly = self.moisture.at(time, lat, lon);
        let warm = &self.climate.states[0];
        std::array::from_fn(|l| 0.8 * (t[l] - warm[l].mean) / warm[l].std + 0.6 * anomaly[l])
    }

    fn wind_fields(&self, time: f64, lat: f64, lon: f64) -> [Profile; 2] {
        let jet = ((lat.abs() - 0.75) / 0.3).powi(2);
        let zonal = self.zonal.at(time, lat, lon);
        [zonal.map(|x| 1.3 * (-jet).exp() - 0.5 + 0.8 * x), self.meridional.at(time, lat, lon)]
    }

    fn gas_fields(&self, time: f64, lat: f64) -> [Profile; 3] {
        let season = (std::f64::consts::TAU * time / YEAR).cos();
        let belt = 1.6 * (lat.cos().powi(2) - 0.6) + 0.7 * lat.sin() * season;
        [std::array::from_fn(|l| belt + 0.2 * (l as f64 * 0.2).sin()); 3]
    }
}

/// A column before its clouds and scalars have their real distribution.
struct Air {
    surface: Surface,
    ps: f64,
    pressure: Profile,
    t: Profile,
    q1: Profile,
    /// u, v.
    wind: [Profile; 2],
    humidity: Profile,
    ice_part: Profile,
    /// Liquid and ice in arbitrary units.
    clouds: [Profile; 2],
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
}

impl Air {
    /// Scalars in the order of [`SCALARS`], turbulent fluxes and snow in arbitrary units.
    fn scalar_fields(&self) -> [f64; 17] {
        let last = LEVELS - 1;
        let (t, q, [u, v]) = (self.t[last], self.q1[last], self.wind.map(|w| w[last]));
        let Surface { land, ice, mu, wetness, .. } = self.surface;
        let skin = t + self.surface.skin;
        let wind = (u * u + v * v + 4.0).sqrt();
        let sensible = wind.sqrt() * self.surface.skin;
        let deficit = (saturation(skin, self.pressure[last]) - q).max(-1e-3);
        let latent = wind.sqrt() * deficit * wetness;
        let cold = logistic((FREEZING - 2.0 - t) / 3.0);
        // At night the model reports an albedo of 1.
        let albedo = |dark: f64, bright: f64, slant: f64| {
            if mu == 0.0 {
                return 1.0;
            }
            let ocean = 1.0 - land - ice;
            let soil = dark + (bright - dark) * cold;
            (ocean * (0.06 + slant * 0.2 * (-4.0 * mu).exp()) + land * soil + ice * bright).clamp(0.0, 1.0)
        };
        [
            self.ps,
            self.surface.solar,
            latent,
            sensible,
            -wind * u,
            -wind * v,
            mu,
            albedo(0.28, 0.65, 0.0),
            albedo(0.26, 0.63, 1.0),
            albedo(0.12, 0.85, 0.0),
            albedo(0.11, 0.82, 1.0),
            0.985 * STEFAN_BOLTZMANN * skin.powi(4),
            ice,
            land,
            (1.0 - land - ice).max(0.0),
            land * cold,
            ice * (0.2 + cold),
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
