//! Folders of configs in the layout of Hydra: a main file whose `defaults` choose one file of each group, and values that
//! point to others (`${a.b}`). What the values mean is for the type of the config to say ([`super::Config::from_hydra`]).
//!
//! Read is what such folders commonly hold: `defaults` with `GROUP: NAME`, `NAME` and `_self_`; `${KEY}` as a whole value
//! and inside of text; the overrides `KEY=VALUE`, `+KEY=VALUE`, `++KEY=VALUE`, `~KEY` and `GROUP=NAME`. The block `hydra`
//! and values of Hydra's own resolvers (`${hydra:...}`, `${now:...}`) say where Hydra puts its files and stay as they are.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{tree, yaml};
use crate::error::{Error, Result};

/// Main files that a folder is looked through for.
const MAIN: [&str; 2] = ["train.yaml", "config.yaml"];
/// Most values that point to values that point to values.
const DEEPEST: usize = 16;

/// A composed config, and the overrides that are not of it.
pub(super) struct Composed {
    /// All groups, overrides applied, pointers followed.
    pub(super) tree: Value,
    /// Overrides of keys that the folder does not have.
    pub(super) rest: Vec<String>,
}

/// The main file of a folder, or the file itself where it has `defaults`; none where it is no config of Hydra.
pub(super) fn main_file(path: &Path) -> Result<Option<PathBuf>> {
    if path.is_dir() {
        let found = MAIN.iter().map(|name| path.join(name)).find(|file| file.is_file());
        return found.map(Some).ok_or_else(|| {
            Error::usage(format!("`{}` is a folder without `{}`", path.display(), MAIN.join("` or `")))
                .hint("give a config file, or a folder in the layout of Hydra")
        });
    }
    let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    if !is_yaml || !path.is_file() {
        return Ok(None);
    }
    let has = yaml::parse_any(path, &super::read(path)?)?.get("defaults").is_some_and(Value::is_array);
    Ok(has.then(|| path.to_path_buf()))
}

/// Composes the config of `file`.
pub(super) fn compose(file: &Path, overrides: &[String]) -> Result<Composed> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut main = yaml::parse_any(file, &super::read(file)?)?;
    let defaults = main.as_object_mut().and_then(|map| map.remove("defaults")).unwrap_or_default();
    let mut choices: Vec<Choice> =
        defaults.as_array().into_iter().flatten().map(|v| Choice::read(file, v)).collect::<Result<_>>()?;
    if !choices.contains(&Choice::Main) {
        choices.push(Choice::Main);
    }
    let mut unplaced = Vec::new();
    for argument in overrides {
        match argument.split_once('=') {
            Some((group, name)) if choices.iter().any(|c| matches!(c, Choice::Group(g, _) if g == group)) => {
                for choice in &mut choices {
                    if let Choice::Group(g, chosen) = choice
                        && g == group
                    {
                        *chosen = name.to_string();
                    }
                }
            }
            _ => unplaced.push(argument),
        }
    }
    let mut tree = Value::Object(Map::new());
    for choice in &choices {
        match choice {
            Choice::Main => merge(&mut tree, main.clone()),
            Choice::Group(group, name) => {
                let mut below = Map::new();
                below.insert(group.clone(), part(file, &folder.join(group), name)?);
                merge(&mut tree, Value::Object(below));
            }
            Choice::File(name) => merge(&mut tree, part(file, folder, name)?),
        }
    }
    let mut rest = Vec::new();
    for argument in unplaced {
        if !apply(&mut tree, argument)? {
            rest.push(argument.clone());
        }
    }
    let whole = tree.clone();
    resolve(file, &whole, &mut tree, "", 0)?;
    Ok(Composed { tree, rest })
}

/// One entry of `defaults`.
#[derive(PartialEq)]
enum Choice {
    /// `_self_`.
    Main,
    /// `GROUP: NAME`.
    Group(String, String),
    /// `NAME`.
    File(String),
}

impl Choice {
    fn read(file: &Path, entry: &Value) -> Result<Self> {
        let refuse = || {
            Error::usage(format!(
                "`{}`: `defaults` has {entry}, expected `GROUP: NAME`, `NAME` or `_self_`",
                file.display()
            ))
        };
        match entry {
            Value::String(name) if name == "_self_" => Ok(Self::Main),
            Value::String(name) => Ok(Self::File(name.clone())),
            Value::Object(map) => match map.iter().next() {
                Some((group, Value::String(name))) if map.len() == 1 && !group.contains([' ', '@']) => {
                    Ok(Self::Group(group.clone(), name.clone()))
                }
                _ => Err(refuse()),
            },
            _ => Err(refuse()),
        }
    }
}

