//! How well kappa foretells the error, and what makes it do so: a temperature, and a stretch of the regions.
//!
//! The network's kappa is divided by the temperature under which the true directions of validation events are the most
//! probable. Errors of networks have longer tails than the von Mises-Fisher distribution; so that the regions of 50 % and
//! 90 % hold that share of events all the same, each is then stretched by the quantile of true angle over region.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::angles;
use common::stage::Manifest;
use common::{Error, Result};

/// Shares of the regions in tables of predictions.
pub const REGIONS: [f64; 2] = [0.5, 0.9];

/// A fitted calibration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What kappa is divided by, > 0. Above 1 the network was too sure.
    pub temperature: f64,
    /// What the regions of [`REGIONS`] are multiplied with, of the divided kappa.
    pub stretch: [f64; 2],
}

impl Default for Calibration {
    fn default() -> Self {
        Self { temperature: 1.0, stretch: [1.0; 2] }
    }
}

impl Calibration {
    /// Fits `(angle, kappa)` pairs of events whose truth is known; `None` where there are too few for a share of 90 %.
    pub fn fit(pairs: &[(f64, f64)]) -> Option<Self> {
        const LEAST: usize = 20;
        // Halvings of the interval of the logarithm, until it is narrower than anyone could measure.
        const STEPS: usize = 60;
        if pairs.len() < LEAST || !pairs.iter().all(|(angle, kappa)| angle.is_finite() && kappa.is_finite()) {
            return None;
        }
        let loss = |log: f64| {
            let t = log.exp();
            -pairs.iter().map(|(angle, kappa)| angles::log_density(kappa / t, *angle)).sum::<f64>()
        };
        // The likelihood of one parameter of an exponential family has one peak: golden section.
        let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = (-8.0_f64, 8.0_f64);
        let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
        let (mut at_a, mut at_b) = (loss(a), loss(b));
        for _ in 0..STEPS {
            if at_a <= at_b {
                (high, b, at_b) = (b, a, at_a);
                a = high - golden * (high - low);
                at_a = loss(a);
            } else {
                (low, a, at_a) = (a, b, at_b);
                b = low + golden * (high - low);
                at_b = loss(b);
            }
        }
        let temperature = f64::midpoint(low, high).exp();
        let stretch = REGIONS.map(|p| {
            let mut ratios: Vec<f64> = pairs
                .iter()
                .map(|(angle, kappa)| angle / angles::containment(kappa / temperature, p).max(f64::MIN_POSITIVE))
                .collect();
            ratios.sort_by(f64::total_cmp);
            // The smallest stretch under which the share is held.
            ratios[((p * ratios.len() as f64).ceil() as usize).clamp(1, ratios.len()) - 1]
        });
        Some(Self { temperature, stretch })
    }

    /// The calibrated kappa.
    pub fn kappa(&self, kappa: f64) -> f64 {
        kappa / self.temperature
    }

    /// The angle around a direction that holds the share `REGIONS[region]`, of an uncalibrated kappa.
    pub fn region(&self, kappa: f64, region: usize) -> f64 {
        (angles::containment(self.kappa(kappa), REGIONS[region]) * self.stretch[region]).min(std::f64::consts::PI)
    }

    /// The shares of `(angle, kappa)` pairs that lie within their regions.
    pub fn coverage(&self, pairs: &[(f64, f64)]) -> [f64; 2] {
        [0, 1].map(|region| {
            let within = pairs.iter().filter(|(angle, kappa)| *angle <= self.region(*kappa, region)).count();
            within as f64 / pairs.len().max(1) as f64
        })
    }

    /// The `score.json` that a path stands for: that file, or the folder of a `score` stage.
    ///
    /// # Errors
    /// Those of reading the stage's manifest.
    pub fn file(path: &Path) -> Result<PathBuf> {
        if path.is_dir() { Manifest::read(&path.to_string_lossy())?.output("score") } else { Ok(path.to_path_buf()) }
    }

    /// What a `score` stage, or its `score.json`, fitted for `name`; the only one where it scored one.
    ///
    /// # Errors
    /// [`Error::Input`] where it holds no calibration of that name.
    pub fn read(path: &Path, name: &str) -> Result<Self> {
        let file = Self::file(path)?;
        let text = common::store::foreign::read_text(&file)?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| Error::input(&file, format!("reading a calibration: {e}")))?;
        let scores: Vec<&serde_json::Value> = value["scores"].as_array().into_iter().flatten().collect();
        let names: Vec<&str> = scores.iter().filter_map(|score| score["name"].as_str()).collect();
        let found = match scores.as_slice() {
            [only] => Some(*only),
            many => many.iter().copied().find(|score| score["name"] == name),
        };
        let found = found.ok_or_else(|| {
            let known = if names.is_empty() { "no scores".into() } else { format!("scores of {}", names.join(", ")) };
            Error::input(&file, format!("holds no calibration of `{name}`, but {known}"))
                .hint("make one: `score --truth DATA NAME=RUN --out FOLDER` on validation events")
        })?;
        let fitted = &found["calibration"]["fitted"];
        let fitted: Self = serde_json::from_value(fitted.clone()).map_err(|_| {
            Error::input(&file, format!("`{name}` has no fitted calibration"))
                .hint("score a table with `kappa` and at least 20 events")
        })?;
        let sound = fitted.stretch.iter().chain([&fitted.temperature]).all(|v| v.is_finite() && *v > 0.0);
        if sound {
            Ok(fitted)
        } else {
            Err(Error::input(&file, format!("`{name}`: {fitted:?}, expected numbers above 0")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events whose angles follow from kappa divided by `temperature`, evenly over all shares.
    fn events(temperature: f64, tail: f64) -> Vec<(f64, f64)> {
        (0..4000)
            .map(|i| {
                let kappa = [0.4, 6.0, 90.0, 2500.0][i % 4];
                let share = ((i / 4) as f64 + 0.5) / 1000.0;
                let angle = angles::containment(kappa / temperature, share) * if share > 0.8 { tail } else { 1.0 };
                (angle.min(std::f64::consts::PI), kappa)
            })
            .collect()
    }

    #[test]
    fn the_temperature_of_the_angles_is_found() {
        for temperature in [0.25, 1.0, 7.0] {
            let fitted = Calibration::fit(&events(temperature, 1.0)).unwrap();
            assert!((fitted.temperature / temperature - 1.0).abs() < 0.01, "{fitted:?}");
            assert!(fitted.stretch.iter().all(|s| (s - 1.0).abs() < 0.02), "{fitted:?}");
        }
    }

    #[test]
    fn regions_hold_their_shares_whatever_the_tails() {
        for tail in [1.0, 1.5, 3.0] {
            // Where kappa is small, tails leave the sphere.
            let pairs: Vec<(f64, f64)> = events(3.0, tail).into_iter().filter(|(_, kappa)| *kappa > 50.0).collect();
            let before = Calibration::default().coverage(&pairs);
            let after = Calibration::fit(&pairs).unwrap().coverage(&pairs);
            assert!((before[0] - 0.5).abs() > 0.1, "{before:?}");
            assert!(after.iter().zip(REGIONS).all(|(found, p)| (found - p).abs() < 0.01), "{after:?}");
        }
    }

    #[test]
    fn few_events_are_no_calibration() {
        assert!(Calibration::fit(&events(1.0, 1.0)[..19]).is_none());
        assert!(Calibration::fit(&[]).is_none());
    }
}
