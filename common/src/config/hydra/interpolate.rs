//! Values that point to others: `${KEY}`, relative keys, and the resolvers of OmegaConf.

use std::path::Path;

use serde_json::Value;

use super::origins::{Origins, below};
use crate::config::{tree, yaml};
use crate::error::{Error, Result};

/// Most values that point to values that point to values.
const DEEPEST: usize = 16;
/// Resolvers that are read; those of Hydra itself are left as they stand.
const KNOWN: &str = "`oc.env`, `oc.select`, `oc.decode`, `hydra:runtime.cwd`";

/// Follows all pointers of a composed config.
pub(super) struct Resolver<'a> {
    /// The main file, for messages.
    pub(super) file: &'a Path,
    /// The config before any pointer was followed.
    pub(super) whole: &'a Value,
    /// Where values stand; pointers are noted.
    pub(super) origins: &'a mut Origins,
}

impl Resolver<'_> {
    /// Everything below `node`, which stands at the key `at`.
    pub(super) fn resolve(&mut self, node: &mut Value, at: &str, depth: usize) -> Result<()> {
        match node {
            Value::Object(map) => {
                for (key, value) in map.iter_mut().filter(|(key, _)| !(at.is_empty() && *key == "hydra")) {
                    self.resolve(value, &below(at, key), depth)?;
                }
            }
            Value::Array(items) => {
                for (i, value) in items.iter_mut().enumerate() {
                    self.resolve(value, &below(at, &i.to_string()), depth)?;
                }
            }
            Value::String(text) if text.contains("${") => *node = self.text(&text.clone(), at, depth)?,
            _ => {}
        }
        Ok(())
    }

    /// A text with pointers: the value of the pointer where it is the whole text, a text otherwise.
    fn text(&mut self, text: &str, at: &str, depth: usize) -> Result<Value> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('\\') {
                // Escaped: the text itself.
                out += &rest[..start - 1];
                out += "${";
                rest = &rest[start + 2..];
                continue;
            }
            let end = closing(&rest[start..]).ok_or_else(|| self.problem(at, text, "whose `}` is missing"))?;
            let inner = &rest[start + 2..start + end];
            let value = self.pointer(inner, at, text, depth)?;
            if start == 0 && end + 1 == rest.len() && out.is_empty() {
                return Ok(value);
            }
            out += &rest[..start];
            out += &value.as_str().map_or_else(|| value.to_string(), str::to_string);
            rest = &rest[start + end + 1..];
        }
        out += rest;
        Ok(Value::String(out))
    }

    /// The value of what stands between `${` and `}`.
    fn pointer(&mut self, inner: &str, at: &str, text: &str, depth: usize) -> Result<Value> {
        if depth >= DEEPEST {
            return Err(self.problem(at, text, "which leads back to itself"));
        }
        // Pointers inside of a pointer come first.
        let inner = match inner.contains("${") {
            true => match self.text(inner, at, depth + 1)? {
                Value::String(inner) => inner,
                other => other.to_string(),
            },
            false => inner.to_string(),
        };
        let inner = inner.trim();
        let name = inner
            .split_once(':')
            .filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c)));
        let Some((name, argument)) = name else { return self.key(inner, at, text, depth) };
        let (first, default) = match argument.split_once(',') {
            Some((first, default)) => (first.trim(), Some(default.trim())),
            None => (argument.trim(), None),
        };
        match name {
            "oc.env" => match (std::env::var(first), default) {
                (Ok(value), _) => Ok(Value::String(value)),
                (Err(_), Some(default)) => Ok(plain(default)),
                (Err(_), None) => Err(self
                    .problem(at, text, &format!("and the variable `{first}` of `oc.env` is not set"))
                    .hint(format!("`export {first}=VALUE`, or a default: `${{oc.env:{first},VALUE}}`"))),
            },
            "oc.select" => match tree::at(self.whole, &absolute(first, at)) {
                Some(_) => self.key(first, at, text, depth),
                None => Ok(default.map_or(Value::Null, plain)),
            },
            "oc.decode" => Ok(plain(argument.trim())),
            "hydra" if argument.trim() == "runtime.cwd" => {
                let here = std::env::current_dir().map_err(|e| Error::failed(format!("the working folder: {e}")))?;
                Ok(Value::String(here.display().to_string()))
            }
            "hydra" | "now" => Ok(Value::String(format!("${{{inner}}}"))),
            other => Err(self
                .problem(at, text, &format!("whose resolver `{other}` is not known"))
                .hint(format!("known are {KNOWN}; give the value itself: `{at}=VALUE`"))),
        }
    }

    fn key(&mut self, key: &str, at: &str, text: &str, depth: usize) -> Result<Value> {
        let key = absolute(key, at);
        let mut value =
            tree::at(self.whole, &key).cloned().ok_or_else(|| self.problem(at, text, "which no file has"))?;
        self.resolve(&mut value, &key, depth + 1)?;
        if text.trim().starts_with("${") && closing(text).is_some_and(|end| end + 1 == text.len()) {
            self.origins.point(at, &key);
        }
        Ok(value)
    }

    fn problem(&self, at: &str, text: &str, what: &str) -> Error {
        Error::usage(format!("`{}`: `{at}` is `{text}`, {what}", self.file.display()))
    }
}

/// A key without brackets and, where it begins with dots, seen from the value at `at`: one dot is its own map.
fn absolute(key: &str, at: &str) -> String {
    let key = key.replace('[', ".").replace(']', "");
    let dots = key.len() - key.trim_start_matches('.').len();
    if dots == 0 {
        return key;
    }
    let mut base = at;
    for _ in 0..dots {
        base = base.rsplit_once('.').map_or("", |(parent, _)| parent);
    }
    below(base, &key[dots..])
}

/// Place of the `}` that belongs to the `${` at the start.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(['$', '}'])?;
        if text[at..].starts_with("${") {
            depth += 1;
            from = at + 2;
        } else if text[at..].starts_with('}') {
            depth -= 1;
            if depth <= 0 {
                return Some(at);
            }
            from = at + 1;
        } else {
            from = at + 1;
        }
    }
}

/// A default or decoded text as a value.
fn plain(text: &str) -> Value {
    let list = yaml::typed::<Vec<Value>>(&format!("[{text}]")).ok().filter(|list| list.len() == 1);
    list.and_then(|list| list.into_iter().next()).unwrap_or_else(|| Value::String(text.to_string()))
}
