//! Weather: anomalies that are correlated in the vertical, in time and between neighbouring columns, and that can be
//! had for any moment without stepping through time.
//!
//! An anomaly is a sum of smooth vertical modes; the amplitude of a mode is a sum of travelling waves with periods
//! between 9 hours and 20 days.

use common::seed;
use rand::Rng;
use rand_pcg::Pcg64;

use super::climate::Profile;
use crate::columns::LEVELS;

/// Waves behind the amplitude of one mode.
const WAVES: usize = 3;
const DAY: f64 = 86_400.0;

/// One travelling wave: cos(frequency * time + k_lon * lon + k_lat * lat + phase).
#[derive(Debug, Clone, Copy)]
struct Wave {
    frequency: f64,
    k_lon: f64,
    k_lat: f64,
    phase: f64,
}

/// A moving field without vertical structure, mean 0, variance 1.
#[derive(Debug, Clone)]
pub struct Amplitude([Wave; WAVES]);

/// A moving field of profiles, mean 0, variance about 1 on each level.
#[derive(Debug, Clone)]
pub struct Anomaly {
    amplitudes: Vec<Amplitude>,
    /// `[modes]`, each a cosine over the levels, scaled so that the variances add up to 1.
    modes: Vec<Profile>,
}

impl Amplitude {
    /// A field of its own for each name and index.
    pub fn new(run_seed: u64, name: &str, index: u64) -> Self {
        let mut rng = seed::rng_for(run_seed, name, index);
        Self(std::array::from_fn(|_| Wave {
            frequency: std::f64::consts::TAU / (DAY * 0.4 * 50f64.powf(uniform(&mut rng))),
            k_lon: (uniform(&mut rng) * 9.0 - 4.5).round(),
            k_lat: uniform(&mut rng) * 8.0 - 4.0,
            phase: uniform(&mut rng) * std::f64::consts::TAU,
        }))
    }

    /// Value at a time in seconds and a place in radians.
    pub fn at(&self, time: f64, lat: f64, lon: f64) -> f64 {
        let sum: f64 =
            self.0.iter().map(|w| (w.frequency * time + w.k_lon * lon + w.k_lat * lat + w.phase).cos()).sum();
        sum * (2.0 / WAVES as f64).sqrt()
    }
}

impl Anomaly {
    /// A field with `modes` vertical modes.
    pub fn new(run_seed: u64, name: &str, modes: usize) -> Self {
        let strength = |k: usize| 1.0 / (1.0 + 0.25 * k as f64);
        let shapes: Vec<Profile> = (0..modes)
            .map(|k| {
                std::array::from_fn(|l| {
                    strength(k) * (std::f64::consts::PI * k as f64 * (l as f64 + 0.5) / LEVELS as f64).cos()
                })
            })
            .collect();
        let variance: Profile = std::array::from_fn(|l| shapes.iter().map(|s| s[l] * s[l]).sum());
        let modes = shapes.iter().map(|s| std::array::from_fn(|l| s[l] / variance[l].sqrt())).collect();
        let amplitudes = (0..shapes.len() as u64).map(|k| Amplitude::new(run_seed, name, k)).collect();
        Self { amplitudes, modes }
    }

    /// The profile at a time in seconds and a place in radians.
    pub fn at(&self, time: f64, lat: f64, lon: f64) -> Profile {
        let mut profile = [0.0; LEVELS];
        for (amplitude, mode) in self.amplitudes.iter().zip(&self.modes) {
            let a = amplitude.at(time, lat, lon);
            profile.iter_mut().zip(mode).for_each(|(slot, m)| *slot += a * m);
        }
        profile
    }
}

/// Uniform in [0, 1), from the upper 53 bits.
pub fn uniform(rng: &mut Pcg64) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Two standard normal draws (Box and Muller).
pub fn normals(rng: &mut Pcg64) -> [f64; 2] {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * uniform(rng)).sin_cos();
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anomalies_have_unit_variance_and_change_slowly() {
        let anomaly = Anomaly::new(5, "t", 8);
        let (mut sum, mut square, mut step) = (0.0, 0.0, 0.0);
        let n = 20_000;
        for i in 0..n {
            let time = f64::from(i) * 7001.0;
            let lon = f64::from(i % 17) * 0.37;
            let (now, next) = (anomaly.at(time, 0.3, lon)[40], anomaly.at(time + 1200.0, 0.3, lon)[40]);
            sum += now;
            square += now * now;
            step += (next - now) * (next - now);
        }
        let n = f64::from(n);
        assert!((sum / n).abs() < 0.1 && (square / n - 1.0).abs() < 0.15, "{} {}", sum / n, square / n);
        assert!(step / n < 0.05, "{}", step / n);
    }
}
