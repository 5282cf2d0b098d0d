//! `a.b=value` on the command line.
//!
//! The typed config becomes a tree, the value's place in it a marker string, and after writing the tree as YAML the
//! marker is replaced by the text that was typed. One typed parse of that text then gives every override the type of
//! its field, exactly as if it had stood in the file.

use serde_json::{Map, Value};

use super::{tree, yaml};
use crate::error::{Error, Result};

/// One override.
#[derive(Debug)]
pub(super) struct Override {
    key: String,
    value: String,
    marker: String,
}

impl Override {
    /// Reads `KEY=VALUE` arguments, and `KEY VALUE` pairs as published scripts take them.
    pub(super) fn parse_all(arguments: &[String]) -> Result<Vec<Self>> {
        let mut parsed = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (key, value) = match argument.split_once('=') {
                Some((key, value)) => (key.to_string(), value.to_string()),
                None => {
                    let value = rest.next().ok_or_else(|| {
                        Error::usage(format!("override `{argument}` has no value"))
                            .hint(format!("write `{argument}=VALUE`"))
                    })?;
                    (argument.clone(), value.clone())
                }
            };
            let well_formed = key.split('.').all(|part| !part.is_empty());
            if !well_formed || value.contains('\n') {
                return Err(Error::usage(format!("override `{argument}` is malformed"))
                    .hint("overrides are dotted keys with a value on one line: `training.epochs=3`"));
            }
            if yaml::typed::<Vec<Value>>(&format!("[{value}]")).map_or(true, |list| list.len() > 1) {
                return Err(Error::usage(format!("override `{argument}`: `{value}` is not one YAML value"))
                    .hint("quote text that holds commas, colons or brackets: `name='\"a, b\"'`"));
            }
            parsed.push(Self { key, value, marker: format!("override-{}-marker", parsed.len()) });
        }
        Ok(parsed)
    }

    /// True for the key itself and everything below it.
    pub(super) fn covers(&self, key: &str) -> bool {
        key == self.key || key.strip_prefix(&self.key).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Puts the marker into the tree. Keys that do not exist yet are created: whether they may is for the typed parse
    /// to say.
    pub(super) fn apply(&self, tree: &mut Value) -> Result<()> {
        let parts: Vec<&str> = self.key.split('.').collect();
        let mut node = tree;
        for part in &parts[..parts.len() - 1] {
            node = match node {
                Value::Array(items) => {
                    let length = items.len();
                    let item = part.parse::<usize>().ok().and_then(|i| items.get_mut(i));
                    item.ok_or_else(|| self.bad(&format!("`{part}` is no item of a list of {length}")))?
                }
                Value::Object(map) => map.entry(*part).or_insert_with(|| Value::Object(Map::new())),
                // An unset option, or a choice without fields that is replaced by one with fields.
                Value::Null | Value::String(_) => {
                    *node = Value::Object(Map::new());
                    match node {
                        Value::Object(map) => map.entry(*part).or_insert_with(|| Value::Object(Map::new())),
                        _ => return Err(self.bad("cannot be set")),
                    }
                }
                _ => return Err(self.bad(&format!("`{part}` lies below a plain value"))),
            };
        }
        let last = parts[parts.len() - 1];
        let marker = Value::String(self.marker.clone());
        match node {
            Value::Array(items) => {
                let length = items.len();
                let slot = last.parse::<usize>().ok().and_then(|i| items.get_mut(i));
                *slot.ok_or_else(|| self.bad(&format!("`{last}` is no item of a list of {length}")))? = marker;
            }
            Value::Object(map) => {
                map.insert(last.into(), marker);
            }
            node => *node = Value::Object(Map::from_iter([(last.to_string(), marker)])),
        }
        Ok(())
    }

    fn bad(&self, why: &str) -> Error {
        Error::usage(format!("override `{}={}`: {why}", self.key, self.value))
    }
}

/// Replaces the markers by what was typed and parses the whole once more.
pub(super) fn retype<T: serde::de::DeserializeOwned>(tree: &Value, overrides: &[Override]) -> Result<T> {
    let mut text = tree::emit(tree, |_| None);
    for entry in overrides {
        let value = if entry.value.trim().is_empty() { "\"\"" } else { &entry.value };
        text = text.replace(&entry.marker, value);
    }
    yaml::typed(&text).map_err(|mistake| {
        let (sentence, (name, allowed)) = (yaml::explain(&mistake), mistake.what.names());
        // A mistake that only shows once a choice was replaced has the choice's path, not the override's.
        let key = mistake.path.as_str();
        let culprit = overrides.iter().find(|o| o.covers(key) || o.key.starts_with(key)).or(overrides.last());
        let given = culprit.map_or(String::new(), |o| format!("override `{}={}`: ", o.key, o.value));
        let error = Error::usage(if allowed.is_empty() {
            format!("{given}{sentence}")
        } else {
            format!("{given}{sentence}, expected one of: {}", allowed.join(", "))
        });
        error.did_you_mean(name, allowed.iter().map(String::as_str))
    })
}
