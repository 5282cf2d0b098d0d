//! Where the values of a composed config stand: file and line of each key, through merges and pointers.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::config::lines::Lines;

/// Most pointers that are followed one after the other.
const DEEPEST: usize = 16;

/// File and line of each key.
#[derive(Debug, Default)]
pub(in crate::config) struct Origins {
    places: BTreeMap<String, String>,
    /// Keys whose whole value is that of another key.
    pointers: BTreeMap<String, String>,
}

/// A dotted key below another one.
pub(super) fn below(base: &str, key: &str) -> String {
    if base.is_empty() { key.to_string() } else { format!("{base}.{key}") }
}

impl Origins {
    /// Notes the values of a file that was put at the key `at`.
    pub(super) fn put(&mut self, path: &Path, text: &str, at: &str, value: &Value) {
        let lines = Lines::of(text);
        self.walk(at, value, &|key| match lines.get(key) {
            Some(line) => format!("{}:{line}", path.display()),
            None => path.display().to_string(),
        });
    }

    /// Notes a value that was typed.
    pub(super) fn set(&mut self, key: &str) {
        self.forget(key);
        self.places.insert(key.to_string(), "override".to_string());
    }

    /// Forgets a key and all below it.
    pub(super) fn forget(&mut self, key: &str) {
        let start = format!("{key}.");
        self.places.retain(|k, _| k != key && !k.starts_with(&start));
    }

    /// Notes that the whole value of `key` is that of `other`.
    pub(super) fn point(&mut self, key: &str, other: &str) {
        self.pointers.insert(key.to_string(), other.to_string());
    }

    fn walk(&mut self, at: &str, value: &Value, place: &dyn Fn(&str) -> String) {
        fn inner(own: &mut Origins, at: &str, key: &str, value: &Value, place: &dyn Fn(&str) -> String) {
            match value {
                Value::Object(map) if !map.is_empty() => {
                    for (name, value) in map {
                        inner(own, at, &below(key, name), value, place);
                    }
                }
                _ => {
                    let full = below(at, key);
                    own.forget(&full);
                    if let Value::Array(items) = value {
                        for (i, item) in items.iter().enumerate() {
                            inner(own, at, &below(key, &i.to_string()), item, place);
                        }
                    }
                    own.places.insert(full, place(key));
                }
            }
        }
        inner(self, at, "", value, place);
    }

    /// Where the value of a key stands: the key itself, the nearest one above it, or the first below it.
    pub(in crate::config) fn find(&self, key: &str) -> Option<String> {
        let mut key = key.to_string();
        for _ in 0..DEEPEST {
            let pointed = self.pointers.iter().filter_map(|(from, to)| {
                let rest = key.strip_prefix(from.as_str())?;
                (rest.is_empty() || rest.starts_with('.')).then(|| (from.len(), format!("{to}{rest}")))
            });
            match pointed.max_by_key(|(length, _)| *length) {
                Some((_, next)) => key = next,
                None => break,
            }
        }
        let start = format!("{key}.");
        let mut at = key.as_str();
        loop {
            if let Some(place) = self.places.get(at) {
                return Some(place.clone());
            }
            match at.rsplit_once('.') {
                Some((parent, _)) => at = parent,
                None => break,
            }
        }
        self.places.range(start.clone()..).next().filter(|(k, _)| k.starts_with(&start)).map(|(_, place)| place.clone())
    }
}
