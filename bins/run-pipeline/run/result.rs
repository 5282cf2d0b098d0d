//! What a pipeline is for: the outs that it names with `type`, the figures of its metric files, and what its stages name
//! under `meta.results`.
//!
//! The figures of a metric file with a `type` stand below that name, those of the others at the top, so that a pipeline
//! chooses by itself what a reader sees first.

use std::path::{Path, PathBuf};

use common::Result;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::run_pipeline::declare::read;
use crate::run_pipeline::declare::tree::{Kind, Node};
use crate::run_pipeline::graph::Unit;

/// Named outputs and figures of the pipeline that was asked for.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    pub pipeline: String,
    pub outputs: Map<String, Value>,
    pub metrics: Map<String, Value>,
}

impl Results {
    /// Reads them from the disk; what is not there, or holds no figures, is left out. `metrics` are the files named beside the
    /// stages.
    pub fn read(pipeline: String, units: &[Unit], metrics: &[PathBuf]) -> Self {
        let mut results = Self { pipeline, ..Self::default() };
        for file in metrics {
            if let Some(read) = figures(file) {
                merge(&mut results.metrics, read);
            }
        }
        for out in units.iter().filter(|unit| unit.home == 0).flat_map(|unit| &unit.stage.outs) {
            if out.is_metric {
                let Some(figures) = figures(&out.file) else { continue };
                match &out.kind {
                    Some(kind) => merge(&mut results.metrics, Map::from_iter([(kind.clone(), figures.into())])),
                    None => merge(&mut results.metrics, figures),
                }
            } else if let (Some(kind), true) = (&out.kind, out.file.exists()) {
                let path: PathBuf = out.file.clone();
                results.outputs.insert(kind.clone(), serde_json::json!({ "path": path }));
            }
        }
        for promise in units.iter().filter(|unit| unit.home == 0).map(|unit| &unit.stage.promise) {
            for (name, path) in promise.outputs.iter().filter(|(_, path)| path.exists()) {
                results.outputs.insert(name.clone(), serde_json::json!({ "path": path }));
            }
            for figures in &promise.metrics {
                let Some(read) = self::figures(&figures.file).map(Value::Object) else { continue };
                for (name, place) in &figures.take {
                    // Members of a group may differ in the figures that they have.
                    if let Some(value) = at(&read, place) {
                        merge(&mut results.metrics, nested(name, value.clone()));
                    }
                }
            }
        }
        results
    }

    /// One line of JSON.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| common::Error::failed(format!("results: {e}")))
    }

    /// For people: one line a figure, then where the outputs lie. Empty without either.
    pub fn text(&self) -> String {
        let mut rows = Vec::new();
        flatten("", &self.metrics, &mut rows);
        let here = std::env::current_dir().unwrap_or_default();
        for (name, output) in &self.outputs {
            let path = output["path"].as_str().unwrap_or_default();
            let shown = std::path::Path::new(path).strip_prefix(&here).map_or(path.into(), |p| p.display().to_string());
            rows.push((name.clone(), shown));
        }
        let wide = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        rows.iter().map(|(name, value)| format!("{name:wide$}  {value}")).collect::<Vec<_>>().join("\n")
    }
}

/// What a file of metrics holds: JSON, YAML, TOML or Python, as DVC reads them.
fn figures(file: &Path) -> Option<Map<String, Value>> {
    let node = match read::file(file, file) {
        Ok(node) => node,
        Err(e) => {
            if file.exists() {
                tracing::warn!("no metrics are read: {e}");
            }
            return None;
        }
    };
    match value(&node) {
        Value::Object(figures) => Some(figures),
        _ => None,
    }
}

fn value(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(value) => (*value).into(),
        Kind::Int(number) => i64::try_from(*number).map_or_else(|_| Value::from(*number as f64), Value::from),
        Kind::Float(number) => Value::from(*number),
        Kind::Text(text) => text.as_str().into(),
        Kind::List(items) => items.iter().map(value).collect(),
        Kind::Map(entries) => {
            Value::Object(entries.iter().map(|(key, node)| (key.name.clone(), value(node))).collect())
        }
    }
}

/// `scores.0.f1`: keys of maps and places in lists.
fn at<'a>(value: &'a Value, place: &str) -> Option<&'a Value> {
    place.split('.').try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => value.get(part),
    })
}

/// `tracker.efficiency` -> `{tracker: {efficiency: ..}}`.
fn nested(name: &str, value: Value) -> Map<String, Value> {
    match name.split_once('.') {
        Some((outer, inner)) => Map::from_iter([(outer.to_string(), nested(inner, value).into())]),
        None => Map::from_iter([(name.to_string(), value)]),
    }
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(known)), Value::Object(more)) => merge(known, more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Dotted keys and numbers; anything else in a metric file is for machines.
fn flatten(prefix: &str, figures: &Map<String, Value>, rows: &mut Vec<(String, String)>) {
    for (key, value) in figures {
        match value {
            Value::Object(inner) => flatten(&format!("{prefix}{key}."), inner, rows),
            Value::Number(number) => {
                let shown = match number.as_f64() {
                    Some(value) if number.is_f64() => format!("{value:.6}"),
                    _ => number.to_string(),
                };
                rows.push((format!("{prefix}{key}"), shown));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_taken_from_their_place_and_put_under_their_name() {
        let read = serde_json::json!({ "scores": [{ "f1": 0.5 }], "metrics": { "last/svm_f1": 0.25 } });
        assert_eq!(at(&read, "scores.0.f1"), Some(&Value::from(0.5)));
        assert_eq!(at(&read, "metrics.last/svm_f1"), Some(&Value::from(0.25)));
        assert_eq!(at(&read, "scores.1.f1"), None);
        assert_eq!(Value::from(nested("a.b", 1.into())), serde_json::json!({ "a": { "b": 1 } }));
    }

    #[test]
    fn figures_of_several_files_stand_together() {
        let object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let mut metrics = object("{\"members\": {\"a\": 0.5}, \"n\": 3}");
        merge(&mut metrics, object("{\"members\": {\"b\": 0.25}, \"blend\": 0.75, \"list\": [1]}"));
        let results = Results { metrics, ..Results::default() };
        assert_eq!(results.text(), "members.a  0.500000\nmembers.b  0.250000\nn          3\nblend      0.750000");
    }
}