/// A file of a group.
fn part(main: &Path, folder: &Path, name: &str) -> Result<Value> {
    let path = folder.join(format!("{}.yaml", name.trim_end_matches(".yaml")));
    if !path.is_file() {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.strip_suffix(".yaml").map(str::to_string))
            .collect();
        names.sort();
        let problem = format!("`{}`: `defaults` names `{}`, which is not there", main.display(), path.display());
        return Err(Error::usage(problem).hint(format!("the folder has: {}", names.join(", "))));
    }
    let value = yaml::parse_any(&path, &super::read(&path)?)?;
    if value.get("defaults").is_some() {
        return Err(Error::usage(format!("`{}` has `defaults` of its own, which are not read", path.display()))
            .hint("name its files in the `defaults` of the main file"));
    }
    Ok(value)
}

/// Puts `more` into `into`: maps are merged, all else is replaced.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                match into.get_mut(&key) {
                    Some(before) => merge(before, value),
                    None => drop(into.insert(key, value)),
                }
            }
        }
        (into, more) => *into = more,
    }
}

/// Applies one override; false for a key that is not there and was not asked to be added.
fn apply(tree: &mut Value, argument: &str) -> Result<bool> {
    let (add, argument) = match argument.strip_prefix('+') {
        Some(rest) => (true, rest.trim_start_matches('+')),
        None => (false, argument),
    };
    if let Some(key) = argument.strip_prefix('~') {
        let key = key.split('=').next().unwrap_or(key);
        let (parent, last) = key.rsplit_once('.').map_or((None, key), |(parent, last)| (Some(parent), last));
        let node = match parent {
            Some(parent) => find_mut(tree, parent),
            None => Some(tree),
        };
        let removed = node.and_then(Value::as_object_mut).and_then(|map| map.shift_remove(last));
        return match removed {
            Some(_) => Ok(true),
            None => Err(Error::usage(format!("override `~{key}`: there is no such key"))),
        };
    }
    let Some((key, text)) = argument.split_once('=') else { return Ok(false) };
    if !add && tree::at(tree, key).is_none() {
        return Ok(false);
    }
    // A pointer is no YAML inside of brackets.
    let value = if text.contains("${") {
        Value::String(text.to_string())
    } else {
        let list = yaml::typed::<Vec<Value>>(&format!("[{text}]")).ok().filter(|list| list.len() <= 1);
        let list = list.ok_or_else(|| {
            Error::usage(format!("override `{argument}`: `{text}` is not one YAML value"))
                .hint("quote text that holds commas, colons or brackets: `name='\"a, b\"'`")
        })?;
        list.into_iter().next().unwrap_or_default()
    };
    let mut node = tree;
    for name in key.split('.') {
        node = match node {
            Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
            Value::Object(map) => Some(map.entry(name).or_insert(Value::Object(Map::new()))),
            _ => None,
        }
        .ok_or_else(|| Error::usage(format!("override `{argument}`: nothing can be put below a single value")))?;
    }
    *node = value;
    Ok(true)
}

fn find_mut<'a>(tree: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(tree, |node, name| node.get_mut(name))
}

/// Follows `${KEY}` everywhere below `node`.
fn resolve(file: &Path, whole: &Value, node: &mut Value, at: &str, depth: usize) -> Result<()> {
    let below = |key: &str| if at.is_empty() { key.to_string() } else { format!("{at}.{key}") };
    match node {
        Value::Object(map) => {
            for (key, value) in map.iter_mut().filter(|(key, _)| *key != "hydra") {
                resolve(file, whole, value, &below(key), depth)?;
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter_mut().enumerate() {
                resolve(file, whole, value, &below(&i.to_string()), depth)?;
            }
        }
        Value::String(text) => {
            let mut text = text.clone();
            let mut from = 0;
            while let Some((start, end)) = pointer(&text, from) {
                let key = text[start + 2..end].trim().to_string();
                from = end + 1;
                if key.contains(':') {
                    continue;
                }
                let problem =
                    |what: &str| Error::usage(format!("`{}`: `{at}` is `${{{key}}}`, {what}", file.display()));
                if depth >= DEEPEST {
                    return Err(problem("which leads back to itself"));
                }
                let mut value = tree::at(whole, &key).cloned().ok_or_else(|| problem("which no file has"))?;
                resolve(file, whole, &mut value, &key, depth + 1)?;
                if start == 0 && end + 1 == text.len() {
                    *node = value;
                    return Ok(());
                }
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_string);
                text.replace_range(start..=end, &shown);
                from = start + shown.len();
            }
            *node = Value::String(text);
        }
        _ => {}
    }
    Ok(())
}

/// The first `${...}` from a byte on: its places of `$` and `}`.
fn pointer(text: &str, from: usize) -> Option<(usize, usize)> {
    let start = from + text.get(from..)?.find("${")?;
    Some((start, start + text[start..].find('}')?))
}

