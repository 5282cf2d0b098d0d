//! The physics step: a deterministic, nonlinear function of the column, plus a little noise.
//!
//! A dozen processes (condensation, evaporation, radiation, convection, turbulent mixing, surface fluxes, drag, falling
//! ice) are evaluated in simple forms. Each tendency is a sum of them, scaled level by level to the real mean and spread
//! of that tendency. No state leaves its real range, so water never becomes negative; what the real model keeps at zero
//! is zero; cloud liquid above level 28 is removed within the step, but for what the real data leave of it.

use common::seed;

use super::climate::{Climate, Figures, Levels, Profile};
use super::column::{Column, FIRST_LIQUID, Weather, logistic, sample_places};
use super::marginal::{Marginal, Shape};
use super::waves::normals;
use crate::columns::{LEVELS, STEP_SECONDS};

/// Levels above this one have no tendency of water and wind.
const FIRST_ACTIVE: usize = 12;
/// Standard deviation of the noise, in standard deviations of a tendency.
pub const DEFAULT_NOISE: f64 = 0.25;

/// Cloud ice on the level whose real deviation comes from one value in a million, so that it is a thousandth of what the
/// tendency moves in a step: there the tendency keeps its real deviation, which the constants of the arrays know, and the
/// state after the step does not.
const FLEETING: (usize, usize) = (3, 12);

/// Processes; each gives one value a level.
const TERMS: usize = 18;
const COND: usize = 0;
const EVAP: usize = 1;
const SUN: usize = 2;
const COOL: usize = 3;
const CONV: usize = 4;
const HEAT_FLUX: usize = 5;
const MOIST_FLUX: usize = 6;
const MIX_T: usize = 7;
const MIX_Q: usize = 8;
const MIX_U: usize = 9;
const MIX_V: usize = 10;
const DRAG_U: usize = 11;
const DRAG_V: usize = 12;
const CONV_U: usize = 13;
const CONV_V: usize = 14;
const SINK: usize = 15;
const FALL: usize = 16;
const CLOUD_CONV: usize = 17;

/// How much of each process (in its own spread) goes into each tendency: t, q0001, q0002, q0003, u, v.
const MIXTURE: [&[(usize, f64)]; 6] = [
    &[(COND, 0.6), (EVAP, -0.4), (SUN, 0.7), (COOL, 0.5), (CONV, 0.6), (HEAT_FLUX, 0.5), (MIX_T, 0.4)],
    &[(COND, -0.7), (EVAP, 0.5), (MOIST_FLUX, 0.6), (MIX_Q, 0.4), (CONV, -0.4), (SINK, 0.5)],
    &[(COND, 0.7), (EVAP, -0.6), (CLOUD_CONV, 0.4), (SUN, -0.2)],
    &[(COND, 0.6), (EVAP, -0.5), (FALL, 0.6), (CLOUD_CONV, 0.4)],
    &[(MIX_U, 0.6), (DRAG_U, 0.5), (CONV_U, 0.6)],
    &[(MIX_V, 0.6), (DRAG_V, 0.5), (CONV_V, 0.6)],
];

/// What a step does to a column.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// States after the step: t, q0001, q0002, q0003, u, v.
    pub states: [Profile; 6],
    /// NETSW, FLWDS (W/m2), PRECSC, PRECC (m/s), SOLS, SOLL, SOLSD, SOLLD (W/m2).
    pub fluxes: [f64; 8],
}

/// The physics with its scales.
#[derive(Debug, Clone)]
pub struct Physics {
    climate: Climate,
    /// Mean and std of each process.
    terms: Vec<(Profile, Profile)>,
    /// Mean and std of each raw tendency.
    raw: [(Profile, Profile); 6],
    /// What gives each flux its real distribution.
    fluxes: [Marginal; 8],
    noise: f64,
}

impl Physics {
    /// Scales found on a fixed sample of columns of `weather`.
    pub fn new(climate: Climate, weather: &Weather, noise: f64) -> Self {
        let columns: Vec<Column> = sample_places(3000).map(|(time, lat, lon)| weather.column(time, lat, lon)).collect();
        let terms: Vec<[Profile; TERMS]> = columns.iter().map(|c| processes(c, &climate)).collect();
        let term_scales: Vec<(Profile, Profile)> = (0..TERMS).map(|k| moments(terms.iter().map(|t| &t[k]))).collect();
        let mut physics = Self {
            climate,
            terms: term_scales,
            raw: [([0.0; LEVELS], [1.0; LEVELS]); 6],
            fluxes: [Marginal::Constant(0.0); 8],
            noise,
        };
        let raw: Vec<[Profile; 6]> = terms.iter().map(|t| physics.combine(t)).collect();
        physics.raw = std::array::from_fn(|x| moments(raw.iter().map(|r| &r[x])));
        let found: Vec<[f64; 8]> = columns.iter().map(fluxes).collect();
        physics.fluxes = std::array::from_fn(|i| {
            let field: Vec<f64> = found.iter().map(|f| f[i]).collect();
            let real = &physics.climate.fluxes[i];
            match Shape::of(real) {
                Shape::Up => Marginal::of_amount(&field, real),
                _ => Marginal::bell(&field, real),
            }
        });
        physics
    }

