//! The curves of a training run, read back from its `metrics.jsonl`, and the report page that shows them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use common::report::{Report, Series};
use common::{Error, Result};

/// Every figure of a run over its global step, by name (`train/loss`, `valid/r2`, `lr`).
#[derive(Debug, Default)]
pub struct Curves {
    by_name: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Curves {
    /// Reads a metric log: one JSON object a line, with `step` and any figures.
    ///
    /// # Errors
    /// [`Error::Input`] with the line that is no such object.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::opening(path, e))?;
        let mut curves = Self::default();
        for (number, line) in text.lines().enumerate() {
            let bad = |why: &str| Error::input(path, format!("line {}: {why}", number + 1));
            let row: Map<String, Value> = serde_json::from_str(line).map_err(|e| bad(&e.to_string()))?;
            let step = row.get("step").and_then(Value::as_f64).ok_or_else(|| bad("has no `step`"))?;
            for (name, value) in row.iter().filter(|(name, _)| !["step", "epoch"].contains(&name.as_str())) {
                if let Some(value) = value.as_f64() {
                    curves.by_name.entry(name.clone()).or_default().push((step, value));
                }
            }
        }
        Ok(curves)
    }

    /// One curve as a line of a plot; without points where the run has no such figure.
    pub fn series(&self, name: &str) -> Series {
        Series { name: name.into(), points: self.by_name.get(name).cloned().unwrap_or_default() }
    }

    /// The page of a run: last and best values, the curves, and the config with the origin of each value.
    pub fn report(&self, title: &str, subtitle: &str, config: &str) -> Result<Report> {
        let mut report = Report::new(title, subtitle);
        let row = |(name, points): (&String, &Vec<(f64, f64)>)| {
            let values = || points.iter().map(|p| p.1).filter(|v| v.is_finite());
            let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            let last = points.last().map_or(f64::NAN, |p| p.1);
            vec![name.clone(), short(last), short(low), short(high)]
        };
        report.table("Figures", &["name", "last", "lowest", "highest"], self.by_name.iter().map(row).collect());
        report.plot("Loss", "step", "loss", &["train/loss", "valid/loss"].map(|name| self.series(name)))?;
        // The part of a score behind the first slash names it; deeper parts are its groups and share a plot.
        let mut families: BTreeMap<&str, Vec<Series>> = BTreeMap::new();
        for name in self.by_name.keys().filter(|name| name.starts_with("valid/") && *name != "valid/loss") {
            let family = name.split('/').nth(1).unwrap_or(name);
            families.entry(family).or_default().push(self.series(name));
        }
        for (family, series) in families {
            report.plot(&format!("Validation: {family}"), "step", family, &series)?;
        }
        report.plot("Learning rate", "step", "lr", &[self.series("lr")])?;
        report.plot("Gradient norm", "step", "norm", &[self.series("train/gradient_norm")])?;
        report.text("Config, with the origin of each value", config);
        Ok(report)
    }
}

/// A figure with five significant digits.
fn short(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) { format!("{value:.5}") } else { format!("{value:.4e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_becomes_curves_and_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let log = "{\"epoch\":1,\"step\":5,\"train/loss\":0.5,\"lr\":1e-3}\n{\"epoch\":1,\"step\":9,\"train/loss\":0.25,\
                   \"valid/r2\":0.75,\"valid/r2/ptend_t\":0.5}\n";
        common::durable::write(&path, log.as_bytes()).unwrap();
        let curves = Curves::read(&path).unwrap();
        assert_eq!(curves.series("train/loss").points, [(5.0, 0.5), (9.0, 0.25)]);
        let html = curves.report("exp195", "seed 47", "seed: 47  # default").unwrap().html().unwrap();
        for part in ["valid/r2/ptend_t", "Validation: r2", "Learning rate", "0.25000", "# default"] {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("Gradient norm"));
    }

    #[test]
    fn a_damaged_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        common::durable::write(&path, b"{\"step\":1,\"lr\":1}\n{\"lr\":1}\n").unwrap();
        assert!(Curves::read(&path).unwrap_err().to_string().contains("line 2: has no `step`"));
    }
}