/// The program that a composed config is of: `a` of the first `_target_: src.a.b.C`.
pub(super) fn program(tree: &Value) -> Option<String> {
    match tree {
        Value::Object(map) => {
            let own = map.get("_target_").and_then(Value::as_str).and_then(|t| t.split('.').nth(1));
            own.map(str::to_string).or_else(|| map.values().find_map(program))
        }
        Value::Array(items) => items.iter().find_map(program),
        _ => None,
    }
}

/// A composed config being read: every key must be taken or known to be without meaning here.
pub struct Group<'a> {
    name: String,
    map: &'a Map<String, Value>,
    taken: Vec<&'a str>,
}

impl<'a> Group<'a> {
    /// The map at a top-level key.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is none.
    pub fn of(tree: &'a Value, name: &str) -> Result<Self> {
        let map = tree.get(name).and_then(Value::as_object);
        let map = map.ok_or_else(|| Error::usage(format!("the config has no group `{name}`")))?;
        Ok(Self { name: name.to_string(), map, taken: vec!["_target_"] })
    }

    /// A map inside of one.
    pub fn inner(name: impl Into<String>, value: &'a Value) -> Result<Self> {
        let name = name.into();
        let map = value.as_object().ok_or_else(|| Error::usage(format!("`{name}` is {value}, expected keys")))?;
        Ok(Self { name, map, taken: vec!["_target_"] })
    }

    /// The last part of `_target_`: the class that Hydra would make.
    pub fn class(&self) -> &'a str {
        let target = self.map.get("_target_").and_then(Value::as_str).unwrap_or_default();
        target.rsplit('.').next().unwrap_or_default()
    }

    /// A value; null where it is missing.
    pub fn take(&mut self, key: &'a str) -> Value {
        self.taken.push(key);
        self.map.get(key).cloned().unwrap_or(Value::Null)
    }

    /// Refuses keys that nobody took.
    ///
    /// # Errors
    /// [`Error::Usage`] with the key and those that are known.
    pub fn finish(self) -> Result<()> {
        let unknown = self.map.keys().find(|key| !self.taken.contains(&key.as_str()));
        unknown.map_or(Ok(()), |key| {
            let known: Vec<&str> = self.taken.iter().copied().filter(|key| *key != "_target_").collect();
            Err(Error::usage(format!("`{}.{key}` has no meaning here", self.name))
                .hint(format!("known are: {}", known.join(", "))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "train.yaml",
                "defaults:\n  - model: small\n  - _self_\ntraining:\n  lr: 0.1\n  name: run ${model.width}\nout: ${hydra:run.dir}/x\n",
            ),
            ("model/small.yaml", "_target_: src.moon.Net\nwidth: 8\nlr: ${training.lr}\n"),
            ("model/large.yaml", "_target_: src.moon.Net\nwidth: 64\nlr: ${training.lr}\n"),
        ] {
            crate::durable::write(folder.path().join(name), text.as_bytes()).unwrap();
        }
        folder
    }

    fn composed(folder: &Path, overrides: &[&str]) -> Result<Composed> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        compose(&main_file(folder)?.unwrap(), &overrides)
    }

    #[test]
    fn groups_are_chosen_values_point_to_others_and_overrides_win() {
        let folder = folder();
        let tree = composed(folder.path(), &[]).unwrap().tree;
        assert_eq!(tree["model"]["lr"], 0.1);
        assert_eq!(tree["training"]["name"], "run 8");
        assert_eq!(tree["out"], "${hydra:run.dir}/x");
        assert_eq!(program(&tree).as_deref(), Some("moon"));
        let more = ["model=large", "training.lr=2e-3", "+training.clip=1.0", "~out", "seed=3"];
        let composed = composed(folder.path(), &more).unwrap();
        assert_eq!(composed.tree["training"]["name"], "run 64");
        assert_eq!((&composed.tree["model"]["lr"], &composed.tree["training"]["clip"]), (&2e-3.into(), &1.0.into()));
        assert!(composed.tree.get("out").is_none());
        assert_eq!(composed.rest, ["seed=3"]);
    }

    #[test]
    fn mistakes_name_the_file_and_the_key() {
        let folder = folder();
        let message = |overrides: &[&str]| composed(folder.path(), overrides).err().unwrap().to_string();
        assert!(message(&["model=huge"]).contains("huge.yaml`, which is not there"));
        assert!(
            message(&["training.name=${model.depth}"])
                .contains("`training.name` is `${model.depth}`, which no file has")
        );
        assert!(message(&["training.name=${training.name}"]).contains("leads back to itself"));
        assert!(message(&["~model.depth"]).contains("there is no such key"));
    }
}