    /// One step of a column. `stream` chooses the noise: the same number gives the same noise.
    pub fn step(&self, column: &Column, run_seed: u64, stream: u64) -> Outcome {
        let mut rng = seed::rng_for(run_seed, "noise", stream);
        let raw = self.combine(&processes(column, &self.climate));
        let mut states = column.states;
        for (x, state) in states.iter_mut().enumerate() {
            let real = &self.climate.tendencies[x];
            let after = &self.climate.after[x];
            let mut noise = [0.0; LEVELS];
            noise.chunks_exact_mut(2).for_each(|two| two.copy_from_slice(&normals(&mut rng)));
            for l in 0..LEVELS {
                let before = &self.climate.states[x];
                if x == 2 && l >= FIRST_ACTIVE {
                    // What is left of cloud liquid: high up nothing that the tendency would notice.
                    state[l] *= (after[l].std / before[l].std).min(1.0);
                }
                if x == 2 && (FIRST_ACTIVE..FIRST_LIQUID).contains(&l) {
                    state[l] = state[l].min(after[l].max);
                } else if x == 0 || l >= FIRST_ACTIVE {
                    let standard = (raw[x][l] - self.raw[x].0[l]) / self.raw[x].1[l] + self.noise * noise[l];
                    // Real tendencies stay within some spreads; this one too.
                    // Where little is left at the end of a step, a step moves little.
                    let most = if (x, l) == FLEETING { f64::INFINITY } else { after[l].std / STEP_SECONDS };
                    let (mean, std) = (real.mean[l].clamp(-most, most), real.std[l].min(most));
                    let tendency = mean + std * 8.0 * (standard / 8.0).tanh();
                    state[l] = (state[l] + STEP_SECONDS * tendency).clamp(after[l].min, after[l].max);
                }
            }
        }
        let mut fluxes = fluxes(column);
        for (i, two) in [0, 2, 4, 6].map(|i| (i, normals(&mut rng))) {
            for k in 0..2 {
                let (spread, real) = (0.3 * self.noise * two[k], &self.climate.fluxes[i + k]);
                fluxes[i + k] = (self.fluxes[i + k].value(fluxes[i + k]) * (1.0 + spread)).clamp(real.min, real.max);
            }
        }
        Outcome { states, fluxes }
    }

    fn combine(&self, terms: &[Profile; TERMS]) -> [Profile; 6] {
        MIXTURE.map(|mixture| {
            let mut sum = [0.0; LEVELS];
            for &(k, weight) in mixture {
                let (mean, std) = &self.terms[k];
                for l in 0..LEVELS {
                    sum[l] += weight * (terms[k][l] - mean[l]) / std[l];
                }
            }
            sum
        })
    }
}

