//! Comparing tensors by name, shape and type, and copying them only where all is well.

use std::collections::{BTreeMap, BTreeSet};

use common::near::nearest;
use common::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::names::Dialect;
use crate::errors::Doing;

/// Differences that the caller accepts. Each entry is a name, or the beginning of names when it ends with `*`.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    /// Tensors of the model that the file need not have; they keep their values.
    pub missing: Vec<String>,
    /// Tensors of the file that the model need not have.
    pub unexpected: Vec<String>,
    /// Tensors of the file that are left out before comparing, although the model may have them. Each entry must
    /// match something, so that a typing mistake does not pass.
    pub dropped: Vec<String>,
    /// What stands before the network's names in the file. None: found, where there is no doubt.
    pub prefix: Option<String>,
    /// Other names for the network's tensors that a file may use.
    pub dialects: &'static [Dialect],
}

/// Which part of a weights file is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choice {
    /// What stands before the network's names in the file: `state_dict_ema.`. `null`: found, where there is no doubt.
    pub prefix: Option<String>,
    /// Tensors that are left out and keep their drawn values: `[head.*]`.
    pub drop: Vec<String>,
}

impl Choice {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These exceptions beside those of `allow`.
    #[must_use]
    pub fn on(&self, mut allow: Allow) -> Allow {
        allow.prefix = self.prefix.clone().or(allow.prefix);
        allow.dropped.extend(self.drop.iter().cloned());
        allow
    }
}

/// What a strict load did. All lists are sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Names that were loaded.
    pub loaded: Vec<String>,
    /// Allowed: names of the model that the source did not have.
    pub missing: Vec<String>,
    /// Allowed: names of the source that the model does not have.
    pub unexpected: Vec<String>,
    /// Allowed: names of the source that were left out on purpose.
    pub dropped: Vec<String>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tensors loaded", self.loaded.len())?;
        for (names, what) in [(&self.missing, "kept"), (&self.unexpected, "ignored"), (&self.dropped, "dropped")] {
            if !names.is_empty() {
                write!(f, ", {} {what}: {}", names.len(), listed(names))?;
            }
        }
        Ok(())
    }
}

/// Copies `source` into `targets` by name. Missing, unexpected, mis-shaped and mis-typed tensors are all named in one
/// error, and then no target has been touched. `[1]` and `[N]` are different shapes; f16 and f32 are different types.
pub fn load_strict(targets: &[(String, Tensor)], source: &[(String, Tensor)], allow: &Allow) -> Result<Report> {
    let targets = by_name(targets, "the model")?;
    let mut source = by_name(source, "the weights")?;
    let mut report = Report::default();

    for pattern in &allow.dropped {
        let found: Vec<&str> = source.keys().copied().filter(|name| matches(pattern, name)).collect();
        if found.is_empty() {
            return Err(Error::failed(format!("no tensor `{pattern}` to drop")).hint(
                nearest(pattern, source.keys().copied()).map_or_else(
                    || "the names are those of the checkpoint, without `module.`".to_string(),
                    |name| format!("did you mean `{name}`?"),
                ),
            ));
        }
        for name in found {
            source.remove(name);
            report.dropped.push(name.to_string());
        }
    }

    let dropped: BTreeSet<String> = report.dropped.iter().cloned().collect();
    let (mut missing, mut shapes, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for (&name, target) in &targets {
        match source.get(name) {
            None if dropped.contains(name) || allowed(&allow.missing, name) => report.missing.push(name.to_string()),
            None => missing.push(name),
            Some(found) if found.size() != target.size() => {
                shapes.push(format!("`{name}` {:?}, expected {:?}", found.size(), target.size()));
            }
            Some(found) if found.kind() != target.kind() => {
                kinds.push(format!("`{name}` {:?}, expected {:?}", found.kind(), target.kind()));
            }
            Some(_) => report.loaded.push(name.to_string()),
        }
    }
    let unknown: Vec<&str> = source.keys().copied().filter(|name| !targets.contains_key(name)).collect();
    let (ignored, unexpected): (Vec<&str>, Vec<&str>) =
        unknown.iter().copied().partition(|name| allowed(&allow.unexpected, name));
    report.unexpected = ignored.into_iter().map(str::to_string).collect();

    let mut problems = Vec::new();
    let mut add = |count: usize, what: &str, list: String| {
        if count > 0 {
            problems.push(format!("{count} {what}: {list}"));
        }
    };
    let suggested: Vec<String> = missing
        .iter()
        .map(|name| match nearest(name, unexpected.iter().copied()) {
            Some(other) => format!("`{name}` (the file has `{other}`)"),
            None => format!("`{name}`"),
        })
        .collect();
    add(missing.len(), "missing", shortened(&suggested));
    add(unexpected.len(), "unexpected", listed(&unexpected));
    add(shapes.len(), "of another shape", shortened(&shapes));
    add(kinds.len(), "of another type", shortened(&kinds));
    if !problems.is_empty() {
        return Err(Error::failed(format!(
            "the weights do not fit the model ({} of {} tensors do): {}",
            report.loaded.len(),
            targets.len(),
            problems.join("; ")
        ))
        .hint("use the config that the weights were trained with; nothing was loaded"));
    }

    let mut wild = Vec::new();
    for name in &report.loaded {
        let found = source[name.as_str()];
        if found.is_floating_point() && !finite(found).doing(format!("checking `{name}`"))? {
            wild.push(format!("`{name}`"));
        }
    }
    if !wild.is_empty() {
        return Err(Error::failed(format!("{} of the tensors hold NaN or infinity: {}", wild.len(), shortened(&wild)))
            .hint("the training that wrote them diverged: take an earlier checkpoint; nothing was loaded"));
    }

    for name in &report.loaded {
        let (target, found) = (targets[name.as_str()], source[name.as_str()]);
        tch::no_grad(|| target.shallow_clone().f_copy_(found)).doing(format!("loading `{name}`"))?;
    }
    Ok(report)
}

fn finite(tensor: &Tensor) -> Result<bool, tch::TchError> {
    // A sum is finite only where all numbers are, and a tenth of the cost.
    if tensor.f_sum(Kind::Double)?.f_double_value(&[])?.is_finite() {
        return Ok(true);
    }
    Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
}

pub(super) fn by_name<'a>(tensors: &'a [(String, Tensor)], whose: &str) -> Result<BTreeMap<&'a str, &'a Tensor>> {
    let mut map = BTreeMap::new();
    for (name, tensor) in tensors {
        if map.insert(name.as_str(), tensor).is_some() {
            return Err(Error::failed(format!("{whose} have the tensor `{name}` twice")));
        }
    }
    Ok(map)
}

pub(super) fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn allowed(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

fn listed(names: &[impl AsRef<str>]) -> String {
    shortened(&names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>())
}

/// The first few items; a message is read by a person.
fn shortened(items: &[String]) -> String {
    const SHOWN: usize = 6;
    let more = items.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    items[..items.len() - more].join(", ") + &rest
}
