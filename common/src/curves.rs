//! The curves of a training run, read back from its `metrics.jsonl`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

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

    /// Names of all figures with their points, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[(f64, f64)])> {
        self.by_name.iter().map(|(name, points)| (name.as_str(), points.as_slice()))
    }

    /// The points of a curve; none where the run has no such figure.
    pub fn points(&self, name: &str) -> &[(f64, f64)] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_becomes_curves_and_a_damaged_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let log =
            "{\"epoch\":1,\"step\":5,\"train/loss\":0.5,\"lr\":null}\n{\"epoch\":1,\"step\":9,\"train/loss\":0.25}\n";
        crate::durable::write(&path, log.as_bytes()).unwrap();
        let curves = Curves::read(&path).unwrap();
        assert_eq!(curves.points("train/loss"), [(5.0, 0.5), (9.0, 0.25)]);
        assert_eq!(curves.iter().count(), 1);
        crate::durable::write(&path, b"{\"step\":1,\"lr\":1}\n{\"lr\":1}\n").unwrap();
        assert!(Curves::read(&path).unwrap_err().to_string().contains("line 2: has no `step`"));
    }
}