/// The processes of a column, in arbitrary units.
fn processes(column: &Column, climate: &Climate) -> [Profile; TERMS] {
    let [t, q, liquid, ice, u, v] = &column.states;
    let [solar, latent, sensible, taux, tauy] = [1, 2, 3, 4, 5].map(|i| column.scalars[i]);
    let mu = solar / 1360.0;
    let mut terms = [[0.0; LEVELS]; TERMS];
    // Anomalies in spreads: what networks see as well.
    let standard =
        |x: &Profile, real: &Levels| -> Profile { std::array::from_fn(|l| (x[l] - real[l].mean) / real[l].std) };
    let (warm, moist) = (standard(t, &climate.states[0]), standard(q, &climate.states[1]));
    let cloud: Profile = std::array::from_fn(|l| {
        let amount = |x: f64, real: &Figures| if real.mean > 1e-12 { (x / real.mean).min(30.0) } else { 0.0 };
        amount(liquid[l], &climate.states[2][l]) + amount(ice[l], &climate.states[3][l])
    });
    let mean_of = |x: &Profile, from: usize| x[from..].iter().sum::<f64>() / (LEVELS - from) as f64;
    // Warm and moist below, cold above: what drives convection.
    let instability = mean_of(&warm, 52) + mean_of(&moist, 52) - 1.4 * (warm[30..42].iter().sum::<f64>() / 12.0);
    let cape = softplus(2.0 * instability) * 0.5;
    let depth = 30.0 + 16.0 * logistic(1.0 - 1.2 * instability);
    let (u_mean, v_mean) = (mean_of(u, 36), mean_of(v, 36));
    let mut above = 0.0;
    for l in 0..LEVELS {
        let near = (-((LEVELS - 1 - l) as f64) / 5.0).exp();
        let (up, down) = (l.saturating_sub(1), (l + 1).min(LEVELS - 1));
        let curve = |x: &Profile| x[up] + x[down] - 2.0 * x[l];
        let slope = |x: &Profile| x[down] - x[up];
        let bump = (-((l as f64 - depth) / 9.0).powi(2)).exp();
        let shear = (slope(u).powi(2) + slope(v).powi(2)).sqrt();
        above += 0.02 * cloud[l];
        let shade = (-above).exp();
        terms[COND][l] =
            softplus(14.0 * (column.humidity[l] - 0.75)) * if l < FIRST_ACTIVE { 0.0 } else { 1.0 } + 0.3 * moist[l];
        terms[EVAP][l] = cloud[l].sqrt() * (1.1 - column.humidity[l]).max(0.0);
        terms[SUN][l] = mu * (1.5 + moist[l]).max(0.0) * shade + 0.5 * mu;
        terms[COOL][l] = -0.6 * warm[l] - 0.5 * cloud[l].sqrt() * shade + 0.2 * warm[l] * moist[l].tanh();
        terms[CONV][l] = cape * (bump + 0.15);
        terms[HEAT_FLUX][l] = sensible / 60.0 * near;
        terms[MOIST_FLUX][l] = latent / 80.0 * near;
        terms[MIX_T][l] = curve(t) * (0.5 + near);
        terms[MIX_Q][l] = curve(&moist) * (1.0 + 0.2 * shear).ln_1p();
        terms[MIX_U][l] = curve(u) + taux * 5.0 * near;
        terms[MIX_V][l] = curve(v) + tauy * 5.0 * near;
        terms[DRAG_U][l] = -u[l] * u[l].abs() * (1.0 + 0.5 * warm[l].tanh());
        terms[DRAG_V][l] = -v[l] * (u[l].abs() + v[l].abs());
        terms[CONV_U][l] = cape * (bump + 0.1) * (u_mean - u[l]);
        terms[CONV_V][l] = cape * (bump + 0.1) * (v_mean - v[l]);
        terms[SINK][l] = cape * slope(&moist) + 0.3 * moist[l];
        terms[FALL][l] = ice[up].sqrt() - ice[l].sqrt();
        terms[CLOUD_CONV][l] = cape * bump * (1.0 + column.ice_part[l]);
    }
    terms
}

/// Unscaled fluxes at the surface, none negative.
fn fluxes(column: &Column) -> [f64; 8] {
    let [t, q, liquid, ice, ..] = &column.states;
    let (solar, mu) = (column.scalars[1], column.scalars[6]);
    let albedos = [10, 8, 9, 7].map(|i| column.scalars[i]);
    // Water path in units of a thick cloud.
    let path: f64 = (FIRST_ACTIVE..LEVELS).map(|l| liquid[l] + 0.5 * ice[l]).sum::<f64>() / 6e-4;
    let last = LEVELS - 1;
    let through = (-path / (0.4 + mu)).exp();
    let scattered = 0.15 + 0.6 * (1.0 - (-path).exp());
    let dimmed = solar * (1.0 - 0.45 * path / (1.0 + path));
    let direct = [0.5 * solar * through, 0.5 * solar * through * (1.0 - 8.0 * q[last]).max(0.2)];
    let diffuse = [0.5 * dimmed * scattered, 0.5 * dimmed * scattered * 0.7];
    let absorbed: f64 =
        [direct[0], direct[1], diffuse[0], diffuse[1]].iter().zip(albedos).map(|(f, a)| f * (1.0 - a)).sum();
    let emissivity = 0.62 + 0.2 * (q[last] / 0.012).tanh() + 0.15 * path / (1.0 + path);
    let down = emissivity * 5.67e-8 * (0.6 * t[last] + 0.4 * t[48]).powi(4);
    let humid = (45..LEVELS).map(|l| column.humidity[l]).sum::<f64>() / 15.0;
    let rain = softplus(10.0 * (humid - 0.7)) * (0.3 + path);
    let snow = rain * logistic((272.0 - t[last]) / 2.0);
    [absorbed, down, snow, rain, direct[0], direct[1], diffuse[0], diffuse[1]]
}

fn softplus(x: f64) -> f64 {
    if x > 30.0 { x } else { x.exp().ln_1p() }
}

/// Mean and standard deviation of each level; a level that does not vary gets 1.
fn moments<'a>(profiles: impl Iterator<Item = &'a Profile> + Clone) -> (Profile, Profile) {
    let n = profiles.clone().count() as f64;
    let mut mean = [0.0; LEVELS];
    let mut square = [0.0; LEVELS];
    profiles.clone().for_each(|p| mean.iter_mut().zip(p).for_each(|(m, x)| *m += x / n));
    profiles.for_each(|p| (0..LEVELS).for_each(|l| square[l] += (p[l] - mean[l]).powi(2) / n));
    (mean, square.map(|s| if s > 1e-60 { s.sqrt() } else { 1.0 }))
}
