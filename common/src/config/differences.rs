//! What tells two configs apart, key by key.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};

/// A key that two configs have different values for; `None` where one lacks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key with dots: `training.learning_rate`.
    pub key: String,
    /// Its value in each of the configs, as JSON.
    pub values: Vec<Option<String>>,
}

/// All keys in which resolved configs (path for messages, text) differ, in the order of their names.
///
/// # Errors
/// [`Error::Input`] for a text that is no YAML.
pub fn differences(configs: &[(&Path, &str)]) -> Result<Vec<Difference>> {
    let mut all: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (place, (path, text)) in configs.iter().enumerate() {
        let value: Value = serde_saphyr::from_str(text).map_err(|e| Error::input(*path, e.to_string()))?;
        let mut leaves = vec![];
        flatten("", &value, &mut leaves);
        for (key, leaf) in leaves {
            all.entry(key).or_insert_with(|| vec![None; configs.len()])[place] = Some(leaf);
        }
    }
    let differs = |values: &[Option<String>]| values.windows(2).any(|pair| pair[0] != pair[1]);
    let found = all.into_iter().filter(|(_, values)| differs(values));
    Ok(found.map(|(key, values)| Difference { key, values }).collect())
}

/// Values below a key. A list is one value: its places are not keys that a person would name.
fn flatten(key: &str, value: &Value, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, inner) in map {
                let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&below, inner, leaves);
            }
        }
        Value::String(text) => leaves.push((key.into(), text.clone())),
        other => leaves.push((key.into(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told_with_dots() {
        let texts = ["a: 1\nb: {c: [1, 2], d: x}\n", "a: 1\nb: {c: [1, 3], d: x}\ne: true\n"];
        let path = Path::new("config.yaml");
        let found = differences(&texts.map(|text| (path, text))).unwrap();
        let expected = [("b.c", Some("[1,2]"), Some("[1,3]")), ("e", None, Some("true"))];
        let expected = expected
            .map(|(key, a, b)| Difference { key: key.into(), values: [a, b].map(|v| v.map(str::to_string)).to_vec() });
        assert_eq!(found, expected);
        assert!(differences(&[(path, "a: [")]).is_err());
    }
}
